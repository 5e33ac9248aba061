"""One machine behind the catalogue of `ports/guests.py`: call, submit, poll.

It answers at once and says how many seconds that takes; whoever carries the answer waits. START HERE: the verbs are
in `verbs.py`, the long ones in `init.py`, `join.py`, `reset.py`, `upkeep.py`; power and boot in `machine.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.guests.failed import VerbFailed
from cpcd.lab.guests.init import init
from cpcd.lab.guests.jobs import Program
from cpcd.lab.guests.join import join
from cpcd.lab.guests.machine import Machine
from cpcd.lab.guests.reset import reset
from cpcd.lab.guests.upkeep import etcd_snapshot, prepare
from cpcd.lab.guests.verbs import VERBS

__all__ = ["Guest"]

_PROGRAMS: Final[Mapping[str, Callable[[Machine, dict[str, Any]], Program]]] = {
    "prepare": prepare,
    "init": init,
    "join": join,
    "reset": reset,
    "etcd_snapshot": etcd_snapshot,
}


class Guest(Machine):
    """A machine that carries out the catalogue's verbs."""

    def call(self, verb: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Run a short verb; returns its output and the seconds it takes. Raises VerbFailed."""
        self.world.events.settle()
        if verb not in VERBS:
            raise VerbFailed("InvalidInput", f"unknown verb {verb!r}")
        return VERBS[verb](self, given)

    def submit(self, op: str, verb: str, given: Mapping[str, Any]) -> None:
        """Start a long verb; a known op is not started twice. Raises VerbFailed, `busy` while another runs."""
        self.world.events.settle()
        if verb not in _PROGRAMS:
            raise VerbFailed("InvalidInput", f"unknown verb {verb!r}")
        self.jobs.submit(self.disk, op, verb, self.boot_id, _PROGRAMS[verb](self, dict(given)))

    def poll(self, op: str) -> dict[str, Any]:
        """Return `{state, boot_id, rc, output, error}` of an op."""
        self.world.events.settle()
        return dict(self.jobs.poll(self.disk, op, self.boot_id))

    def kill_job(self) -> None:
        """Kill what runs, as SIGKILL does: its op is `lost`, what it had done stays."""
        self.world.events.settle()
        self.jobs.kill()

    @property
    def job(self) -> str:
        """The verb that the running job carries out, empty when none runs."""
        return self.disk.ops[self.jobs.op].verb if self.jobs.op else ""

    @property
    def stage(self) -> str:
        """The phase that the running job is in, empty when none runs."""
        return self.jobs.stage
