"""The process of one playbook run: `python -m cpcd.adapters.playbooks DIRECTORY`, started by `runs.py`.

It runs ansible-runner with what the directory holds, ends it on SIGTERM or at its deadline, classifies how it ended
and leaves `result.json` by rename. Must never leave a process or, after success, a readable input behind.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.playbooks.traces import end, scrub, start_time
from cpcd.guest.reasons import classify, words

__all__ = ["main"]

JSON = Any

_JOINED: Final = re.compile(r"(?:, |: )(?=[EW]:\S)")  # what python-apt said, which Ansible puts into one line
_TOLD: Final = ("msg", "failures", "response", "url", "stderr", "stdout", "module_stderr", "module_stdout")


@dataclass(slots=True)
class _Watch:
    """What ends a run early, and what its events said."""

    deadline: float
    cancelled: bool = False
    expired: bool = False
    unreachable: str = ""
    failed: tuple[str, str] | None = None
    stats: Mapping[str, JSON] = field(default_factory=dict)

    def cancel(self, *_signal: object) -> None:
        """Note SIGTERM or SIGINT."""
        self.cancelled = True

    def ended(self) -> bool:
        """Return whether ansible-runner must stop; it asks once a second (`failures.md` R03, R07)."""
        self.expired = self.expired or time.monotonic() >= self.deadline
        return self.cancelled or self.expired

    def hear(self, event: Mapping[str, JSON]) -> bool:
        """Take what matters from an event; nothing is written for it (`failures.md` R05)."""
        heard = event.get("event_data", {})
        match event.get("event"):
            case "runner_on_unreachable":
                self.unreachable = str(heard.get("res", {}).get("msg", "")).strip()
            case "runner_on_failed" if not heard.get("ignore_errors"):
                self.failed = (str(heard.get("task", "")), _message(heard.get("res", {})))
            case "playbook_on_stats":
                self.stats = heard
        return False


def _message(result: Mapping[str, JSON]) -> str:
    """Return a failed task's words: its message, what a server answered and which, what was printed."""
    told = [result.get(part, "") for part in _TOLD]
    parts = ["\n".join(map(str, part)) if isinstance(part, list) else str(part).strip() for part in told]
    return _JOINED.sub("\n", "\n".join(part for part in parts if part)) or "no message"


def _verdict(watch: _Watch, status: str) -> dict[str, JSON]:
    """Return `{rc, output, error}` by status and events, not by rc (`failures.md` R14)."""
    if status == "successful" and watch.stats.get("ok"):
        return {"rc": 0, "output": {"changed": sum(watch.stats.get("changed", {}).values())}, "error": {}}
    return {"rc": 1, "output": {}, "error": _error(watch, status)}


def _error(watch: _Watch, status: str) -> dict[str, str]:
    if watch.expired:
        return {"reason": "DeadlineExceeded", "message": "the playbook was ended at its deadline"}
    if watch.cancelled:
        return {"reason": "Canceled", "message": "the playbook was canceled"}
    if watch.unreachable:
        # Ansible also calls a machine unreachable that has no room for its temporary directory.
        full = classify("prepare", 1, "", watch.unreachable) == "DiskFull"
        return {"reason": "DiskFull" if full else "Unreachable", "message": watch.unreachable}
    if watch.failed is not None:
        task, text = watch.failed
        return {"reason": classify("prepare", 1, "", text), "message": f"task {task!r}: {words(1, '', text)}"}
    return {"reason": "Failed", "message": f"ansible-playbook ended as {status} without naming a task"}


def _play(run: Path, order: Mapping[str, JSON], watch: _Watch) -> str:
    """Run the playbook and return ansible-runner's status."""
    from ansible_runner import interface

    empty = run / "home" / "ansible.cfg"  # so that no ansible.cfg of the machine is read
    empty.parent.mkdir(exist_ok=True)
    empty.touch()
    env = {
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_HOME": str(run / "home"),
        "ANSIBLE_LOCAL_TEMP": str(run / "home" / "tmp"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_TIMEOUT": str(max(1, round(order["connect"]))),
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    settings = {"pexpect_timeout": 1, "suppress_ansible_output": True, "pexpect_use_poll": True}
    done = interface.run(
        private_data_dir=str(run),
        ident="run",
        playbook=order["playbook"],
        extravars=dict(order["given"]),
        envvars=env,
        settings=settings,
        rotate_artifacts=1,
        cancel_callback=watch.ended,
        event_handler=watch.hear,
        quiet=True,
    )
    return str(done.status)


def _leave(run: Path, verdict: Mapping[str, JSON]) -> None:
    """Write the result whole or not at all, after the inputs are gone (`failures.md` D02, R13)."""
    stdout = run / "artifacts" / "run" / "stdout"
    if verdict["rc"] and stdout.is_file():
        with (run / "log").open("a") as log:
            log.write(stdout.read_text(errors="replace"))
    scrub(run)
    with (run / "result.tmp").open("w") as file:
        file.write(json.dumps(verdict))
        file.flush()
        os.fsync(file.fileno())
    (run / "result.tmp").replace(run / "result.json")


def main(run: Path) -> None:
    """Play the run in `run` to its end; an exception of ansible-runner is a failed run too."""
    # What ansible-runner writes goes by it, and its artifacts hold the whole environment (`failures.md` R13).
    os.umask(0o077)
    # First, for from now on the run is known by pid and start time and not by its mark alone.
    (run / "pid.json").write_text(json.dumps({"pid": os.getpid(), "start": start_time(os.getpid())}))
    order = json.loads((run / "order.json").read_text())
    watch = _Watch(deadline=time.monotonic() + order["deadline"])
    signal.signal(signal.SIGTERM, watch.cancel)
    signal.signal(signal.SIGINT, watch.cancel)
    try:
        verdict = _verdict(watch, _play(run, order, watch))
    except Exception as error:  # noqa: BLE001 - whatever it was, the poller must hear of it
        verdict = {
            "rc": 1,
            "output": {},
            "error": {"reason": "Internal", "message": f"{type(error).__name__}: {error}"},
        }
    finally:
        # Before the result can be read: then nothing of this run may be at work on the machine any more.
        end(run)
    _leave(run, verdict)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
