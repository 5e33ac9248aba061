"""A thousand machines that are there already: in the lab and in the daemon's ledger, as if cpcd had built them.

The marks, the options and kubeadm's configuration are made by cpcd's own functions, so that a daemon that starts here
finds nothing to do; building them through it takes an hour of CPU time and is another figure (`builds.py`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.journal import SqliteJournal
from cpcd.adapters.operator_key import operator_key
from cpcd.model.desired import Cluster, Group, MachineSpec
from cpcd.model.keys import Uid, Wall
from cpcd.model.ledger import Change, Ledger, Machine, PutFact, PutMachine
from cpcd.model.view import View
from cpcd.plan import fields, kubeadm
from cpcd.ports.kube import GVK
from cpcd.ports.proxmox import Request
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec
from tests.bench.stand import Stand

__all__ = ["settle"]

INSTALLATION: Final = "bench0000001"
CONTROL_PLANE: Final = "control-plane"
CSR: Final = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")
NODES: Final = ("pve1", "pve2", "pve3")


async def settle(stand: Stand, *, masters: int, workers: int) -> None:
    """Make all machines of the spec, joined and Ready, and the ledger that knows them; a thousand take some ten seconds."""
    _, public = operator_key(stand.directory / "state" / "ssh", used_by=lambda: 0)
    reading = read_spec({"cluster.yaml": stand.spec(masters=masters, workers=workers).encode()})
    desired = compile_spec(reading, operator_key=public)
    (cluster,) = desired.clusters.values()
    rows = list(_rows(cluster))
    town = _Town(stand, cluster, View(desired, Ledger({row.uid: row for row in rows})))
    town.build(rows)
    await _remember(stand.directory / "state" / "ledger.db", town.facts(), rows)


def _rows(cluster: Cluster) -> Iterator[Machine]:
    places = ((group, index) for group in cluster.groups for index in range(1, group.replicas + 1))
    addresses = (address for address in cluster.infrastructure.addresses if address != cluster.endpoint.host)
    for number, ((group, index), address) in enumerate(zip(places, addresses, strict=False)):
        yield _row(cluster, group, index, number, address)


def _row(cluster: Cluster, group: Group, index: int, number: int, address: str) -> Machine:
    role = "cp" if group.name == CONTROL_PLANE else group.name
    return Machine(
        uid=Uid(f"{number:012x}"), cluster=cluster.name, role=group.role, group=group.name, index=index,
        name=cluster.hostname.format(cluster=cluster.name, role=role, index=index), site=cluster.infrastructure.site,
        node=NODES[number % len(NODES)], vmid=cluster.infrastructure.vmid_start + number, address=address,
        template=9000, template_node=NODES[0], revision=fields.group_revision(group), created=Wall(1.0),
        started=True, joined=True,
    )  # fmt: skip


async def _remember(ledger: Path, facts: dict[str, Any], rows: list[Machine]) -> None:
    journal = SqliteJournal(ledger, threaded=True)
    await journal.load()
    changes: list[Change] = [PutFact(name, value) for name, value in facts.items()]
    await journal.commit((*changes, *(PutMachine(row) for row in rows)))
    await journal.close()


class _Town:
    """Builds machines in the lab of a stand, each step for all of them."""

    def __init__(self, stand: Stand, cluster: Cluster, view: View) -> None:
        self._stand, self._cluster, self._view = stand, cluster, view
        self._world = stand.lab.world
        self._token = stand.lab.about()["token"]
        self._first: Machine | None = None
        self._pins: dict[str, str] = {}
        self._secrets: dict[bool, dict[str, Any]] = {}

    def build(self, rows: list[Machine]) -> None:
        """Clone, configure and start the VMs, prepare them and let them join; the first one makes the cluster.

        Workers join at once: the lab's controllers look at everything after each change, so that one worker after
        another is quadratic work.
        """
        tell, self._world.events.changed = self._world.events.changed, lambda: None  # nobody asks for this history
        for row in rows:
            self._boot(row)
        self._do("prepare", {row.vmid: self._prepared(row) for row in rows})
        masters = [row for row in rows if row.group == CONTROL_PLANE]
        self._init(masters[0])
        for row in masters[1:]:
            self._do("join", {row.vmid: self._joined(row)})
        self._do("join", {row.vmid: self._joined(row) for row in rows if row.group != CONTROL_PLANE})
        self._approve()
        self._world.events.changed = tell

    def facts(self) -> dict[str, Any]:
        """Return what the ledger remembers beside the rows."""
        assert self._first is not None
        (store,) = (cluster.store for cluster in self._world.clusters)
        system = store.get(GVK("v1", "Namespace"), "kube-system")
        identity = {"ca_hash": self._secrets[True]["ca_hash"], "uid": system["metadata"]["uid"]}
        name = self._cluster.name
        return {
            "installation": INSTALLATION, f"identity/{name}": identity, f"elected/{name}": self._first.uid, **self._pins,
        }  # fmt: skip

    def _boot(self, row: Machine) -> None:
        spec, mark = self._spec(row), fields.mark(INSTALLATION, row, "town")
        self._pve(
            "POST", row.template_node, "9000/clone", newid=row.vmid, name=row.name, description=mark, target=row.node
        )
        config = self._pve("GET", row.node, f"{row.vmid}/config")
        options = fields.first_options(self._cluster, row, spec, config)
        written = {name: value for name, value in options.items() if value is not None}
        gone = ",".join(name for name, value in options.items() if value is None)
        self._pve("PUT", row.node, f"{row.vmid}/config", **written, **({"delete": gone} if gone else {}))
        self._pve("PUT", row.node, f"{row.vmid}/resize", disk=spec.boot_disk, size=f"{spec.boot_disk_gb}G")
        self._pve("POST", row.node, f"{row.vmid}/status/start")
        self._pins[f"hostkey/{row.uid}"] = " ".join(self._world.guests[row.vmid].host_key.split()[:2])

    def _prepared(self, row: Machine) -> dict[str, Any]:
        zone = self._spec(row).timezone
        given = {"version": self._cluster.version.removeprefix("v"), "packages": [], "timezone": zone}
        return given | {"profile": kubeadm.profile(self._cluster, zone)}

    def _init(self, row: Machine) -> None:
        config = kubeadm.init_config(self._cluster, row, kubeadm.sans(self._view, self._cluster))
        manifests = kubeadm.files(self._cluster, first=True)
        self._do("init", {row.vmid: {"config": config, "manifests": manifests}})
        self._first = row
        for obj in self._cluster.addons[0].objects if self._cluster.addons else ():
            self._world.clusters[-1].store.apply(dict(obj))

    def _joined(self, row: Machine) -> dict[str, Any]:
        assert self._first is not None
        control = row.group == CONTROL_PLANE
        if control not in self._secrets:
            asked = {"ttl": "24h0m0s", "control_plane": control}
            self._secrets[control] = self._world.guests[self._first.vmid].call("join_secrets", asked)[0]
        config = kubeadm.join_config(self._cluster, row, self._secrets[control])
        return {"config": config, "manifests": kubeadm.files(self._cluster, first=False) if control else {}}

    def _approve(self) -> None:
        """Let the kubelets have their serving certificates; the requests are collected an hour later, which is over."""
        store = self._world.clusters[-1].store
        for step in (store.approve, partial(store.delete, CSR)):
            self._at_once([partial(step, each["metadata"]["name"]) for each in store.list(CSR)[0]])

    def _spec(self, row: Machine) -> MachineSpec:
        group = self._cluster.group(row.group)
        assert group is not None
        return group.machine

    def _do(self, verb: str, given: Mapping[int, dict[str, Any]]) -> None:
        """Let machines, by their VMIDs, begin a long verb in one moment, and wait until all have done it."""
        guests = [self._world.guests[vmid] for vmid in given]
        self._at_once(
            [partial(guest.submit, verb, verb, asked) for guest, asked in zip(guests, given.values(), strict=True)]
        )
        while (states := [guest.poll(verb) for guest in guests]) and any(one["state"] == "running" for one in states):
            # What is waited for, kubeadm's own checks, is let pass at once: nobody else looks at this clock yet.
            self._stand.lab.clock._start -= 1.0
        failed = next((state for state in states if state["state"] != "done"), None)
        if failed is not None:
            raise RuntimeError(f"{verb}: {failed}")

    def _at_once(self, steps: Sequence[Callable[[], object]]) -> None:
        """Take steps in one moment of the lab's time, after which its controllers look once and not once a step."""

        def take() -> None:
            for step in steps:
                step()

        self._world.events.at(0.0, take)
        self._world.events.settle()

    def _pve(self, method: str, node: str, path: str, **params: Any) -> Any:
        answer = self._world.pve.handle(Request(method, f"/api2/json/nodes/{node}/qemu/{path}", params, self._token))
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.reason} {answer.body.decode()[:300]}")
        self._world.events.settle()
        return json.loads(answer.body)["data"]
