"""Worker processes: a UPID at once, the work later, the outcome in a status and a log.

A worker is a generator that yields what it waits for; raising `Refused` ends its task with that text, killing it
runs no clean-up, as `kill -9` does not. Handlers start workers here and never wait. Next: `task_api.py`.
"""

import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from cpcd.lab.events import Events, Handle
from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.errors import Refused, locked_out
from cpcd.lab.pve.flocks import Flocks
from cpcd.lab.pve.settings import Settings

__all__ = ["Flock", "Interrupted", "PowerOff", "Release", "Sleep", "Step", "Task", "Tasks", "Worker"]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Work for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Flock:
    """Take a lock file of the task's node or fail with its text; `seconds` says how long it will be kept, if known."""

    path: str
    shared: bool = False
    timeout: float = 10.0
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of one lock file; all go with the task."""

    path: str


@dataclass(frozen=True, slots=True)
class PowerOff:
    """Wait until the VM's process is gone; yields whether it went in time."""

    vmid: int
    timeout: float


Step = Sleep | Flock | Release | PowerOff
Worker = Generator[Step, bool | None, None]


class Interrupted(Exception):  # noqa: N818 - the name of the signal's effect, caught by workers that clean up
    """SIGTERM, from DELETE of the task."""


@dataclass(eq=False, slots=True)
class Task:
    """One task; times are wall clock. `exit` is None while it runs, `user` is the full token id or user."""

    upid: str
    node: str
    kind: str
    id: str
    user: str
    pid: int
    pstart: int
    start: float
    end: float = 0
    exit: str | None = None
    log: list[str] = field(default_factory=list)
    worker: Worker | None = None
    wake: Handle | None = None
    warnings: int = 0

    def warn(self, text: str) -> None:
        """Log a warning; a task that has any ends with their number and is a success (`failures.md` P09)."""
        self.log.append(f"WARN: {text}")
        self.warnings += 1

    @property
    def running(self) -> bool:
        """Tell whether the worker lives."""
        return self.exit is None


@dataclass(slots=True)
class Tasks:
    """All tasks of the cluster, newest last, and the machinery that drives their workers."""

    events: Events
    flocks: Flocks
    settings: Settings
    random: random.Random
    changing: Callable[[], None]  # called before a worker does anything
    tasks: dict[str, Task] = field(default_factory=dict)
    awaiting: dict[int, list[Task]] = field(default_factory=dict)

    @recorded(314, 339, 1175)
    def start(self, kind: str, node: str, task_id: str, *, user: str, worker: Callable[[Task], Worker]) -> str:
        """Fork a worker and return its UPID; a clone's carries the *source* VMID (`failures.md` P22)."""
        # Grows, with gaps: a pid is part of the UPID, and no two of a node and second may be equal.
        pid = 7000 + len(self.tasks) * 9 + self.random.randrange(1, 9)
        start = self.settings.epoch + self.events.now
        pstart = int((400_000 + self.events.now) * 100) & 0xFFFFFFFF
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{int(start):08X}:{kind}:{task_id}:{user}:"
        task = Task(upid, node, kind, task_id, user, pid, pstart, start)
        task.worker = worker(task)
        self.tasks[upid] = task
        task.wake = self.events.at(self.settings.durations.spawn, lambda: self._resume(task))
        return upid

    def _resume(self, task: Task, answer: bool | None = None, *, error: Refused | None = None) -> None:
        if not (task.running and task.worker):
            return
        self.changing()
        try:
            step = task.worker.throw(error) if error else task.worker.send(answer)
        except StopIteration:
            self._finish(task, f"WARNINGS: {task.warnings}" if task.warnings else "OK")
        except Refused as refused:
            self._finish(task, refused.text)
        else:
            self._take(task, step)

    def _take(self, task: Task, step: Step) -> None:
        match step:
            case Sleep(seconds):
                task.wake = self.events.at(seconds, lambda: self._resume(task))
            case Flock():
                self._lock(task, step)
            case Release(path):
                self.flocks.free(task, (task.node, path))
                self._resume(task)
            case PowerOff(vmid, timeout):
                self.awaiting.setdefault(vmid, []).append(task)
                task.wake = self.events.at(timeout, lambda: self._power_off_late(task, vmid))

    @recorded(831, 1223)
    def _lock(self, task: Task, want: Flock) -> None:
        key = (task.node, want.path)
        if self.flocks.take(key, task, shared=want.shared, seconds=want.seconds):
            self._resume(task)
            return
        task.log.append("trying to acquire lock...")

        def granted() -> None:
            task.log.append(" OK")
            # As an event of its own: the lock was let go by a task that is in the middle of something.
            task.wake = self.events.at(0, lambda: self._resume(task))

        self.flocks.wait(
            key,
            task,
            shared=want.shared,
            seconds=want.seconds,
            timeout=want.timeout,
            granted=granted,
            gave_up=lambda: self._resume(task, error=locked_out(want.path)),
        )

    def _power_off_late(self, task: Task, vmid: int) -> None:
        # Before it goes on: the VM may end while it does, and must not wake it a second time.
        self.awaiting.get(vmid, []).remove(task)
        self._resume(task, answer=False)

    def power_gone(self, vmid: int) -> None:
        """Wake the workers that wait for this VM's process to end."""
        # Taken out first: one that goes on may wait for the same VM again.
        for task in self.awaiting.pop(vmid, []):
            if task.wake:
                task.wake.cancel()
            self._resume(task, answer=True)

    @recorded(342, 417, 717)
    def _finish(self, task: Task, status: str) -> None:
        task.exit, task.end, task.worker = status, self.settings.epoch + self.events.now, None
        if status == "OK" or status.startswith("WARNINGS:"):
            task.log.append(f"TASK {status}")
        elif status != "unexpected status":
            task.log.append(f"TASK ERROR: {status}")
        if task.wake:
            task.wake.cancel()
        for waiting in self.awaiting.values():
            waiting[:] = [each for each in waiting if each is not task]
        self.flocks.free(task)

    @recorded(782, 783, 1240, 1241)
    def kill(self, task: Task) -> None:
        """End a worker as `kill -9` does: no clean-up, no word in the log."""
        if task.running:
            self.changing()
            self._finish(task, "unexpected status")

    @recorded(716, 717, 776, 777)
    def interrupt(self, task: Task) -> float:
        """Send SIGTERM and return the seconds that the caller waits; who ignores it is killed."""
        if not (task.running and task.worker):
            return 0
        self.changing()
        if task.wake:
            task.wake.cancel()
        try:
            # A worker that catches it may go on for a while, to clean up: whatever it yields is waited for.
            self._take(task, task.worker.throw(Interrupted()))
        except Refused as refused:
            self._finish(task, refused.text)
            return self.settings.durations.rollback
        except (Interrupted, StopIteration):
            self._finish(task, "unexpected status")
            return self.settings.durations.kill
        return self.settings.durations.rollback

    @source("P21")
    def node_died(self, node: str) -> None:
        """Kill every worker of a node; its lock files are gone with it."""
        for task in [t for t in self.tasks.values() if t.running and t.node == node]:
            self.kill(task)
