"""`python -m tests.contract.replay FILE…`: print each mismatch and the share; rc 0 iff 98 % in scope match."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cpcd.lab.pve import PROFILES
from tests.contract.replaying import load, one_session, replay

OWN = Path(__file__).parents[1] / "recordings" / "pve.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay recordings, merged by `seq`, to a lab of the profile; return the exit status, 2 without a file.

    Where the files are a part of the session in `tests/recordings/pve.jsonl`, the rest of it is played as well, so that
    the lab is in the state that they were recorded in; only what the files hold is counted.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.contract.replay", description="Replay recorded exchanges.")
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="recorded")
    given = parser.parse_args(arguments)
    entries, own = load(given.files), load([OWN])
    context = own if one_session([*entries, *own]) else []
    report = replay(entries, context=context, settings=PROFILES[given.profile])
    played = {entry.seq for entry in context} - {entry.seq for entry in entries}
    told = [f"context: {len(played)} entries of {OWN.name} played and not counted"] if played else []
    sys.stdout.writelines(f"{line}\n" for line in [*told, *report.lines()])
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
