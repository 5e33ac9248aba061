"""`python -m tests.contract.guest_replay FILE…`: print each mismatch and the share; rc 0 iff it is 95 % or more."""

import sys
from pathlib import Path

from tests.contract.guest_replay.replay import replay
from tests.contract.guest_replay.transcript import load


def main(files: list[str]) -> int:
    """Replay recordings and return the exit status; 2 without a file."""
    if not files:
        sys.stderr.write("usage: python -m tests.contract.guest_replay FILE…\n")
        return 2
    report = replay([transcript for file in files for transcript in load(Path(file))])
    sys.stdout.writelines(f"{line}\n" for line in report.lines())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
