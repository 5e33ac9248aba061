"""What stands already holds the next spec: what cannot change once there are machines, and clusters without a document.

The ledger remembers both. A name is one of the things that cannot change: a cluster whose document is gone keeps its
machines, and a new one that would take what they have is the old one renamed. Next: `sources/specs.py`, which asks.
"""

from collections.abc import Iterator

from cpcd.model.desired import Cluster, Desired
from cpcd.model.ledger import Ledger, PutFact
from cpcd.spec.compile import compile_spec, fixed
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import Path
from cpcd.spec.read import Reading

__all__ = ["compile_beside", "remembered"]

_NAME: Path = ("metadata", "name")


def compile_beside(reading: Reading, ledger: Ledger, *, operator_key: str) -> tuple[Desired, tuple[Mistake, ...]]:
    """Return what a reading without mistakes wants, and why it cannot be beside what the ledger knows."""
    sites = {row.site for row in ledger.machines.values()}
    desired = compile_spec(reading, operator_key=operator_key, sites=sites, endpoints=ledger.endpoints)
    return desired, tuple(sorted((*_changed(reading, desired, ledger), *_renamed(reading, desired, ledger))))


def remembered(desired: Desired, ledger: Ledger) -> tuple[PutFact, ...]:
    """Return what cannot change, to be remembered from the first machine on: until then everything can."""
    young = (cluster for name, cluster in desired.clusters.items() if name not in ledger.begun)
    return tuple(PutFact(f"fixed/{cluster.name}", fixed(cluster)) for cluster in young)


def _changed(reading: Reading, desired: Desired, ledger: Ledger) -> Iterator[Mistake]:
    """Yield each field that cannot change, with old and new value."""
    for name in desired.clusters.keys() & ledger.begun:
        before: dict[str, str] = ledger.facts.get(f"fixed/{name}", {})
        for word, value in fixed(desired.clusters[name]).items():
            # What nobody has remembered of it can still be anything.
            if before.get(word, value) != value:
                why = "upgrades are not supported yet" if word == "version" else "it cannot change after creation"
                message = f"is {before[word] or 'empty'} and cannot become {value or 'empty'}: {why}"
                yield reading.sources[name].mistake(("spec", *word.split(".")), message)
        yield from _added(reading, desired.clusters[name], ledger)


def _added(reading: Reading, cluster: Cluster, ledger: Ledger) -> Iterator[Mistake]:
    """Yield what kubeadm was told otherwise by the init that made the cluster, or that runs; until then all may change.

    Without the values, which may hold secrets.
    """
    runs = any(op.verb == "init" and op.key.cluster == cluster.name for op in ledger.ops.values())
    if not runs and f"identity/{cluster.name}" not in ledger.facts:
        return
    now = cluster.additions
    before: dict[str, str] = ledger.facts.get(f"kubeadm/{cluster.name}", now)  # as of all that nobody remembers
    for word in sorted(before.keys() | now.keys()):
        if before.get(word) != now.get(word):
            message = (
                "is read by an init that runs: wait for its end"
                if runs
                else "cannot change: the cluster was initialised with another"
            )
            yield reading.sources[cluster.name].mistake(("spec", *word.split(".")), message)


def _renamed(reading: Reading, desired: Desired, ledger: Ledger) -> Iterator[Mistake]:
    for gone in sorted(ledger.begun - desired.clusters.keys()):
        for new in sorted(desired.clusters.keys() - ledger.begun):
            taken = next(_taken(reading, desired.clusters[new], gone, ledger), "")
            if taken:
                message = f"{gone} became {new}: a name cannot change; {gone} has {taken}, which {new} would take"
                hint = f"call it {gone}, or give {new} an endpoint, addresses and VMIDs of its own"
                yield reading.sources[new].mistake(_NAME, message, hint)


def _taken(reading: Reading, new: Cluster, gone: str, ledger: Ledger) -> Iterator[str]:
    """Yield what a new cluster would take of one whose machines are kept."""
    infra, rows = new.infrastructure, ledger.rows.get(gone, [])
    known = {ledger.facts.get(f"fixed/{gone}", {}).get("infrastructure.proxmox", ""), *(row.site for row in rows)}
    # On another Proxmox it can take nothing.
    if infra.site not in known:
        return
    own = {new.endpoint.host, *infra.addresses}
    if (host := ledger.endpoints.get(gone)) in own:
        yield f"the endpoint {host}"
    yield from (f"{row.address} ({row.name})" for row in rows if row.address in own)
    if _names_vmids(reading, new):  # the default range is shared, and what is used in it is left out
        vmids = range(infra.vmid_start, infra.vmid_end + 1)
        yield from (f"VMID {row.vmid} ({row.name})" for row in rows if row.vmid in vmids)


def _names_vmids(reading: Reading, new: Cluster) -> bool:
    document = next(document for document in reading.documents if document.name == new.name)
    return "vm_id_range" in document.spec.infrastructure.proxmox.model_fields_set
