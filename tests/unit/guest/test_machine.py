"""How commands end on the machine under the bundle, with real ones."""

from pathlib import Path

import pytest

from cpcd.guest.machine import Ran, run_command


@pytest.mark.parametrize(
    ("argv", "ended"),
    [
        (["sh", "-c", "echo a; echo b >&2; exit 3"], Ran(3, "a\n", "b\n")),
        (["sh", "-c", r"printf '\377x\r\ny'"], Ran(0, "\ufffdx\ny")),
        (["no-such-command"], Ran(127, err="no-such-command: No such file or directory")),
        (["sleep", "9"], Ran(124, err="sleep gave no answer in 0.1 s")),
    ],
)
def test_how_a_command_ends_is_a_value(argv: list[str], ended: Ran) -> None:
    """Whatever it does and prints."""
    assert run_command(argv, timeout=0.1 if argv[0] == "sleep" else 20) == ended


def test_what_is_given_is_read() -> None:
    """As UTF-8."""
    assert run_command(["cat"], stdin="hé\n") == Ran(0, "hé\n")


def test_what_a_command_has_said_so_far_can_be_read_while_it_runs(tmp_path: Path) -> None:
    """As docs/troubleshooting.md says of a kubeadm that hangs; nothing of what it says is lost by that."""
    ran = run_command(["sh", "-c", f"echo begun; cp /proc/$$/fd/1 {tmp_path}/seen; echo done"])

    assert ((tmp_path / "seen").read_text(), ran) == ("begun\n", Ran(0, "begun\ndone\n"))
