"""The figures of `make chaos`: added up by phase, with every violation and the command that plays it again."""

from collections import Counter

from tests.chaos.phases import Run
from tests.chaos.report import figures, summary


def told() -> Run:
    """Return a run that is over: two towns of kills, one of which went wrong, and one of connections."""
    run = Run(seed=7, kills=5, rate=30, net=88, say=lambda _: None)
    run.told += [
        {"place": "kills/1/build", "seed": "7/kills/1", "wrong": [], "seconds": 2.0, "kills": 2,
         "with_operations_open": 1, "by_moment": Counter(intent=2), "operations_open": Counter(clone=1)},
        {"place": "kills/2/build", "seed": "7/kills/2", "wrong": ["each machine is one VM: u has 2 VMs"], "seconds": 3.0,
         "kills": 3, "with_operations_open": 2, "by_moment": Counter(intent=1, seconds=2),
         "operations_open": Counter(clone=1, join=1)},
        {"place": "connections/build", "seed": "7/connections", "wrong": [], "seconds": 4.0,
         "connections": {"proxmox": 9}, "faults": {"proxmox": {"refused": 1}, "ssh": {"silent": 2}}},
    ]  # fmt: skip
    return run


def test_figures_are_added_up_by_phase() -> None:
    """Numbers, counters and counters by way; what a phase has not is not there."""
    phases = figures(told())["phases"]

    assert phases["kills"] == {
        "what": "Kill the daemon at seeded moments in every story; in every second town connections break meanwhile.",
        "stories": 2, "seconds": 5, "kills": 5, "with_operations_open": 3, "by_moment": {"intent": 3, "seconds": 2},
        "operations_open": {"clone": 2, "join": 1}, "violations": 1,
    }  # fmt: skip
    assert phases["connections"]["faults"] == {"proxmox": {"refused": 1}, "ssh": {"silent": 2}}
    assert (phases["disk"]["stories"], phases["disk"]["violations"]) == (0, 0)


def test_a_violation_comes_with_the_command_that_plays_it_again() -> None:
    """In the document and in the closing lines."""
    run = told()
    run.skipped["disk"] = "no disk can be mounted here"
    document, lines = figures(run), summary(run, whole=True).splitlines()
    again = "python -m tests.chaos --kills 5 --seed 7 --only kills/2"

    assert (document["ok"], document["again"]) == (False, [again])
    assert lines[:3] == [
        "skipped: disk: no disk can be mounted here",
        "WRONG kills/2/build: each machine is one VM: u has 2 VMs",
        f"again: {again}",
    ]
    assert lines[-1].startswith(
        "chaos: 3 stories, 5 kills, 3 faults on connections, 0 disks taken, 0 stops, 1 violations"
    )
