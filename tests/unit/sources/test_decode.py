"""What others say becomes values: what is no news, and what is not theirs to blame, is left out."""

from typing import Any

import pytest

from cpcd.ports.guests import SHORT_VERBS
from cpcd.sources import decode


@pytest.mark.parametrize(
    ("clock", "skew"), [(1000.0, 0), (1050.0, 0), (1110.0, 0), (960.0, -40), (1150.0, 40), (998.0, 0)]
)
def test_how_long_an_answer_took_is_no_fault_of_a_clock(clock: float, skew: float) -> None:
    """Asked at 1000 and answered at 1110, it is right when it read any time between; else it is off by what is missing."""
    facts = decode.facts({"clock": clock}, 1000.0, 1110.0)

    assert skew == facts.clock_skew


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({}, (0, 0)),
        ({"root": {"size": 19, "disk": 20}}, (19, 20)),
        ({"root": {"size": 19, "disk": None}}, (19, 0)),
    ],
    ids=["from before it was told", "both", "no disk of its own"],
)
def test_a_size_that_is_not_told_is_unknown(given: dict[str, Any], sizes: tuple[int, int]) -> None:
    """0 stands for it, which no file system has: never a guess."""
    facts = decode.facts(given, 1000.0, 1000.0)

    assert sizes == (facts.root, facts.root_disk)


HEAD = {"type": "cluster", "name": "lab", "version": 2, "quorate": 1, "nodes": 2}
HERE = [{"type": "node", "name": "pve1", "online": 1}, {"type": "node", "name": "pve2", "online": 0}]


@pytest.mark.parametrize(
    ("rows", "removed"),
    [
        ([HEAD, *HERE], ["pve3"]),
        ([{**HEAD, "nodes": 1}, HERE[0]], ["pve2", "pve3"]),
        ([HEAD, HERE[0]], []),
        ([{**HEAD, "nodes": 3}, *HERE], []),
        ([{**HEAD, "quorate": 0}, *HERE], []),
        ([{key: value for key, value in HEAD.items() if key != "nodes"}, *HERE], []),
        (HERE[:1], []),
    ],
)
def test_a_node_is_removed_only_by_a_list_that_is_whole(rows: list[dict[str, object]], removed: list[str]) -> None:
    """A quorate cluster that lists as many as it counts; who lost its cluster's configuration lists itself alone."""
    quorum = decode.quorum(rows)

    assert removed == [name for name in ("pve1", "pve2", "pve3") if quorum.removed(name)]


def test_of_a_machine_is_asked_what_is_read_of_it() -> None:
    """No less, and no more: to tell some of it a machine starts programs."""
    read: list[str] = []

    class Told(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            read.append(key)
            return super().get(key, default)

    decode.facts(Told(), 1000.0, 1000.0)

    assert set(decode.FACTS) == set(read) <= set(SHORT_VERBS["facts"][1])
