r"""The wire between cpcd and a machine: one remote command, one request on stdin, one JSON line on stdout.

The command is always `COMMAND`; stdin is `<length of bundle>\n<bundle><JSON request>`; see `encode_request` and
`encode_reply`. Everything variable, secrets too, travels on stdin, never in argv. Shared by `adapters/guests.py` and
by whoever plays a machine (the lab's SSH server); the other end on real machines is `ops.py`.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["COMMAND", "bundle", "decode_reply", "decode_request", "encode_reply", "encode_request"]

JSON = Any

# Works in any login shell: the program is one single-quoted word, and root needs no sudo (`failures.md` S08).
_PROGRAM: Final = 'import sys;i=sys.stdin.buffer;SOURCE=i.read(int(i.readline()));exec(compile(SOURCE,"ops.py","exec"))'
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


def encode_request(source: bytes, verb: str, given: Mapping[str, JSON], *, op: str = "") -> bytes:
    r"""Return what is written to the remote command's stdin: `<length of source>\n<source><JSON request>`.

    The request is `{"verb", "given", "op"}`. A short verb has an empty op; a long verb with an op submits it; verb
    `poll` with an op asks for its state.
    """
    request = json.dumps({"verb": verb, "given": dict(given), "op": op}).encode()
    return b"%d\n%b%b" % (len(source), source, request)


def decode_request(stdin: bytes) -> tuple[str, dict[str, JSON], str]:
    """Return `(verb, given, op)` of an encoded request, skipping the source; ValueError where it is none."""
    length, _, rest = stdin.partition(b"\n")
    request = json.loads(rest[int(length) :])
    return request["verb"], request["given"], request["op"]


def encode_reply(output: Mapping[str, JSON] | None, *, reason: str = "", message: str = "") -> bytes:
    """Return the one JSON line of an answer: `{"ok": true, "output"}` or `{"ok": false, "reason", "message"}`."""
    if output is None:
        return json.dumps({"ok": False, "reason": reason, "message": message}).encode() + b"\n"
    return json.dumps({"ok": True, "output": dict(output)}).encode() + b"\n"


def decode_reply(stdout: bytes) -> dict[str, JSON]:
    """Return the reply: the last line, for a login shell may print its own before; ValueError where there is none.

    One is `{"ok": true, "output": {…}}` or `{"ok": false, "reason": "…", "message": "…"}`, in UTF-8, and nothing else.
    """
    lines = stdout.strip().splitlines()
    try:
        reply = json.loads(lines[-1].decode()) if lines else None
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
