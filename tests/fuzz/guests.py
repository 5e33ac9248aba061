"""What a machine says: replies on the wire, noise of a login shell, cut lines, and what they decode to.

Whatever comes: an output of the right shape or a Failure; a refusal is no output.
"""

import functools
import json
import random
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from cpcd.adapters.guests import _answer, _Ended, _output
from cpcd.guest.wire import encode_reply
from cpcd.model.errors import Failure
from cpcd.model.seen import Facts, Members
from cpcd.ports.guests import Host
from cpcd.sources import decode
from tests.fuzz import mutate
from tests.fuzz.seeds import guest_answers
from tests.fuzz.shapes import conforms, demand, judge

__all__ = ["Case", "check", "make"]

HOST: Final = Host("u1", "cp1", "10.0.0.1", 22, ("cpcd",), "ssh-ed25519 AAAA")
REASONS: Final = (
    "busy",
    "NoQuorum",
    "Timeout",
    "CommandMissing",
    "InvalidInput",
    "Preflight",
    "",
    "\ud800",
    "x" * 5000,
)
RECORDED: Final = Path(__file__).parents[1] / "recordings" / "guest.jsonl"
WALL: Final = 1_000_000.0


@dataclass(frozen=True, slots=True)
class Case:
    """One verb and how its command ended."""

    verb: str
    rc: int | None
    stdout: bytes
    stderr: bytes


@functools.cache
def _noise() -> tuple[bytes, ...]:
    """What real machines wrote to their terminals, and what a shell says instead of a reply."""
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    spoken = [json.loads(line).get(stream, "").encode() for line in lines for stream in ("stdout", "stderr")]
    said = (
        b"",
        b"\n",
        b"sudo: a password is required",
        b"sh: 1: python3: not found",
        b"System is booting up.",
        b"{}",
        b"7",
    )
    return (*said, *(words[:4000] for words in spoken if words))


def make(rng: random.Random) -> Case:
    """Return a command's end."""
    seed = rng.choice(tuple(guest_answers()))
    stdout = _stdout(rng, guest_answers()[seed])
    stderr = rng.choice(_noise()) if mutate.chance(rng, 0.2) else b""
    return Case(seed.partition("-")[0], rng.choice((0, 0, 0, 0, 1, 127, 255, -9, None)), stdout, stderr)


def _stdout(rng: random.Random, output: dict[str, Any]) -> bytes:
    match rng.randrange(12):
        case 0:
            return mutate.bytes_of(rng, encode_reply(output))
        case 1:
            return mutate.bytes_of(rng, rng.choice(_noise()))
        case 2:
            return rng.choice(_noise()) + b"\n" + encode_reply(output)
        case 3:
            refusal = {"ok": False, "reason": rng.choice(REASONS), "message": rng.choice(REASONS)}
            return mutate.damaged(rng, refusal)
        case 4:
            return encode_reply(output) * rng.choice((2, 3)) + rng.choice(_noise())
        case 5:
            return encode_reply({**output, "results": {f"op{n}": {"rc": 0} for n in range(rng.choice((10, 2000)))}})
        case 6:
            return mutate.damaged(rng, {"ok": True, "output": output})
        case _:
            return mutate.encoded(rng, {"ok": True, "output": mutate.tree(rng, output)}) + b"\n"


class _Session:
    """Stands for the remote command: what it says is there, and it never makes anybody wait."""

    def __init__(self, case: Case) -> None:
        self._case, self._lines, self.stdout, self.exit_status = case, BytesIO(case.stdout), self, case.rc

    async def readline(self) -> bytes:
        return self._lines.readline()

    async def communicate(self) -> tuple[bytes, bytes]:
        return self._lines.read(), self._case.stderr


def _ended(case: Case) -> _Ended:
    """Read what the command says, as it comes."""
    session: Any = _Session(case)
    reading = _answer(session)
    try:
        reading.send(None)
    except StopIteration as stopped:
        ended: _Ended = stopped.value[0]
        return ended
    raise AssertionError("it waits")


def check(case: Case) -> None:
    """Hold one case to what is promised for every end."""
    try:
        output = _output(HOST, case.verb, _ended(case))
        demand(conforms(output, dict[str, Any]), "an output that is none")
        found = _decoded(case.verb, output)
    except Failure as failure:
        judge(failure)
        return
    demand(conforms(found, SHAPES[case.verb]), f"{case.verb} is taken as what it is not")


SHAPES: Final[dict[str, Any]] = {
    "facts": Facts, "etcd_members": Members, "poll": dict[str, Any], "kubeconfig": dict[str, Any],
    "join_secrets": dict[str, Any],
}  # fmt: skip


def _decoded(verb: str, output: Any) -> Any:
    """Go on as the readers and the reconcilers do."""
    match verb:
        case "facts":
            return decode.facts(output, WALL, WALL)
        case "etcd_members":
            return decode.members(output)
        case "poll":
            states = {"absent", "running", "done", "failed", "lost"}
            demand(output["state"] in states, "a job is in a state that does not exist")
            demand(conforms(output.get("output"), dict[str, Any] | None), "a job's output is none")
            demand(conforms(output.get("error"), dict[str, Any] | None), "a job's error is none")
            return output
        case "join_secrets":
            demand(all(conforms(output[name], str) for name in ("token", "ca_hash")), "a secret is no text")
            return output
        case _:
            demand(conforms(output["kubeconfig"], str), "a kubeconfig is no text")
            return output
