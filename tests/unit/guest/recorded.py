"""A machine made of recorded answers: a directory as its root and a table as its programs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cpcd.guest.machine import Machine, Ran

RECORDINGS = Path(__file__).parents[2] / "recordings" / "guest.jsonl"
LINES: Mapping[int, Mapping[str, Any]] = {
    line["seq"]: line for line in map(json.loads, RECORDINGS.read_text().splitlines())
}


def recorded(seq: int) -> Ran:
    """Return how the recorded command with this number ended."""
    line = LINES[seq]
    return Ran(line["rc"], line["stdout"] or "", line["stderr"] or "")


class Programs:
    """What a machine's programs answer: the first key that the command line begins with; others are absent (127)."""

    def __init__(self, answers: Mapping[str, Ran | Callable[[list[str]], Ran]]) -> None:
        self.answers = dict(answers)
        self.calls: list[str] = []

    def __call__(self, argv: list[str], **_options: object) -> Ran:
        """Answer one command line."""
        line = " ".join(argv)
        self.calls.append(line)
        for start, answer in self.answers.items():
            if line.startswith(start):
                return answer if isinstance(answer, Ran) else answer(argv)
        return Ran(127, err=f"{argv[0]}: No such file or directory")


def machine(root: Path, answers: Mapping[str, Ran | Callable[[list[str]], Ran]]) -> Machine:
    """Return a machine under `root` whose programs give these answers."""
    return Machine(root=root, run=Programs(answers), code=compile("", "ops.py", "exec"))


def put(root: Path, path: str, text: str = "") -> None:
    """Write a file of the machine."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
