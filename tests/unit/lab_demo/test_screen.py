"""The live table: bars that tell the truth, names that are never cut, and no more columns than there are."""

import io
from typing import Any, Literal

import pytest
from rich.console import Console

from cpcd.lab.demo.screen import Screen, progress
from tests.unit.lab_demo.worlds import World, but, world

LONG = "demo-general-1 waits: 1 pods to leave (kube-system/coredns-d4d2a731ea-ft5th), and " * 3
FIRST = 10_011  # VMID of the first control plane of `world()`


@pytest.mark.parametrize(
    ("vm", "guest", "node", "expected"),
    [
        ({"status": "stopped", "lock": "clone"}, None, None, 10),
        ({"status": "stopped"}, None, None, 20),
        ({}, None, None, 30),
        ({}, {"ssh": False}, None, 30),
        ({}, {"prepared": False}, None, 40),
        ({}, {"prepared": False, "job": "prepare"}, None, 50),
        ({}, {}, None, 60),
        ({}, {"job": "join"}, None, 70),
        ({}, {"job": "init"}, None, 70),
        ({}, {}, {"ready": False}, 85),
        ({}, {}, {"unschedulable": True}, 85),
        ({}, {}, {}, 100),
        ({"status": "stopped"}, {}, {}, 20),
    ],
)
def test_a_bar_is_as_long_as_the_machine_has_come(
    vm: dict[str, Any], guest: dict[str, Any] | None, node: dict[str, Any] | None, expected: int
) -> None:
    """By what there is of it, whatever a machine of the same name had reached before."""
    found = but(world(), "vms", 1, **vm)
    found = but(found, "guests", 0, **(guest or {})) if guest is not None else {**found, "guests": found["guests"][1:]}
    found = but(found, "nodes", 0, **(node or {}), **({} if node is not None else {"systemUUID": "an earlier one"}))

    assert expected == progress(found, FIRST)


def test_a_machine_without_vm_has_no_bar() -> None:
    """Its row is there before."""
    assert 0 == progress(world(), 99)


def status(*sentences: str) -> dict[str, Any]:
    """Return a status with a machine for each sentence."""
    names = [vm["name"] for vm in world()["vms"][1:]]
    machines = [
        {"kind": "machine", "name": name, "sentence": sentence, "vmid": FIRST + number}
        for number, (name, sentence) in enumerate(zip(names, sentences, strict=False))
    ]
    return {"sentence": "5 of 21 objects ready; " + LONG, "objects": [*machines, {"kind": "addon", "name": "hello"}]}


def picture(whole: World, *sentences: str, width: int = 100, color: Literal["standard"] | None = None) -> str:
    """Return what is drawn on a terminal."""
    screen, drawn = Screen(["1. One", "2. Two"]), io.StringIO()
    screen.show(status(*sentences), whole)
    console = Console(file=drawn, width=width, force_terminal=True, color_system=color)
    console.print(screen._picture())
    return drawn.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_sentence_takes_what_is_left_and_no_more(width: int) -> None:
    """Names and bars stay whole; the sentence ends in an ellipsis."""
    rows = [line for line in picture(world(), LONG, "short", width=width).splitlines() if "demo-cp-" in line]

    assert 2 == len(rows)
    assert rows[0].strip().startswith("demo-cp-1  ━━━━━━━━━━━━━━━━  demo-general-1 waits")
    assert rows[1].strip() == "demo-cp-2  ━━━━━━━━━━━━━━━━  short"
    assert (width, "…") == (len(rows[0].rstrip()) + 1, rows[0].rstrip()[-1])


def test_unfinished_bars_are_not_red() -> None:
    """Red and magenta are for what is wrong."""
    drawn = picture(but(world(), "nodes", 0, ready=False), "boots", color="standard")

    (bar,) = [line for line in drawn.splitlines() if "demo-cp-1" in line]
    assert ([], True) == ([code for code in ("[31m", "[35m", "[91m", "[95m") if code in bar], "[36m" in bar)
