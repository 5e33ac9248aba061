"""What people see, letter by letter; `GOLDEN=write pytest tests/golden` writes the files anew to be looked at."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpcd.cli.app import invoke
from tests.unit.cli.daemon import serving, troubled, well

SCREENS = Path(__file__).parent / "screens"
CASES = [
    ("status-quiet", well, ["status"]),
    ("status-troubled", troubled, ["status"]),
    ("status-one", troubled, ["status", "machine/home-general-1"]),
    ("status-cluster", troubled, ["status", "cluster/home"]),
    ("plan", troubled, ["plan"]),
    ("events", troubled, ["events"]),
    ("explain", troubled, ["explain", "CPCD-101"]),
    ("explain-reason", troubled, ["explain", "RollingOut"]),
    ("unknown-object", troubled, ["status", "general"]),
    ("refused", troubled, ["approve", "zzz"]),
]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return


@pytest.mark.parametrize(("name", "daemon", "args"), CASES, ids=[case[0] for case in CASES])
def test_a_screen_is_as_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, daemon: object, args: list[str]
) -> None:
    """In 80 columns, without colours; the world is that of tests/unit/cli/daemon.py."""
    assert callable(daemon)
    with serving(daemon(), tmp_path / "c.sock") as path:
        code = invoke(["--socket", str(path), *args])
    out, err = capsys.readouterr()
    lines = [line.rstrip() for line in f"$ cpcd {' '.join(args)}\n{out}{err}[exit code {code}]".splitlines()]
    shown, golden = "\n".join(lines) + "\n", SCREENS / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(shown, encoding="utf-8")

    assert golden.read_text(encoding="utf-8") == shown
    assert 80 >= max(len(line) for line in lines if not line.startswith(("  do: ", "CPCD-")))
