"""Where the lab's behaviours come from."""

import re
import sys

import cpcd.lab as package
from cpcd.lab.provenance import marks

LIMIT = 0.10
GUARDS = (
    "_check_destroy",
    "_destroy",
    "check_lock",
    "check_writable",
    "_check_protection",
    "_remove",
    "refuse_skiplock",
)


def test_at_most_a_tenth_is_guessed(capsys) -> None:
    """The shares are printed; a behaviour counts as guessed when any part of it is."""
    found = marks(package)
    kinds = [{mark.kind for mark in attached} for attached in found.values()]
    shares = {
        kind: sum(kind in each for each in kinds) / len(kinds) for kind in ("recorded", "schema", "source", "guess")
    }
    with capsys.disabled():
        text = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
        sys.stdout.write(f"\nlab provenance: {len(kinds)} behaviours, {text}\n")

    guessed = [name for name, attached in found.items() if any(mark.kind == "guess" for mark in attached)]
    assert len(kinds) > 100
    assert len(guessed) <= LIMIT * len(kinds), guessed


def test_no_destructive_guard_rests_on_a_guess() -> None:
    """Every guard of destroy, lock and protection is recorded or read in source."""
    found = {name.rpartition(".")[2]: attached for name, attached in marks(package).items() if ".lab.pve." in name}

    assert set(GUARDS) <= found.keys()
    assert [name for name in GUARDS if any(mark.kind == "guess" for mark in found[name])] == []


def test_marks_name_something_that_can_be_looked_up() -> None:
    """A recording is a number; everything else is a word."""
    wrong = [
        name
        for name, attached in marks(package).items()
        for mark in attached
        if not mark.of or (mark.kind == "recorded") != all(re.fullmatch(r"\d+", each) for each in mark.of)
    ]

    assert wrong == []
