"""Plays the acts one after the other, shows them, and says at the end what was true and how to look around."""

import asyncio
import contextlib
import shlex
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rich.table import Table

from cpcd.lab.demo.look import Look
from cpcd.lab.demo.proofs import Proof
from cpcd.lab.demo.screen import Screen
from cpcd.lab.demo.stage import Stage
from cpcd.lab.demo.story import ACTS, Story, StuckError

__all__ = ["main"]

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended
LISTED = 12  # endpoints with the most calls


Report = Callable[[dict[str, Any]], None]


def main(*, keep: bool = False, report: Report | None = None) -> int:
    """Play the story; return 0 when every statement was true, 1 when one was not, 130 when a signal ended it before.

    With `keep` everything is left running until a signal, also after a false statement. A signal ends both processes,
    a second one kills them. With `report` the play is shown on standard error, and its account is reported at the end:
    `statements`, `build` (seconds of lab time, and those of the physical critical path), `calls` by endpoint, `seconds`.
    """
    try:
        return asyncio.run(_play(keep=keep, report=report))
    except asyncio.CancelledError:
        return INTERRUPTED


async def _play(*, keep: bool, report: Report | None) -> int:
    began, stage = time.monotonic(), Stage()
    screen = Screen([act.title for act in ACTS], aside=report is not None)
    _end_when_told(stage)
    async with stage.up(), Look(stage) as look:
        story = Story(stage, look, screen.line, columns=screen.width)
        with screen:
            shown = asyncio.create_task(_show(screen, story), name="screen")
            try:
                await _acts(screen, story)
            finally:
                shown.cancel()
                await asyncio.gather(shown, return_exceptions=True)
        stage.kept = not all(proof.holds for proof in story.proofs)
        _end(screen, story, time.monotonic() - began)
        if report is not None:
            report(_account(story, time.monotonic() - began))
        if keep:
            await _stay(screen, stage)
    return int(stage.kept)


def _end_when_told(stage: Stage) -> None:
    """Let a signal end the play, and with it both processes, also where the shell has it ignored (`nohup`, `&`).

    The play is told once: what it does at its end is not interrupted again, only hurried.
    """
    play, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert play is not None

    def told() -> None:
        for number in signals:
            loop.add_signal_handler(number, stage.slay)
        play.cancel()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, told)


async def _acts(screen: Screen, story: Story) -> None:
    for number, act in enumerate(ACTS):
        screen.act(number, "now")
        before, began = len(story.proofs), time.monotonic()
        try:
            await act.play(story)
        except StuckError:
            pass  # a false statement says so
        except Exception as error:  # noqa: BLE001 - whatever it is, the play is over, and that is said as a statement
            with contextlib.suppress(OSError):  # the disk may be what is full
                (story.stage.directory / "demo.log").write_text(traceback.format_exc(), encoding="utf-8")
            story.prove(Proof("the act was played to its end", holds=False, detail=f"{type(error).__name__}: {error}"))
        fine = all(proof.holds for proof in story.proofs[before:])
        screen.act(number, "done" if fine else "false")
        screen.line(f"{(time.monotonic() - began) * story.stage.about['rate']:.0f} s of lab time", "dim")
        if not fine:
            return


async def _show(screen: Screen, story: Story) -> None:
    while True:
        await asyncio.sleep(0.5)
        with contextlib.suppress(Exception):  # a picture that cannot be had is shown the next time
            screen.show(await story.look.status(), await story.look.world())


def _end(screen: Screen, story: Story, seconds: float) -> None:
    if story.calls:
        table = Table("CALLS", "ENDPOINT", box=None)
        for name, count in story.calls.most_common(LISTED):
            table.add_row(str(count), name)
        rest = story.calls.most_common()[LISTED:]
        if rest:
            table.add_row(str(sum(count for _, count in rest)), f"and {len(rest)} more endpoints")
        screen.console.print(table)
        screen.line(
            f"build: {story.built_in:.0f} s of lab time, {story.built_in / story.path:.2f} × the physical critical path of "
            f"{story.path:.0f} s"
        )
    true, made = sum(proof.holds for proof in story.proofs), story.calls.total()
    screen.line(f"{true} of {len(story.proofs)} statements true, {seconds:.0f} s, {made} calls")
    if false := len(story.proofs) - true:
        words = "1 statement is" if false == 1 else f"{false} statements are"
        screen.line(f"{words} false; logs are kept in {story.stage.directory}", "red")


def _account(story: Story, seconds: float) -> dict[str, Any]:
    build = {"seconds": round(story.built_in, 1), "path": round(story.path, 1)} if story.calls else None
    proofs = [asdict(proof) for proof in story.proofs]
    return {
        "statements": proofs,
        "build": build,
        "calls": dict(story.calls.most_common()),
        "seconds": round(seconds, 1),
    }


async def _stay(screen: Screen, stage: Stage) -> None:
    kubeconfig = shlex.quote(str(stage.state / "kubeconfigs" / "demo.yaml"))
    token = (stage.directory / "pve-token").read_text(encoding="utf-8")
    tree = shlex.quote(str(stage.tree.path))
    for line in (
        "Everything is running. Look around from another terminal; Ctrl-C here ends it:",
        f"  {shlex.join(stage.program)} status",
        f"  kubectl --kubeconfig {kubeconfig} get nodes",
        f"  curl -k -H 'Authorization: PVEAPIToken={token}' {stage.about['proxmox']}/api2/json/cluster/resources",
        f"  curl http://{stage.metrics}/metrics",
        f"  ${{EDITOR:-vi}} {tree}/cluster.yaml && git -C {tree} commit -am 'An edit'",
    ):
        screen.line(line, whole=True)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
