"""`cpcd doctor`: what it checks by itself is what the daemon would meet, under the daemon's settings."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.cli.conftest import Run, as_nobody
from tests.unit.cli.daemon import Daemon
from tests.unit.status.scene import SPEC


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A committed cluster.yaml in a work tree."""
    path = tmp_path / "tree" / "cluster.yaml"
    path.parent.mkdir()
    path.write_bytes(SPEC)
    who = ("-c", "user.name=me", "-c", "user.email=me@home.arpa")
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "a cluster"]):
        subprocess.run(["git", "-C", str(path.parent), *words], check=True)
    return path


def found(run: Run) -> dict[str, dict[str, Any]]:
    """The checks by name."""
    return {check["name"]: check for check in json.loads(run("doctor", "-o", "json")[1])["checks"]}


def served(daemon: Daemon, spec: Path, state: Path) -> None:
    """Let the daemon that answers run under these settings."""
    daemon.settings = {"spec": str(spec), "worktree": False, "state_dir": str(state)}


def test_the_settings_of_the_daemon_that_answers_are_checked(run: Run, quiet: Daemon, spec: Path) -> None:
    """Not those that the caller's own file and environment would give."""
    served(quiet, spec, spec.parent.parent)
    checks = found(run)

    assert str(spec) in checks["settings"]["message"]
    assert (True, True) == (checks["spec"]["ok"], checks["source"]["ok"])
    assert checks["source"]["message"].startswith("read from git HEAD ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a work tree away")
def test_a_work_tree_of_another_user_is_read_as_the_daemon_reads_it(run: Run, quiet: Daemon, spec: Path) -> None:
    """Plain git would refuse it for its owner and be taken for none."""
    served(quiet, spec, spec.parent.parent)
    for path in (spec.parent, *spec.parent.rglob("*")):
        os.chown(path, 65534, 65534)

    assert "git HEAD" in found(run)["source"]["message"]


def test_an_edit_and_a_missing_spec_are_no_success(run: Run, quiet: Daemon, spec: Path) -> None:
    """An edit that is not committed is a warning, a directory that is not there is wrong."""
    served(quiet, spec, spec.parent.parent)
    spec.write_bytes(SPEC + b"# edited\n")
    edited = found(run)["source"]["ok"]
    served(quiet, spec.parent.parent / "nowhere", spec.parent.parent)

    assert (None, False) == (edited, found(run)["source"]["ok"])


def test_one_mistake_is_one_mistake(run: Run, quiet: Daemon, spec: Path) -> None:
    """Counted as people count."""
    spec.write_bytes(SPEC.replace(b"replicas: 1", b"replicas: 2"))
    served(quiet, spec, spec.parent.parent)

    assert found(run)["spec"]["message"].startswith("1 mistake, the first: ")


def test_what_the_caller_may_not_look_at_is_not_judged(
    run: Run, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory is closed to others: that is unknown, not wrong, and sudo is named."""
    state = tmp_path / "state"
    (state / "inner").mkdir(parents=True)
    monkeypatch.setenv("CPCD_SPEC", str(spec))
    monkeypatch.setenv("CPCD_STATE_DIR", str(state / "inner"))
    tmp_path.chmod(0o755)
    with as_nobody(state):
        checks = found(run)
    state.chmod(0o700)

    assert {("state directory", None), ("ledger", None)} <= {(one["name"], one["ok"]) for one in checks.values()}
    assert "sudo" in checks["ledger"]["hint"]


def test_advice_is_given_where_something_is_wrong(
    run: Run, quiet: Daemon, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that reads the hints finds one for a disk that is nearly full, and none for one that is not."""
    served(quiet, spec, spec.parent.parent)
    told = {}
    for free in (63, 64):
        monkeypatch.setattr("cpcd.cli.checks.shutil.disk_usage", lambda _: SimpleNamespace(free=free << 20))  # noqa: B023
        told[free] = found(run)
    short, well = told[63]["state directory"], told[64]

    assert (False, True) == (short["ok"], "below 64 MiB no machine is prepared" in short["hint"])
    assert {""} == {check["hint"] for check in well.values() if check["ok"]}
    assert well["state directory"]["ok"]
