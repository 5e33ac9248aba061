"""What each room may reach beyond the layers that import-linter holds: system, third parties, and time.

Written as what is allowed, so that a module nobody thought of is refused.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cpcd

ROOT = Path(cpcd.__file__).parent

PURE = {
    "base64", "collections", "contextlib", "dataclasses", "enum", "functools", "hashlib", "itertools", "json", "math", "re", "types",
    "typing", "urllib.parse",
}  # fmt: skip
"""Of the standard library: what computes, and reaches no clock, chance or system."""

THIRD = {
    "adapters": {
        "aiohttp", "ansible_runner", "asyncssh", "cryptography", "kubernetes", "proxmoxer", "watchfiles", "yaml", "yarl",
    },
    "cli": {"click", "rich", "yaml"},
    "lab/servers": {"aiohttp", "asyncssh", "cryptography", "multidict", "yaml"},
    "lab/demo": {"aiohttp", "rich", "yaml"},
    "lab/guests": {"cryptography", "yaml"},
    "lab/kube": {"cryptography", "yaml"},
    "spec": {"pydantic", "pydantic_core", "yaml"},
    "status": {"prometheus_client", "structlog"},
}  # fmt: skip
"""Room -> the distributions that it may import; a room that is not here imports none."""

TASKS = {"create_task", "ensure_future", "sleep", "wait", "wait_for"}
TIME = {"time", "time_ns", "monotonic", "monotonic_ns", "sleep"}
KEEPERS = {
    "loop/clock.py", "loop/supervisor.py", "loop/dispatcher.py",  # design: the only places with tasks, sleeps, wall time
    "adapters/files.py",  # polls a real disk where inotify does not work, which no lab makes faster
    "adapters/notify.py",  # RELOADING=1 wants the system's monotonic clock (sd_notify(3))
    "adapters/playbooks/__main__.py",  # a process of its own, without a loop: its deadline is real
}  # fmt: skip


def sources(room: str) -> list[Path]:
    """Every module below a room of the house."""
    return sorted(path for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    """Yield each module that a file names in an import, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def used(path: Path, module: str) -> set[str]:
    """Return the attributes of a module that a file uses as `module.attribute`."""
    nodes = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute))
    return {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == module}


def own(path: Path) -> str:
    """Return a module's name in this file: its path below cpcd/."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ["model", "plan", "reconcilers"])
def test_decisions_reach_nothing_but_arithmetic(room: str) -> None:
    """No clock, chance, disk, socket or third party; `model/keys.py` takes uuid for uuid5, which is arithmetic too."""
    foreign = {
        (own(path), name)
        for path in sources(room)
        for name in imported(path)
        if not name.startswith("cpcd") and name not in PURE and name.split(".")[0] not in PURE
    }

    assert foreign - {("model/keys.py", "uuid")} == set()
    assert used(ROOT / "model/keys.py", "uuid") == {"uuid5", "UUID"}


def test_what_runs_on_a_machine_needs_only_its_python() -> None:
    """`guest` is sent to machines as it is: the standard library and itself."""
    foreign = {
        (own(path), name)
        for path in sources("guest")
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("cpcd.guest")
    }

    assert foreign == set()


def test_third_parties_stay_in_their_rooms() -> None:
    """A client, a framework or a parser is known to one room each, so that it can be replaced there."""
    found: dict[str, set[str]] = {}
    for path in sources(""):
        room = "/".join(path.relative_to(ROOT).parts[: 2 if path.is_relative_to(ROOT / "lab") else 1])
        names = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names) - {"cpcd"}
        if names:
            found[room] = found.get(room, set()) | names

    assert found == THIRD


def test_adapters_do_not_know_each_other() -> None:
    """Each speaks to one outside; what two share stands in a module that is no adapter itself."""
    shared = {"answers", "disk", "ledger_rows", "once", "requests"}
    families = {path.stem if path.parent == ROOT / "adapters" else path.parent.name for path in sources("adapters")}
    crossings = set()
    for path in sources("adapters"):
        family = path.stem if path.parent == ROOT / "adapters" else path.parent.name
        for name in imported(path):
            other = name.removeprefix("cpcd.adapters.").split(".")[0]
            if name.startswith("cpcd.adapters.") and other in families - shared - {family}:
                crossings.add((own(path), name))

    assert crossings == set()


def test_tasks_sleeps_and_time_have_one_keeper() -> None:
    """Outside the lab and the commands, which are processes of their own, nobody else starts a task or reads a clock."""
    strays = {
        (own(path), f"{module}.{name}")
        for room in ("model", "plan", "reconcilers", "loop", "sources", "ports", "adapters", "status", "spec")
        for path in sources(room)
        if own(path) not in KEEPERS
        for module, names in (("asyncio", TASKS), ("time", TIME))
        for name in used(path, module) & names
    }
    tops = {
        (top, name) for top in ("daemon.py", "wiring.py", "settings.py") for name in used(ROOT / top, "asyncio") & TASKS
    }

    assert strays | tops == set()
