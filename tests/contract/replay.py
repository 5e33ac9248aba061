"""`python -m tests.contract.replay FILE…`: print each mismatch and the share; rc 0 iff 98 % in scope match."""

import sys
from pathlib import Path

from tests.contract.replaying import load, one_session, replay

OWN = Path(__file__).parents[1] / "recordings" / "pve.jsonl"


def main(files: list[str]) -> int:
    """Replay recordings, merged by `seq`, and return the exit status; 2 without a file.

    Where the files are a part of the session in `tests/recordings/pve.jsonl`, the rest of it is played as well, so that
    the lab is in the state that they were recorded in; only what the files hold is counted.
    """
    if not files:
        sys.stderr.write("usage: python -m tests.contract.replay FILE…\n")
        return 2
    entries, own = load(Path(file) for file in files), load([OWN])
    context = own if one_session([*entries, *own]) else []
    report = replay(entries, context=context)
    played = {entry.seq for entry in context} - {entry.seq for entry in entries}
    told = [f"context: {len(played)} entries of {OWN.name} played and not counted"] if played else []
    sys.stdout.writelines(f"{line}\n" for line in [*told, *report.lines()])
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
