"""Proxmox's answers: status, reason, body, headers or none at all, through codec, error table and decoding.

Whatever comes: a value of the right shape or a Failure; an error is no success, and absence needs Proxmox's own words.
"""

import json
import random
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.model.errors import Failure
from cpcd.model.seen import Quorum, Resource, Task, Vm
from cpcd.model.texts import judged
from cpcd.ports.proxmox import Request, Response
from cpcd.sources import decode
from cpcd.sources.doctor import missing
from tests.fuzz import mutate
from tests.fuzz.seeds import NODE, SITE, VERBS, VMID, now, proxmox_answers
from tests.fuzz.shapes import conforms, demand, judge

__all__ = ["Case", "check", "make"]

STATUSES: Final = (
    200,
    200,
    200,
    201,
    204,
    301,
    400,
    401,
    403,
    404,
    500,
    501,
    502,
    503,
    504,
    595,
    596,
    599,
    100,
    0,
    999,
)
# Texts as recorded, and their like: each is a row of the error table or close to one.
SAID: Final = (
    "OK", "", "no such task", "VM 301 already exists", "VM 301 already exists on node 'pve1'", "Permission check failed",
    "Permission check failed (/vms/301, VM.Audit)", "Permission check failed (/x, VM.Clone|VM.Audit", "no quorum",
    "Configuration file 'nodes/pve1/qemu-server/301.conf' does not exist", "can't lock file '/x' - got timeout",
    "VM is locked (backup)", "hostname lookup 'pve9' failed - failed to get address info", "Only root can set 'args'",
    "no such cluster node '{text}'", "pool '' does not exist", "storage 'x' does not exist", "unexpected status",
    "checksum mismatch (file change by other user?)", "unable to find configuration file for VM 9000 on node 'pve1'",
    "detected modified configuration - file changed by other user? Try again.", "Parameter verification failed.",
    "RPCEnvironment init request failed: Unable to load access control list", "Internal Server Error",
)  # fmt: skip
SILENCE: Final[tuple[Callable[[], Exception], ...]] = (
    lambda: ConnectionRefusedError("refused"), lambda: ConnectionResetError("reset"), TimeoutError,
    ConnectionAbortedError, lambda: ssl.SSLCertVerificationError("wrong"), lambda: ssl.SSLError(1, "eof"),
    lambda: BrokenPipeError(32, "broken"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One verb and the answers that it gets, the last one again and again."""

    verb: str
    answers: tuple[Response | Exception, ...]


@dataclass(slots=True)
class _Transport:
    answers: tuple[Response | Exception, ...]
    sent: int = 0

    async def send(self, request: Request) -> Response:
        answer = self.answers[min(self.sent, len(self.answers) - 1)]
        self.sent += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        return


def make(rng: random.Random) -> Case:
    """Return one verb with one to three answers."""
    verb = rng.choice(tuple(VERBS))
    return Case(verb, tuple(_answer(rng, verb) for _ in range(rng.choice((1, 1, 1, 2, 3)))))


def _answer(rng: random.Random, verb: str) -> Response | Exception:
    if mutate.chance(rng, 0.04):
        return rng.choice(SILENCE)()
    known = proxmox_answers()[verb if mutate.chance(rng, 0.8) else rng.choice(tuple(VERBS))]
    match rng.randrange(10):
        case 0 | 1 | 2:
            return _error(rng)
        case 3:
            return replace(known, body=mutate.bytes_of(rng, known.body))
        case 4:
            return replace(known, status=rng.choice(STATUSES), reason=_reason(rng))
        case _:
            return replace(known, body=mutate.damaged(rng, json.loads(known.body)))


def _error(rng: random.Random) -> Response:
    body = {"data": None, "message": _reason(rng) + "\n", "errors": {"vmid": _reason(rng)}}
    headers = {"Content-Type": rng.choice(("application/json;charset=UTF-8", "text/html", ""))}
    return Response(
        rng.choice(STATUSES), _reason(rng), mutate.damaged(rng, body), headers if mutate.chance(rng, 0.5) else {}
    )


def _reason(rng: random.Random) -> str:
    text = rng.choice(SAID)
    if mutate.chance(rng, 0.3):  # as aiohttp hands on bytes that are no UTF-8
        return mutate.bytes_of(rng, text.encode()).decode("utf-8", "surrogateescape")
    return text


def check(case: Case) -> None:
    """Hold one case to what is promised for every answer."""
    transport = _Transport(case.answers)
    try:
        value = now(VERBS[case.verb](ProxmoxApi(transport, SITE, lambda: "user@pve!cpcd=secret")))
        found = _decoded(case.verb, value)
    except Failure as failure:
        judge(failure)
        return
    demand(transport.sent == 1 or case.verb in READS, "a write is never repeated")
    demand(conforms(found, SHAPES[case.verb]), f"{case.verb} is taken as what it is not")
    last = case.answers[min(transport.sent, len(case.answers)) - 1]
    demand(isinstance(last, Response), "silence is no answer")
    _truthful(case.verb, value, last)


READS: Final = frozenset(VERBS) - {"clone", "configure", "resize", "power", "destroy"}
ABSENT: Final = {
    "config": "does not exist",
    "status": "does not exist",
    "task_status": "no such task",
    "vmid_free": "already exists",
}


def _truthful(verb: str, value: Any, answer: Any) -> None:
    """Success needs a success, and `not there` Proxmox's own sentence: not a proxy's page, not an empty body."""
    if value is None or value is False:
        if verb != "configure":
            raw = f"{answer.reason} {answer.body.decode('utf-8', 'replace')}"
            said = " ".join(re.sub(r"\\+[a-z]", " ", raw).split())  # as a sentence has them: without line ends
            demand(
                answer.status >= 400 and any(words in said for words in ABSENT.values()), f"{verb}: absence is made up"
            )
        return
    demand(200 <= answer.status <= 299, f"{verb}: an error is taken as success")
    if verb == "vmid_free":
        demand(str(json.loads(answer.body).get("data")) == "399", "a VMID is free that Proxmox did not name")
    if verb in {"clone", "resize", "power", "destroy"}:
        demand(value.startswith("UPID:"), f"{verb}: what is no UPID is taken as one")


SHAPES: Final[dict[str, Any]] = {
    "resources": dict[int, Resource], "cluster_status": Quorum, "permissions": tuple[str, ...], "config": Vm | None,
    "status": Vm | None, "pending": tuple[str, ...], "vmid_free": bool, "tasks": tuple[Task, ...],
    "task_status": dict[str, Any] | None, "task_log": int, "agent_file_read": str, "agent_interfaces": list[Any],
    "clone": str, "configure": type(None), "resize": str, "power": str, "destroy": str,
}  # fmt: skip


def _vm(config: Any, status: Any) -> Any:
    decode.with_disks(Resource(VMID, NODE, "", "", template=True, tags=(), lock=""), config, frozenset({"local"}))
    return decode.vm(NODE, config, status, (), "")


def _tasks(value: Any) -> Any:
    found = tuple(map(decode.task, value))
    for task in found:
        code, said, hint, retry = judged(task.exit or "unexpected status")
        judge(Failure(code, f"clone of 9000 failed: {said}", hint=hint, retry=retry))
    return found


def _decoded(verb: str, value: Any) -> Any:
    """Go on as the readers do."""
    match verb:
        case "resources":
            found = decode.resources(value)
            decode.shared_storages(value)
            return found
        case "cluster_status":
            return decode.quorum(value)
        case "permissions":
            return missing(value)
        case "config" | "status" if value is not None:
            both = {each: json.loads(proxmox_answers()[each].body)["data"] for each in ("config", "status")}
            return _vm(**both | {verb: value})
        case "pending":
            return decode.pending(value)
        case "tasks":
            return _tasks(value)
        case "task_log":
            return decode.made(value)
        case _:
            return value
