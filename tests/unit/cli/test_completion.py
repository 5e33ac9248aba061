"""Shell completion, asked as click asks: through the whole command line."""

import os

import pytest
from click.shell_completion import ShellComplete

from cpcd.cli import app
from cpcd.model.report import Outcome
from tests.unit.cli.conftest import Run
from tests.unit.cli.daemon import Daemon
from tests.unit.status import scene


def completed(*words: str) -> list[str]:
    """Return what the shell offers for the last word."""
    shell = ShellComplete(app.cli, {}, "cpcd", "_CPCD_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rec"], ["reconcile"]),
        (["status", "machine/home-g"], ["machine/home-general-1", "machine/home-general-2"]),
        (["reconcile", "machine/home-c"], ["machine/home-cp-1"]),
        (["reconcile", "h"], ["home"]),
        (["pause", "h"], ["home"]),
        (["pause", "x"], []),
        (["approve", ""], ["home/retire/home-general-2"]),
        (["approve", "x"], []),
        (["explain", "cpcd-10"], [f"CPCD-{number}" for number in range(100, 109)]),
        (["explain", "rolling"], ["RollingOut"]),
    ],
)
def test_the_shell_offers_what_there_is(quiet: Daemon, words: list[str], expected: list[str]) -> None:
    """Objects, clusters and ids are those that the daemon knows; codes and reasons those of the tables."""
    sentence = "retire home-general-2: general is scaled to 1: waits for `cpcd approve home/retire/home-general-2`"
    cluster = next(key for key in quiet.board.objects if key.kind == "cluster")
    quiet.board.note(scene.done(cluster, Outcome.WAITING, sentence, reason="AwaitingApproval"), scene.NOW)

    assert expected == completed(*words)


def test_the_shell_offers_the_whole_id_of_an_object(quiet: Daemon) -> None:
    """However many slashes it has."""
    name = "home/prune/hello/PersistentVolumeClaim/hello/data"
    cluster = next(key for key in quiet.board.objects if key.kind == "cluster")
    sentence = f"prune PersistentVolumeClaim hello/data of addon hello: waits for `cpcd approve {name}`"
    quiet.board.note(scene.done(cluster, Outcome.WAITING, sentence, reason="AwaitingApproval"), scene.NOW)

    assert [name] == completed("approve", "home/prune/hello/P")


@pytest.mark.parametrize("command", ["status", "reconcile", "approve", "pause"])
def test_without_a_daemon_nothing_is_offered_and_nothing_said(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A shell that completes shows no errors."""
    monkeypatch.setenv("CPCD_SOCKET", "/nowhere/control.sock")
    offered = completed(command, "")

    assert ([], ("", "")) == (offered, tuple(capfd.readouterr()))


def test_the_socket_of_the_line_is_asked(quiet: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--socket` before the command says which daemon is meant, as it does when the command runs."""
    asked = os.environ["CPCD_SOCKET"]
    monkeypatch.delenv("CPCD_SOCKET")

    assert ["home"] == completed("--socket", asked, "pause", "h")


def test_the_installed_script_is_answered(
    run: Run, quiet: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable of the script that `--show-completion` prints leads to the same words."""
    _, script, _ = run("--show-completion", "bash")
    monkeypatch.setenv("_CPCD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "cpcd pause h")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        app.invoke([])

    assert (True, "plain,home\n") == ("_CPCD_COMPLETE=bash_complete" in script, capsys.readouterr().out)
