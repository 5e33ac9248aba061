"""What the commands' tests share: a daemon to talk to, and a terminal of 80 columns without colours."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpcd.cli.app import invoke
from tests.unit.cli.daemon import Daemon, serving, troubled, well

Run = Callable[..., tuple[int, str, str]]


@contextlib.contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """Take the right to use `path` away, from root too."""
    path.chmod(0o000)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line: exit code, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        code = invoke(args)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon with nothing to do, whose socket the commands find."""
    daemon = well()
    with serving(daemon, tmp_path / "c.sock") as path:
        monkeypatch.setenv("CPCD_SOCKET", str(path))
        yield daemon


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon in the midst of it."""
    daemon = troubled()
    with serving(daemon, tmp_path / "c.sock") as path:
        monkeypatch.setenv("CPCD_SOCKET", str(path))
        yield daemon
