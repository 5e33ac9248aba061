r"""The wire between cpcd and a machine: one remote command, on its stdin requests, on its stdout a line for each.

The command is always `COMMAND`; stdin begins with `<length of bundle>\n<bundle>`, see `opening`, and then has one line
for each request, in turn, until whoever asks hangs up; see `encode_request` and `encode_reply`. Everything variable,
secrets too, travels on stdin, never in argv. Shared by `adapters/guests.py` and by whoever plays a machine (the lab's
SSH server); the other end on real machines is `ops.py`.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["COMMAND", "bundle", "decode_reply", "decode_request", "encode_reply", "encode_request", "opening"]

JSON = Any

# Works in any login shell: the program is one single-quoted word, and root needs no sudo (`failures.md` S08).
_PROGRAM: Final = 'import sys;i=sys.stdin.buffer;CODE=compile(i.read(int(i.readline())),"ops.py","exec");exec(CODE)'
COMMAND: Final = (
    """sh -c 'if [ "$(id -u)" = 0 ]; then exec python3 -I -c "$0"; else exec sudo -n python3 -I -c "$0"; fi' """
    f"'{_PROGRAM}'"
)

_MODULES: Final = ("reasons", "machine", "jobs", "etcd", "kubeadm", "facts", "ops")
_OWN_IMPORT: Final = re.compile(r"^from (?:__future__|cpcd\.guest\.\w+) import (?:\([^)]*\)|.*)\n", re.MULTILINE)


@functools.cache
def bundle() -> bytes:
    """Return the modules that run on a machine as one text: in order of import, without imports of each other."""
    texts = [Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in _MODULES]
    return ("from __future__ import annotations\n" + "\n".join(_OWN_IMPORT.sub("", text) for text in texts)).encode()


def opening(source: bytes) -> bytes:
    r"""Return what is written to the remote command's stdin first: `<length of source>\n<source>`."""
    return b"%d\n%b" % (len(source), source)


def encode_request(verb: str, given: Mapping[str, JSON], *, op: str = "") -> bytes:
    """Return the line of a request, `{"verb", "given", "op"}`.

    A short verb has an empty op; a long verb with an op submits it; verb `poll` with an op asks for its state.
    """
    return json.dumps({"verb": verb, "given": dict(given), "op": op}).encode() + b"\n"


def decode_request(line: bytes) -> tuple[str, dict[str, JSON], str]:
    """Return `(verb, given, op)` of an encoded request; ValueError or KeyError where it is none."""
    request = json.loads(line)
    return request["verb"], request["given"], request["op"]


def encode_reply(output: Mapping[str, JSON] | None, *, reason: str = "", message: str = "") -> bytes:
    """Return the one JSON line of an answer: `{"ok": true, "output"}` or `{"ok": false, "reason", "message"}`."""
    if output is None:
        return json.dumps({"ok": False, "reason": reason, "message": message}).encode() + b"\n"
    return json.dumps({"ok": True, "output": dict(output)}).encode() + b"\n"


def decode_reply(line: bytes) -> dict[str, JSON]:
    """Return the reply in a line, ValueError where it is none, as what a login shell prints before the first.

    One is `{"ok": true, "output": {…}}` or `{"ok": false, "reason": "…", "message": "…"}`, in UTF-8, and nothing else.
    """
    try:
        reply = json.loads(line.decode())
        json.dumps(reply, ensure_ascii=False, allow_nan=False).encode()  # no half characters, no NaN
    except RecursionError:
        raise ValueError("no reply: it nests too deep") from None
    if not (isinstance(reply, dict) and _whole(reply)):
        raise ValueError("no reply")
    return reply


def _whole(reply: dict[str, JSON]) -> bool:
    match reply:
        case {"ok": True, "output": dict()} | {"ok": False, "reason": str(), "message": str()}:
            return True
        case _:
            return False
