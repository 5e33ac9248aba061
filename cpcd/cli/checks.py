"""What `cpcd doctor` finds out without a daemon: each check is a sentence that is true, false or unknown.

Nothing is created or changed. What needs Proxmox is asked of the daemon, which has the credentials.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cpcd.model.errors import Code, Failure
from cpcd.settings import Settings, forbidden, load_settings

__all__ = ["offline"]

Found = tuple[bool | None, str, str]  # ok, message, hint
Check = dict[str, Any]


def offline(running: Mapping[str, Any]) -> list[Check]:
    """Return the checks of settings, spec, its source, state directory, ledger and programs.

    `running` are the settings of the daemon that answers, which may have been started with others than the caller's
    file and environment say; without one it is empty.
    """
    try:
        settings = Settings(**_read(running)) if running else load_settings({}, os.environ)
    except Failure as failure:
        return [_check("settings", (None if failure.code is Code.AUTH else False, str(failure), failure.hint))]
    checks: tuple[tuple[str, Callable[[Settings], Found]], ...] = (
        ("spec", _spec),
        ("source", _source),
        ("state directory", _state),
        ("ledger", _ledger),
        ("programs", _programs),
    )
    told = _check("settings", (True, f"spec {settings.spec}, state {settings.state_dir}", ""))
    return [told, *(_check(name, _allowed(check, settings)) for name, check in checks)]


def _read(running: Mapping[str, Any]) -> dict[str, Any]:
    paths = {name: Path(running[name]) for name in ("spec", "state_dir")}
    return {**paths, "worktree": bool(running["worktree"])}


def _allowed(check: Callable[[Settings], Found], settings: Settings) -> Found:
    """Say what the caller may not look at instead of judging it."""
    try:
        return check(settings)
    except PermissionError as error:
        failure = forbidden(error.filename)
        return None, str(failure), failure.hint


def _check(name: str, found: Found) -> Check:
    ok, message, hint = found
    return {"name": name, "ok": ok, "message": message, "hint": "" if ok else hint}


def _spec(settings: Settings) -> Found:
    from cpcd.cli.specfiles import read_bytes
    from cpcd.spec import counted, read_spec

    try:
        files, referred = read_bytes(str(settings.spec))
    except Failure as failure:
        return None if failure.code is Code.AUTH else False, str(failure), failure.hint
    reading = read_spec(files, referred=referred)
    if reading.mistakes:
        return False, f"{counted(reading.mistakes)}, the first: {reading.mistakes[0]}", "Run `cpcd validate`."
    return True, f"valid: {', '.join(document.name for document in reading.documents)}", ""


def _source(settings: Settings) -> Found:
    """Read the spec as the daemon does, from what is committed or from the disk."""
    from cpcd.adapters.files import SpecFiles

    try:
        snapshot = asyncio.run(SpecFiles(settings.spec, settings.worktree).read())
    except Failure as failure:
        return False, str(failure), failure.hint
    if snapshot.uncommitted:
        return None, f"{settings.spec} has an edit that is not committed and not in force", "Commit it, or revert it."
    return True, f"read from {snapshot.source}", ""


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
        "Free some space: below 64 MiB no machine is prepared, below 16 MiB nothing at all is changed.",
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
