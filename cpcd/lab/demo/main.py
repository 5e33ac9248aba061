"""Plays the acts one after the other, shows them, and says at the end what was true and how to look around."""

import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from cpcd.lab.demo.look import Look
from cpcd.lab.demo.screen import Screen
from cpcd.lab.demo.stage import Stage
from cpcd.lab.demo.story import ACTS, Story, StuckError

__all__ = ["main"]

INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended


def main(*, keep: bool = False) -> int:
    """Play the story; return 0 when every statement was true, 130 when a signal ended it before.

    With `keep` everything is left running until a signal.
    """
    try:
        return asyncio.run(_play(keep=keep))
    except asyncio.CancelledError:
        return INTERRUPTED


async def _play(*, keep: bool) -> int:
    began = time.monotonic()
    stage = Stage()
    _end_when_told()
    with Screen([act.title for act in ACTS]) as screen:
        look = Look(stage)
        story = Story(stage, look, screen.line)
        shown = asyncio.create_task(_show(screen, story), name="screen")
        try:
            await stage.open()
            await _acts(screen, story)
            calls, path = await look.calls(), await look.critical_path(masters=3, workers=2, gib=10)
        except BaseException:
            await stage.close()
            raise
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
            await look.close()
    false = [proof for proof in story.proofs if not proof.holds]
    _bound(screen, story.built_in, path)
    _end(screen, story, calls, time.monotonic() - began)
    if keep and not false:
        await _stay(screen, stage)
    await stage.close()
    if false:
        screen.console.print(f"[red]{len(false)} statements are false[/]; logs are kept in {stage.directory}")
        return 1
    shutil.rmtree(stage.directory, ignore_errors=True)
    return 0


def _end_when_told() -> None:
    """Let a signal end the play, and with it both processes, also where the shell has it ignored (`nohup`, `&`)."""
    play = asyncio.current_task()
    assert play is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, play.cancel)


async def _acts(screen: Screen, story: Story) -> None:
    for number, act in enumerate(ACTS):
        screen.act(number, "now")
        before, began = len(story.proofs), await story.time()
        with contextlib.suppress(StuckError):
            await act.play(story)
        fine = all(proof.holds for proof in story.proofs[before:])
        screen.act(number, "done" if fine else "false")
        screen.line(f"[dim]{await story.time() - began:.0f} s of lab time[/]")
        if not fine:
            return


async def _show(screen: Screen, story: Story) -> None:
    while True:
        await asyncio.sleep(0.5)
        with contextlib.suppress(Exception):  # a picture that cannot be had is shown the next time
            status = await story.look.status()
            screen.show(status, f"lab {await story.time():6.0f} s")


def _bound(screen: Screen, built_in: float, path: float) -> None:
    screen.console.print(
        f"build: {built_in:.0f} s of lab time, {built_in / path:.2f} × the physical critical path of {path:.0f} s"
    )


def _end(screen: Screen, story: Story, calls: Mapping[str, Any], seconds: float) -> None:
    table = Table("CALLS", "ENDPOINT", box=None)
    counted = {**calls["proxmox"], **calls["others"]}
    for name, count in sorted(counted.items(), key=lambda item: -item[1])[:12]:
        table.add_row(str(count), name)
    screen.console.print(table)
    true = sum(proof.holds for proof in story.proofs)
    screen.console.print(
        f"{true} of {len(story.proofs)} statements true, {seconds:.0f} s, {sum(counted.values())} calls"
    )


async def _stay(screen: Screen, stage: Stage) -> None:
    kubeconfig = stage.state / "kubeconfigs" / "demo.yaml"
    token = (stage.directory / "pve-token").read_text(encoding="utf-8")
    for line in (
        "Everything is running. Look around, then press Ctrl-C:",
        f"  cpcd --socket {stage.socket} status",
        f"  kubectl --kubeconfig {kubeconfig} get nodes",
        f"  curl -k -H 'Authorization: PVEAPIToken={token}' {stage.about['proxmox']}/api2/json/cluster/resources",
        f"  curl http://{stage.metrics}/metrics",
        f"  edit and commit {stage.spec}",
    ):
        screen.console.print(line, soft_wrap=True, markup=False)
    sys.stdout.flush()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
