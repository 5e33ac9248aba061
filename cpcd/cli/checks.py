"""What `cpcd doctor` finds out without a daemon: each check is a sentence that is true, false or unknown.

Nothing is created or changed. What needs Proxmox is asked of the daemon, which has the credentials.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cpcd.model.errors import Failure
from cpcd.settings import Settings, load_settings

__all__ = ["offline"]

Found = tuple[bool | None, str, str]  # ok, message, hint
Check = dict[str, Any]


def offline() -> list[Check]:
    """Return the checks of settings, spec, git, state directory, ledger and programs."""
    try:
        settings = load_settings({}, os.environ)
    except Failure as failure:
        return [_check("settings", (False, str(failure), failure.hint))]
    checks: tuple[tuple[str, Callable[[Settings], Found]], ...] = (
        ("spec", _spec),
        ("git", _git),
        ("state directory", _state),
        ("ledger", _ledger),
        ("programs", _programs),
    )
    told = _check("settings", (True, f"spec {settings.spec}, state {settings.state_dir}", ""))
    return [told, *(_check(name, check(settings)) for name, check in checks)]


def _check(name: str, found: Found) -> Check:
    ok, message, hint = found
    return {"name": name, "ok": ok, "message": message, "hint": hint}


def _spec(settings: Settings) -> Found:
    from cpcd.cli.specfiles import read_bytes
    from cpcd.spec import read_spec

    try:
        files, referred = read_bytes(str(settings.spec))
    except Failure as failure:
        return False, str(failure), failure.hint
    reading = read_spec(files, referred=referred)
    if reading.mistakes:
        return False, f"{len(reading.mistakes)} mistakes, the first: {reading.mistakes[0]}", "Run `cpcd validate`."
    return True, f"valid: {', '.join(document.name for document in reading.documents)}", ""


def _git(settings: Settings) -> Found:
    if shutil.which("git") is None:
        return None, "git is not installed: the file is taken as it is", "Install git to have what is committed kept."
    where = settings.spec if settings.spec.is_dir() else settings.spec.parent
    top = _run("git", "-C", str(where), "rev-parse", "--show-toplevel")
    if top is None:
        return True, f"{where} is no git work tree: the file is taken as it is", ""
    if _run("git", "-C", str(where), "rev-parse", "--verify", "--quiet", "HEAD") is None:
        return False, f"{top} has no commit yet, so nothing is in force", "Commit the spec."
    changed = _run("git", "-C", str(where), "status", "--porcelain", "--", str(settings.spec.absolute()))
    if changed and not settings.worktree:
        return None, f"{settings.spec} has an edit that is not committed and not in force", "Commit it, or revert it."
    return True, f"{settings.spec} is as committed in {top}", ""


def _state(settings: Settings) -> Found:
    directory = settings.state_dir
    if not directory.is_dir():
        return None, f"{directory} does not exist yet", "systemd makes it at the first start (StateDirectory=)."
    if not os.access(directory, os.W_OK):
        return None, f"you may not write to {directory}", "Run `sudo cpcd doctor` to check as root."
    if directory.stat().st_mode & 0o002:
        return False, f"{directory} can be written by everybody", f"chmod o-w {directory}"
    free = shutil.disk_usage(directory).free >> 20
    return (
        free >= 64,
        f"{directory} is writable, {free} MiB are free",
        "Free some space: below 16 MiB nothing is changed.",
    )


def _ledger(settings: Settings) -> Found:
    from cpcd.adapters.journal import read_ledger

    path = settings.state_dir / "ledger.db"
    if not path.exists():
        return None, "there is no ledger yet", "It is made at the first start."
    try:
        ledger = read_ledger(path)
    except Failure as failure:
        return False, str(failure), failure.hint
    return True, f"{len(ledger.machines)} machines, {len(ledger.ops)} operations on their way", ""


def _programs(_settings: Settings) -> Found:
    missing = sorted(_missing("ansible-playbook", "ssh"))
    if missing:
        return (
            False,
            f"not found: {', '.join(missing)}",
            "Install them; ansible-playbook comes with cpcd's own packages.",
        )
    return True, "ansible-playbook and ssh are there", ""


def _missing(*programs: str) -> Iterator[str]:
    import sys

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return (program for program in programs if shutil.which(program, path=path) is None)


def _run(*argv: str) -> str | None:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
