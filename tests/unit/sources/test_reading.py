"""What is read of a machine whose Proxmox node was removed: out of reach, and absent only where that is proved."""

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cpcd.model.seen import Seen, Vm
from cpcd.plan import scopes
from cpcd.ports.bundle import Ports
from cpcd.sources.reading import Reader
from tests.unit.plan import build

ROW = build.member_row("u4", build.WORKERS, 4, node="pve3")
LISTED = ({"type": "cluster", "quorate": 1, "nodes": 1}, {"type": "node", "name": "pve1", "online": 1})


@dataclass(frozen=True)
class Proxmox:
    """One that has lost a node; it fails whoever asks that node."""

    status: tuple[dict[str, Any], ...]
    free: bool

    async def cluster_status(self) -> list[dict[str, Any]]:
        """Answer for the cluster."""
        return [*self.status]

    async def resources(self) -> list[dict[str, Any]]:
        """Answer for the cluster, which keeps the configurations of what was there."""
        return [{"type": "qemu", "vmid": build.TEMPLATE, "node": ROW.node, "name": "ubuntu", "template": 1}]

    async def vmid_free(self, _vmid: int) -> bool:
        """Answer for the cluster."""
        return self.free


def read(kind: str, *, retire: str, status: tuple[dict[str, Any], ...] = LISTED, free: bool = True) -> Seen[Any]:
    """Return what is seen of the machine's VM or tasks, or its template, after the last look missed its node."""
    row = replace(ROW, retire=retire)
    ports = cast("Ports", SimpleNamespace(proxmox=lambda _site: Proxmox(status, free)))
    reader = Reader(
        ports=ports,
        clock=cast("Any", SimpleNamespace(now=lambda: 0.0, wall=lambda: 0.0)),
        view=lambda: build.view(rows=[row], bulk=build.without(row.node)),
        silent=lambda _endpoint: None,
        lacking=lambda _endpoint: None,
        names_of=cast("Any", None),
    )
    known = {
        "vm": scopes.vm(row),
        "tasks": scopes.tasks(row.site, row.node, row.vmid),
        "template": scopes.template(row.site, "ubuntu"),
    }
    return asyncio.run(reader(known[kind]))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"retire": "its node stays unhealthy"}, Vm(exists=False)),
        ({"retire": "its node stays unhealthy", "free": False}, None),
        ({"retire": ""}, None),
        ({"retire": "its node stays unhealthy", "status": LISTED[1:]}, None),
        ({"retire": "its node stays unhealthy", "status": ({**LISTED[0], "nodes": 2}, LISTED[1])}, None),
        ({"retire": "its node stays unhealthy", "status": ({**LISTED[0], "quorate": 0}, LISTED[1])}, None),
    ],
)
def test_a_vm_of_a_removed_node_is_absent_only_for_who_goes_and_when_its_vmid_is_free(
    given: dict[str, Any], wanted: Vm | None
) -> None:
    """By what Proxmox says now; who is to stay may run on, on a node that was only cut off."""
    assert wanted == read("vm", **given).known


def test_the_tasks_of_a_removed_node_are_unknown() -> None:
    """No failure: nobody can do anything about it, and the pass goes on."""
    seen = read("tasks", retire="")

    assert not seen.complete
    assert seen.why == "Proxmox node pve3 is no longer in the Proxmox cluster"


def test_a_copy_of_the_template_on_a_removed_node_is_none() -> None:
    """Proxmox lists it still, and nobody can read it: the copies on other nodes are what there is."""
    assert () == read("template", retire="").known
