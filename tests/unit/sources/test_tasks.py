"""What is read of a template's tasks: the VMID that each clone made, from its log."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from cpcd.model.seen import Task
from cpcd.plan import scopes
from cpcd.ports.bundle import Ports
from cpcd.sources.reading import Reader
from tests.unit.plan import build

SCOPE = scopes.tasks(build.SITE, "pve1", build.TEMPLATE)
PASSES = 8


@dataclass(frozen=True)
class Proxmox:
    """One with three clones of a template, the last of which has only begun."""

    logs: Counter[str] = field(default_factory=Counter)

    async def tasks(self, _node: str, *, vmid: int) -> list[dict[str, Any]]:
        """Answer at once."""
        return [{"upid": f"UPID:{number}", "type": "qmclone", "id": str(vmid), "status": "OK"} for number in (1, 2, 3)]

    async def task_log(self, _node: str, upid: str) -> list[str]:
        """Answer a turn of the loop later, as a socket does: others ask meanwhile."""
        self.logs[upid] += 1
        await asyncio.sleep(0)
        number = int(upid.rpartition(":")[2])
        return [f"creating a clone of VM {build.TEMPLATE} with ID 30{number}"] if number < 3 else []


async def read(proxmox: Proxmox, times: int) -> list[tuple[Task, ...]]:
    """Return what so many passes see that look at once."""
    reader = Reader(
        ports=cast("Ports", SimpleNamespace(proxmox=lambda _site: proxmox)),
        clock=cast("Any", SimpleNamespace(now=lambda: 0.0, wall=lambda: 0.0)),
        view=lambda: build.view(rows=[]),
        silent=lambda _endpoint: None,
        lacking=lambda _endpoint: None,
        names_of=cast("Any", None),
    )
    return [seen.value for seen in await asyncio.gather(*(reader(SCOPE) for _ in range(times)))]


def test_passes_that_list_the_same_clones_read_each_log_once() -> None:
    """Of one that has only begun each pass reads it: it may say by then what it did not before."""
    proxmox = Proxmox()

    seen = asyncio.run(read(proxmox, PASSES))

    assert [[301, 302, 0]] * PASSES == [[task.made for task in tasks] for tasks in seen]
    assert {"UPID:1": 1, "UPID:2": 1, "UPID:3": PASSES} == proxmox.logs
