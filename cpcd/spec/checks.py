"""What only several fields, or several clusters, can tell: sizes, overlaps, names that nothing bears.

Each check yields findings with paths from the document's root and never raises. It says which fields it looks at, and
runs where their shape is right (`remains.py`); what one part can judge by itself is judged in `schema` and `parts.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final
from urllib.parse import urlsplit

from cpcd.spec.load import Document
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import MACHINES, Path, pattern, touch
from cpcd.spec.schema import ClusterDocument, ClusterSpec, ControlPlane, Machine, MachineDeployment, Proxmox
from cpcd.spec.schema.common import Finding, Metadata, unique

__all__ = ["Checked", "check_across", "check_alone"]

_PROXMOX: Path = ("spec", "infrastructure", "proxmox")
_POOL: Path = (*_PROXMOX, "ipv4Config", "addresses")
_DEPLOYMENTS: Path = ("spec", "workers", "machineDeployments")
_ENDPOINT: Path = ("spec", "controlPlaneEndpoint", "host")


@dataclass(frozen=True, slots=True)
class Checked:
    """A document beside its model; `gone` are the parts of the document whose shape is wrong."""

    document: Document
    model: ClusterDocument
    gone: tuple[Path, ...] = ()

    def sound(self, looks: str) -> bool:
        """Whether all fields that a check looks at (patterns, separated by spaces) are as they were written."""
        return not self.gone or not any(touch(path, pattern(look)) for look in looks.split() for path in self.gone)

    @property
    def proxmox(self) -> Proxmox:
        """Its Proxmox VE cluster."""
        return self.model.spec.infrastructure.proxmox


# --- one cluster --------------------------------------------------------------------------------------------------


def check_alone(checked: Checked) -> Iterator[Mistake]:
    """Yield the mistakes of one cluster."""
    for check, looks in _ALONE:
        if checked.sound(looks):
            for finding in check(checked.model.spec):
                yield checked.document.mistake(*finding)
    # Not in the table, since it needs the name of the cluster, which stands beside its spec.
    if checked.sound("metadata spec.naming spec.workers.machineDeployments.*.name"):
        for finding in _hostnames(checked.model):
            yield checked.document.mistake(*finding)


def _networks(spec: ClusterSpec) -> Iterator[Finding]:
    pods, services = spec.cluster_network.pods.cidr_blocks[0], spec.cluster_network.services.cidr_blocks[0]
    machines = spec.infrastructure.proxmox.ipv4_config.network
    if services.overlaps(pods):
        yield Finding(_block("services"), f"{services} overlaps the pods' network {pods}")
    for name, network in (("pods", pods), ("services", services)):
        if network.overlaps(machines):
            yield Finding(_block(name), f"{network} overlaps the machines' network {machines}")


def _subnets(spec: ClusterSpec) -> Iterator[Finding]:
    """What kubeadm takes, before machines are made for it (kubeadm's apis/kubeadm/validation).

    A Node has a /24 of the pods' network, of 65,536 such at most; of the services' the tenth address is the DNS's, and
    more than 20 bits are not handed out.
    """
    network = spec.cluster_network
    for name, ranges, most, least in (("pods", network.pods, 8, 24), ("services", network.services, 12, 28)):
        block = ranges.cidr_blocks[0]
        if block.prefixlen < most:
            yield Finding(_block(name), f"{block} is too large for kubeadm", f"/{most} is the largest")
        if block.prefixlen > least:
            yield Finding(_block(name), f"{block} is too small for kubeadm", f"/{least} is the smallest")


def _block(name: str) -> Path:
    return ("spec", "clusterNetwork", name, "cidrBlocks", 0)


def _endpoint(spec: ClusterSpec) -> Iterator[Finding]:
    endpoint, ipv4 = spec.control_plane_endpoint, spec.infrastructure.proxmox.ipv4_config
    if endpoint.provider == "external":
        if endpoint.host is None:
            yield Finding(_ENDPOINT, "is missing", "an external endpoint is named here")
        return
    if endpoint.host is None:
        return
    # One that is not written is the first address of the pool (`compile.py`), which is judged as a part of that.
    address = _address(endpoint.host)
    if address is None:
        yield Finding(_ENDPOINT, f'must be an address for kube-vip, not "{endpoint.host}"', "names go to extraSANs")
    # kube-vip announces it by ARP (`plan/kubeadm.py`), which nobody hears outside of this network.
    elif address not in ipv4.network:
        yield Finding(_ENDPOINT, f"{address} is not inside the machines' network {ipv4.network}")
    elif address in (ipv4.gateway, ipv4.network.network_address, ipv4.network.broadcast_address):
        yield Finding(_ENDPOINT, f"{address} is the gateway or no host address of {ipv4.network}")


def _address(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None


def _room(spec: ClusterSpec) -> Iterator[Finding]:
    proxmox, endpoint = spec.infrastructure.proxmox, spec.control_plane_endpoint
    machines = spec.control_plane.replicas + sum(group.replicas for group in spec.workers.machine_deployments)
    pool = sum(len(addresses) for addresses in proxmox.ipv4_config.addresses)
    # One outside of the pool takes nothing from it; one that is not written is taken from it.
    reserved = endpoint.provider == "kube-vip" if endpoint.host is None else _pooled(endpoint.host, proxmox)
    if pool < machines + reserved:
        needs = f"{machines} machines{' and the endpoint' if reserved else ''} need {machines + reserved}"
        yield Finding(_POOL, f"hold {pool} addresses, but {needs}")
    vmids = proxmox.vm_id_range.end - proxmox.vm_id_range.start + 1
    if vmids < machines:
        yield Finding((*_PROXMOX, "vmIDRange"), f"holds {vmids} VMIDs, but there are {machines} machines")


def _node_ranges(spec: ClusterSpec) -> Iterator[Finding]:
    """One Node too many gets no range of the pods' network, and waits for a network for ever."""
    block, masters = spec.cluster_network.pods.cidr_blocks[0], spec.control_plane
    sizes = [(masters.replicas, masters.rollout.strategy.rolling_update.max_surge)]
    sizes += [(one.replicas, one.rollout.strategy.rolling_update.max_surge) for one in spec.workers.machine_deployments]
    nodes = sum(replicas + min(surge, replicas) for replicas, surge in sizes)  # a rollout adds one for one that goes
    ranges = 2 ** max(0, 24 - block.prefixlen)
    if block.prefixlen <= 24 and ranges < nodes:
        what = f"{block} has a /24 for {ranges} Node{'s' if ranges > 1 else ''}, but with rollouts there may be {nodes}"
        yield Finding(_block("pods"), what, f"/{24 - (nodes - 1).bit_length()} is enough")


def _pooled(host: str, proxmox: Proxmox) -> bool:
    address = _address(host)
    return address is not None and any(address in pool for pool in proxmox.ipv4_config.addresses)


def _zones(spec: ClusterSpec) -> Iterator[Finding]:
    known = [zone.name for zone in spec.infrastructure.proxmox.availability_zones]
    for at, group in enumerate(spec.workers.machine_deployments):
        if group.failure_domain is not None and group.failure_domain not in known:
            path = (*_DEPLOYMENTS, at, "failureDomain")
            hint = f"there are {', '.join(known)}" if known else "availabilityZones names none"
            yield Finding(path, f'no zone is called "{group.failure_domain}"', hint)


def _labels(spec: ClusterSpec) -> Iterator[Finding]:
    """What is kept by somebody only in some files, or on some Nodes; the rest is refused in `schema.common`."""
    zones = bool(spec.infrastructure.proxmox.availability_zones)
    for path, metadata in _labelled(spec):
        kept = {"topology.kubernetes.io/zone": "cpcd, from availabilityZones"} if zones else {}
        if path[1] == "controlPlane":
            kept["node.kubernetes.io/exclude-from-external-load-balancers"] = "kubeadm"
        for label in metadata.labels.keys() & kept.keys():
            yield Finding((*path, "labels", label), f"{label} is kept by {kept[label]}", "choose a key of your own")


def _labelled(spec: ClusterSpec) -> Iterator[tuple[Path, Metadata]]:
    return (((*path, "metadata"), group.metadata) for path, group in _groups(spec))


def _groups(spec: ClusterSpec) -> Iterator[tuple[Path, ControlPlane | MachineDeployment]]:
    yield ("spec", "controlPlane"), spec.control_plane
    for at, group in enumerate(spec.workers.machine_deployments):
        yield (*_DEPLOYMENTS, at), group


def _trust(spec: ClusterSpec) -> Iterator[Finding]:
    tls = spec.infrastructure.proxmox.tls
    if tls.ca_file is not None and tls.fingerprint is not None:
        why = "does nothing beside fingerprint, which is trusted whatever signed it"
        yield Finding((*_PROXMOX, "tls", "caFile"), why, "leave one of them out")


def _systems(spec: ClusterSpec) -> Iterator[Finding]:
    for at, template in enumerate(spec.templates):
        if template.template_id is not None and "os" in template.model_fields_set:
            why = "does nothing beside templateID: it says which tag is looked for"
            yield Finding(("spec", "templates", at, "os"), why, "leave it out")


def _templates(spec: ClusterSpec) -> Iterator[Finding]:
    known = [template.name for template in spec.templates]
    for path, machine in ((("spec", "machineDefaults"), spec.machine_defaults), *_overrides(spec)):
        wanted = machine.template
        if wanted is not None and wanted not in known and machine.choices() == ["template"]:
            from cpcd.spec.suggestions import nearest  # no part of every start

            meant = nearest(wanted, known)
            hint = f"did you mean {meant}?" if meant else "spec.templates lists them"
            yield Finding((*path, "template"), f'no template is called "{wanted}"', hint)


def _undecided(spec: ClusterSpec) -> Iterator[Finding]:
    known = sorted({template.name for template in spec.templates})
    # With one template there is nothing to choose, and what machineDefaults choose is chosen for all.
    for path, machine in _overrides(spec) if len(known) > 1 and not spec.machine_defaults.choices() else ():
        if not machine.choices():
            yield Finding(path, "names no template, and there are several", f"template: {' or '.join(known)}")


def _storage(spec: ClusterSpec) -> Iterator[Finding]:
    """A storage that no machine would be on is refused, since linked clones are where their template is."""
    if spec.infrastructure.proxmox.storage.disks is None:
        return
    if not any(spec.machine_defaults.overridden_by(machine).full for _, machine in _overrides(spec)):
        why = "does nothing: every machine is a linked clone, which stays on its template's storage"
        yield Finding((*_PROXMOX, "storage", "disks"), why, "set full: true, or leave it out")


def _overrides(spec: ClusterSpec) -> Iterator[tuple[Path, Machine]]:
    return (((*path, "machine"), group.machine) for path, group in _groups(spec))


def _doubled(spec: ClusterSpec) -> Iterator[Finding]:
    for path, names, what, key in _lists(spec):
        for found in unique(names, what, key=key):
            yield found._replace(path=(*path, *found.path))


def _lists(spec: ClusterSpec) -> Iterator[tuple[Path, Iterable[str], str, str]]:
    """Yield the lists of what is told apart by name: where, the names, of what, and the field that holds each."""
    proxmox = spec.infrastructure.proxmox
    yield (*_PROXMOX, "allowedNodes"), proxmox.allowed_nodes, "node", ""
    yield (*_PROXMOX, "availabilityZones"), (zone.name for zone in proxmox.availability_zones), "zone", "name"
    yield ("spec", "templates"), (template.name for template in spec.templates), "template", "name"
    yield ("spec", "addons"), (addon.name for addon in spec.addons), "addon", "name"
    yield _DEPLOYMENTS, (group.name for group in spec.workers.machine_deployments), "deployment", "name"
    for path, group in _groups(spec):
        yield (*path, "taints"), (f"{taint.key}:{taint.effect}" for taint in group.taints), "taint", ""


def _hostnames(model: ClusterDocument) -> Iterator[Finding]:
    naming, groups = model.spec.naming, model.spec.workers.machine_deployments
    for role in ("cp", *(group.name for group in groups)):
        label = naming.hostname.format(cluster=model.name, role=role, index=9999)
        if len(label) > 63 or len(f"{label}.{naming.domain or ''}") > 253:
            why = f"{label} is longer than the 63 characters of a host name (253 with its domain)"
            yield Finding(
                ("spec", "naming", "hostname"), why, "shorten the pattern, the cluster's or deployment's name"
            )


_PVE: Final = "spec.infrastructure.proxmox"
_CHOICES: Final = " ".join(
    f"{machine}.{word}" for machine in MACHINES for word in ("template", "templateID", "templateSelector")
)
_FULL: Final = " ".join(f"{machine}.full" for machine in MACHINES)
_COUNTS: Final = "spec.controlPlane.replicas spec.workers.machineDeployments.*.replicas"
_ROLLOUTS: Final = "spec.controlPlane.rollout.strategy spec.workers.machineDeployments.*.rollout.strategy"
_ALONE: Final[tuple[tuple[Callable[[ClusterSpec], Iterator[Finding]], str], ...]] = (
    (_networks, f"spec.clusterNetwork {_PVE}.ipv4Config"),
    (_subnets, "spec.clusterNetwork"),
    (_endpoint, f"spec.controlPlaneEndpoint {_PVE}.ipv4Config"),
    (_room, f"{_COUNTS} spec.controlPlaneEndpoint {_PVE}.ipv4Config {_PVE}.vmIDRange"),
    (_node_ranges, f"{_COUNTS} {_ROLLOUTS} spec.clusterNetwork"),
    (_zones, f"{_PVE}.availabilityZones.*.name spec.workers.machineDeployments.*.failureDomain"),
    (_labels, f"{_PVE}.availabilityZones spec.controlPlane.metadata spec.workers.machineDeployments.*.metadata"),
    (_trust, f"{_PVE}.tls"),
    (_systems, "spec.templates.*.os spec.templates.*.templateID"),
    (_templates, " ".join(("spec.templates.*.name", *(f"{machine}.template" for machine in MACHINES)))),
    (_undecided, f"spec.templates.*.name {_CHOICES}"),
    (_storage, f"{_PVE}.storage {_FULL}"),
    (_doubled, ""),  # an item whose shape is wrong has the name of nothing else (`remains.py`)
)
"""Each check with the fields that it looks at."""


# --- several clusters ---------------------------------------------------------------------------------------------


def check_across(clusters: Sequence[Checked]) -> Iterator[Mistake]:
    """Yield the mistakes that show when clusters stand side by side; the later one in the order of reading has it."""
    yield from _namesakes(clusters)
    # By host, so that only those are compared that share one: each with each would be half a million pairs for a
    # thousand clusters.
    known: dict[str, list[int]] = {}
    for at, second in enumerate(clusters):
        hosts = _hosts(second) if second.sound(f"{_PVE}.url") else ()
        for first in (clusters[before] for before in sorted({one for host in hosts for one in known.get(host, ())})):
            if not (_sound((first, second), "metadata") and first.model.name == second.model.name):
                yield from _sharing(first, second)
        for host in hosts:
            known.setdefault(host, []).append(at)


def _namesakes(clusters: Sequence[Checked]) -> Iterator[Mistake]:
    """Two of one name are the same one, written twice: nothing else of them is compared."""
    known: dict[str, Checked] = {}
    for cluster in clusters:
        name = cluster.model.name
        if cluster.sound("metadata") and (first := known.setdefault(name, cluster)) is not cluster:
            path = ("metadata", "name")
            yield cluster.document.mistake(path, f'another cluster is called "{name}"', _see(first, path))


def _sound(clusters: Sequence[Checked], looks: str) -> bool:
    return all(cluster.sound(looks) for cluster in clusters)


def _hosts(cluster: Checked) -> set[str]:
    """Return the hosts of the endpoints: one of them names the Proxmox."""
    return {urlsplit(url).hostname or url for url in cluster.proxmox.url}


def _clash(second: Checked, path: Path, message: str, first: Checked, *, at: Path = ("metadata", "name")) -> Mistake:
    why = f'{message} (cluster "{first.model.name}" on the same Proxmox)'
    return second.document.mistake(path, why, _see(first, at))


def _see(cluster: Checked, path: Path) -> str:
    there = cluster.document.mark(path)
    return f"see {cluster.document.file}:{there.line}:{there.column}"


def _sharing(first: Checked, second: Checked) -> Iterator[Mistake]:
    for check, looks in _ACROSS:
        if _sound((first, second), looks):
            yield from check(first, second)


def _described_twice(first: Checked, second: Checked) -> Iterator[Mistake]:
    """A Proxmox is asked in one way, whoever asks it."""
    for field in ("url", "credentialsRef", "tls"):
        path = (*_PROXMOX, field)
        one, other = (_told(cluster.proxmox, field) for cluster in (first, second))
        if one != other:
            yield _clash(second, path, "differs from another cluster's", first, at=path)


def _told(proxmox: Proxmox, field: str) -> Any:
    # In whatever order: a list of endpoints says no more than which there are.
    values = {"url": set(proxmox.url), "credentialsRef": proxmox.credentials_ref, "tls": proxmox.tls}
    return values[field]


def _shared_vmids(first: Checked, second: Checked) -> Iterator[Mistake]:
    """The default range may be shared by all that write none; a written one is a promise to whoever reads the file."""
    path = (*_PROXMOX, "vmIDRange")
    one, other = first.proxmox.vm_id_range, second.proxmox.vm_id_range
    written = ["vm_id_range" in cluster.proxmox.model_fields_set for cluster in (first, second)]
    if any(written) and one.start <= other.end and other.start <= one.end:
        here, there = (
            f"{range_.start}-{range_.end}{'' if wrote else ', the default,'}"
            for range_, wrote in ((other, written[1]), (one, written[0]))
        )
        yield _clash(second, path, f"{here} overlaps {there.rstrip(',')}", first, at=path)


def _shared_addresses(first: Checked, second: Checked) -> Iterator[Mistake]:
    for at, other in enumerate(second.proxmox.ipv4_config.addresses):
        for there, one in enumerate(first.proxmox.ipv4_config.addresses):
            if one.overlaps(other):
                yield _clash(second, (*_POOL, at), f"{other} overlaps {one}", first, at=(*_POOL, there))


def _shared_endpoints(first: Checked, second: Checked) -> Iterator[Mistake]:
    hosts = [cluster.model.spec.control_plane_endpoint.host for cluster in (first, second)]
    ports = [cluster.model.spec.control_plane_endpoint.port for cluster in (first, second)]
    if hosts[0] is not None and hosts[0] == hosts[1] and ports[0] == ports[1]:
        yield _clash(second, _ENDPOINT, f"{hosts[1]} is another cluster's endpoint", first, at=_ENDPOINT)
    # Either way round: a machine would be given the address that the kube-vip of the other cluster holds.
    for here, there, host in ((second, first, hosts[1]), (first, second, hosts[0])):
        if host is not None and _pooled(host, there.proxmox):
            yield _clash(here, _ENDPOINT, f"{host} is in another cluster's pool", there, at=_POOL)


def _shared_templates(first: Checked, second: Checked) -> Iterator[Mistake]:
    known = {template.name: (at, template) for at, template in enumerate(first.model.spec.templates)}
    for at, template in enumerate(second.model.spec.templates):
        there, same = known.get(template.name, (0, template))
        if same != template:
            message = f'template "{template.name}" is defined in two ways'
            yield _clash(second, ("spec", "templates", at), message, first, at=("spec", "templates", there))


_ACROSS: Final[tuple[tuple[Callable[[Checked, Checked], Iterator[Mistake]], str], ...]] = (
    (_described_twice, f"{_PVE}.credentialsRef {_PVE}.tls"),
    (_shared_vmids, f"{_PVE}.vmIDRange"),
    (_shared_addresses, f"{_PVE}.ipv4Config.addresses"),
    (_shared_endpoints, f"{_PVE}.ipv4Config spec.controlPlaneEndpoint"),
    (_shared_templates, "spec.templates"),
)
"""Each check with the fields that it looks at."""
