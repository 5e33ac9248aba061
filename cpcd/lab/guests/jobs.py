"""Long verbs on one machine: begun once, one at a time, gone with the power.

A program is a generator that yields (stage, seconds): the time passes, then what follows happens. Killing a job is
to never resume it, which leaves exactly what had been done. Programs are in `kubeadm.py`, `join.py`, `reset.py`.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from cpcd.lab.events import Events
from cpcd.lab.guests.disk import Disk, Op
from cpcd.lab.guests.failed import VerbFailed
from cpcd.lab.provenance import recorded, source

__all__ = ["Jobs", "Program", "Stage"]

Stage = tuple[str, float]
Program = Generator[Stage, None, dict[str, Any]]


@dataclass(slots=True, eq=False)
class _Job:
    op: str
    program: Program
    stage: str = ""


class Jobs:
    """The host lock and what runs under it; `faults` maps (verb, stage) to the failure that stage is to have."""

    def __init__(self, events: Events) -> None:
        self.faults: dict[tuple[str, str], VerbFailed] = {}
        self._events = events
        self._running: _Job | None = None

    @property
    def stage(self) -> str:
        """The stage of the running job, empty when none runs."""
        return self._running.stage if self._running else ""

    @property
    def op(self) -> str:
        """The op of the running job, empty when none runs."""
        return self._running.op if self._running else ""

    @source("guest/jobs.py: submit, host_lock")
    def submit(self, disk: Disk, op: str, verb: str, boot_id: str, program: Program) -> None:
        """Begin an op; no-op when it was begun before, VerbFailed(busy) while another runs."""
        if op in disk.ops:
            # Never begun: what it would have done was done, or was tried, by the first.
            program.close()
            return
        if self._running is not None:
            raise VerbFailed("busy", "another operation holds the machine")
        disk.ops[op] = Op(verb, boot_id)
        self._running = _Job(op, program)
        self._step(self._running, disk)

    def _step(self, job: _Job, disk: Disk) -> None:
        # Killed since this was planned, and perhaps another runs by now.
        if job is not self._running:
            return
        op = disk.ops[job.op]
        try:
            job.stage, seconds = next(job.program)
            if fault := self.faults.pop((op.verb, job.stage), None):
                job.program.throw(fault)
        except StopIteration as end:
            op.rc, op.output, self._running = 0, dict(end.value), None
        except VerbFailed as no:
            op.rc, op.error, self._running = no.rc, {"reason": no.reason, "message": no.message}, None
        else:
            self._events.at(seconds, lambda: self._step(job, disk))

    @recorded(74, 147, 156, 163, 388)
    def kill(self) -> None:
        """Kill what runs, as SIGKILL or a power cut does: no result will ever be written."""
        self._running = None

    @source("guest/jobs.py: poll")
    def poll(self, disk: Disk, op: str, boot_id: str) -> Mapping[str, Any]:
        """Return `{state, boot_id, rc, output, error}` of an op."""
        known = disk.ops.get(op)
        if known is None:
            return {"state": "absent", "boot_id": "", "rc": None, "output": {}, "error": {}}
        ended = {"boot_id": known.boot_id, "rc": known.rc, "output": dict(known.output), "error": dict(known.error)}
        if known.rc is not None:
            return {**ended, "state": "failed" if known.rc else "done"}
        alive = self._running is not None and self._running.op == op and known.boot_id == boot_id
        return {**ended, "state": "running" if alive else "lost"}

    @property
    def busy(self) -> bool:
        """Tell whether the host lock is held."""
        return self._running is not None
