"""How the play ends: what is said, what is kept, and what its exit code is."""

import importlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.demo.proofs import Proof
from cpcd.lab.demo.story import Act, Story, StuckError

main = importlib.import_module("cpcd.lab.demo.main")  # the package's name of it is the function
KEPT = "Everything is running. Look around from another terminal; Ctrl-C here ends it:"


class Still:
    """A stage on which nothing runs."""

    def __init__(self, directory: Path) -> None:
        self.kept, self.directory, self.about = False, directory, {"rate": 30.0}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Put up nothing."""
        yield

    def slay(self) -> None:
        """Kill nobody."""


async def true(story: Story) -> None:
    """Prove something true."""
    story.prove(Proof("it is [so]", holds=True))


async def false(story: Story) -> None:
    """Prove something false."""
    story.prove(Proof("it is so", holds=False, detail="it is not"))


async def stuck(story: Story) -> None:
    """Wait for what never comes."""
    await false(story)
    raise StuckError("it")


async def broken(_story: Story) -> None:
    """Fail in the middle."""
    raise LookupError("nothing there")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Play acts on a stage on which nothing runs: exit code, output, and whether its directory is kept."""

    def played(*acts: Callable[[Story], Awaitable[None]], keep: bool = False) -> tuple[int, str, bool]:
        still = Still(tmp_path)

        async def stay(screen: Any, _stage: Still) -> None:
            screen.line(KEPT, whole=True)

        monkeypatch.setattr(main, "ACTS", [Act(f"{act.__name__} act", act) for act in acts])
        monkeypatch.setattr(main, "Stage", lambda: still)
        monkeypatch.setattr(main, "_stay", stay)
        code = main.main(keep=keep)
        return code, capsys.readouterr().out, still.kept

    return played


def test_a_play_of_true_statements_ends_well_and_keeps_nothing(play: Callable[..., Any]) -> None:
    """Exit code 0."""
    code, out, kept = play(true, true)

    assert (0, False, True, True) == (code, kept, "✔ it is [so]" in out, "2 of 2 statements true" in out)


@pytest.mark.parametrize("act", [false, stuck, broken])
@pytest.mark.parametrize("keep", [True, False])
def test_after_a_false_statement_nothing_is_played_and_logs_are_kept(
    play: Callable[..., Any], tmp_path: Path, act: Any, keep: bool
) -> None:
    """Exit code 1; everything goes on running where that was asked for: this is when one wants to look."""
    code, out, kept = play(true, act, true, keep=keep)

    assert (1, True, True, keep) == (code, kept, "1 of 2 statements true" in out, KEPT in out)
    assert f"1 statement is false; logs are kept in {tmp_path}" in out.replace("\n", "")


def test_what_broke_an_act_is_said_and_kept(play: Callable[..., Any], tmp_path: Path) -> None:
    """The traceback is in the directory, not on the screen."""
    _, out, _ = play(broken)

    assert (True, False) == ("✘ the act was played to its end (LookupError: nothing there)" in out, "Traceback" in out)
    assert "LookupError" in (tmp_path / "demo.log").read_text(encoding="utf-8")


def test_a_program_gets_the_account_alone(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard output; the play itself goes to standard error."""
    accounts: list[dict[str, Any]] = []
    real = main.main
    monkeypatch.setattr(main, "main", lambda keep: real(keep=keep, report=accounts.append))

    code, out, _ = play(true, false)

    assert (1, "") == (code, out)
    assert [True, False] == [one["holds"] for one in accounts[0]["statements"]]
    assert {"statements", "build", "calls", "seconds"} == accounts[0].keys()


def test_of_the_endpoints_the_rest_is_counted(play: Callable[..., Any]) -> None:
    """A table that is cut says so."""

    async def busy(story: Story) -> None:
        story.calls = Counter({f"GET /{number:02}": 100 - number for number in range(20)})
        story.path, story.built_in = 100.0, 150.0

    _, out, _ = play(busy)

    rest = sum(100 - number for number in range(12, 20))
    assert (True, False) == ("GET /11" in out, "GET /12" in out)
    assert re.search(rf"{rest} +and 8 more endpoints", out)
    assert "1.50 × the physical critical path" in out
