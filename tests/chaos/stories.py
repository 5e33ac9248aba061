"""The stories: what is asked of cpcd while it is troubled, and what must have come of it.

A story only asks; `phases.py` troubles it, waits for its end and verifies. They are told in this order: each begins
where the one before ended.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.chaos.town import Town
from tests.chaos.verify import Asked, Before

__all__ = ["STORIES", "Story"]


@dataclass(frozen=True, slots=True)
class Story:
    """`ask` sets it going; `kills` is how many kills fit into it at the lab's rate."""

    name: str
    ask: Callable[[Town, Before], Awaitable[Asked]]
    kills: int


async def build(town: Town, was: Before) -> Asked:
    """From nothing to a cluster; the spec is already committed."""
    return Asked(town.wanted)


async def scale_up(town: Town, was: Before) -> Asked:
    """Two more workers."""
    town.edit(workers=town.wanted.workers + 2)
    return Asked(town.wanted, kept=was.uids)


async def memory(town: Town, was: Before) -> Asked:
    """More memory for all: every machine is drained and restarted."""
    town.edit(memory=town.wanted.memory + 1024)
    return Asked(town.wanted, restarted=was.vmids, kept=was.uids)


async def repair(town: Town, was: Before) -> Asked:
    """A worker's VM is deleted and another one is stopped behind cpcd's back."""
    lost, off = sorted(name for name in was.vms if "-general-" in name)[:2]
    await town.look.do("delete_vm", vmid=was.vms[lost]["vmid"])
    await town.look.do("stop_vm", vmid=was.vms[off]["vmid"])
    return Asked(town.wanted, kept=_but(was, lost))


async def control_plane(town: Town, was: Before) -> Asked:
    """A control plane's VM is deleted."""
    lost = max(name for name in was.vms if "-cp-" in name)
    await town.look.do("delete_vm", vmid=was.vms[lost]["vmid"])
    return Asked(town.wanted, kept=_but(was, lost))


async def scale_down(town: Town, was: Before) -> Asked:
    """Two workers fewer."""
    town.edit(workers=town.wanted.workers - 2)
    going = was.newest("general", 2)
    return Asked(town.wanted, destroyed=going, kept=_but(was, *(n for n, vm in was.vms.items() if vm["vmid"] in going)))


async def roll(town: Town, was: Before) -> Asked:
    """Another template: every machine is replaced."""
    if town.wanted.template == "cpcd-ubuntu":
        for number, node in enumerate(town.about["nodes"]):
            await town.look.do("add_template", vmid=9010 + number, node=node, name="ubuntu-v2", tags="cpcd-ubuntu-v2")
    town.edit(template="cpcd-ubuntu-v2" if town.wanted.template == "cpcd-ubuntu" else "cpcd-ubuntu")
    return Asked(town.wanted, destroyed=was.vmids)


def _but(was: Before, *names: str) -> frozenset[str]:
    """Return the uids of all machines but these."""
    return frozenset(row.uid for row in was.ledger.machines.values() if row.name not in names)


STORIES: Final[Mapping[str, Story]] = {
    story.name: story
    for story in (
        Story("build", build, 10),
        Story("scale up", scale_up, 6),
        Story("repair", repair, 6),
        Story("memory", memory, 8),
        Story("control plane", control_plane, 6),
        Story("scale down", scale_down, 4),
        Story("roll", roll, 12),
    )
}
