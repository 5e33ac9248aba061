"""Recorded exchanges as values: what was asked, what Proxmox answered, what was done on the node by hand.

Reads JSON lines of several files, merged by `seq`; a missing `seq` is a hole, in which anything may have happened.
Nothing here knows the lab. Next: `player.py`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

__all__ = ["PREFIX", "UPID", "Entry", "Exchange", "Intervention", "load", "one_session"]

PREFIX = "/api2/json"
ENCODINGS = frozenset(("", "query", "form", "json", "multipart/form-data"))
UPID = re.compile(r"UPID:[^:\s]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its answer; `auth` is `token:…`, `ticket:…`, `cookie` or empty, `time` Unix seconds or None.

    `seconds` is how long the answer took, 0 where that was not kept.
    """

    seq: int
    group: str
    note: str
    method: str
    path: str
    params: Mapping[str, Any]
    auth: str
    status: int
    reason: str
    body: Any
    headers: Mapping[str, str] | None = None  # None where the recorder kept none
    seconds: float = 0.0
    time: int | None = None
    parallel: Mapping[str, Any] | None = None
    raw: str = ""  # the request as on the wire, where it was written so; of a body without parameters its kind

    @property
    def data(self) -> Any:
        """The answer proper, None for an error."""
        return self.body.get("data") if isinstance(self.body, dict) else None

    @property
    def call(self) -> str:
        """`METHOD /path` without the prefix, as scope rules read it."""
        return f"{self.method} {self.path.removeprefix(PREFIX)}"

    @property
    def write(self) -> bool:
        """Tell whether it was accepted and may have changed something."""
        return self.method != "GET" and self.status == 200

    @property
    def vmid(self) -> int | None:
        """The VM that the path names."""
        found = re.match(rf"{PREFIX}/nodes/[^/]+/qemu/(\d+)(?:/|$)", self.path)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something done on the node by hand: what for, and the shell command."""

    seq: int
    group: str
    what: str
    command: str


Entry = Exchange | Intervention


@dataclass(slots=True)
class _Wire:
    """An HTTP message as it was on the wire."""

    first: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

    @classmethod
    def parse(cls, text: str) -> "_Wire":
        head, _, body = text.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return cls(first, {name.lower(): value for name, _, value in pairs}, body)


def load(paths: Iterable[Path]) -> list[Entry]:
    """Return the entries of all files in the order they happened; a `seq` that is in two files is taken once."""
    lines = (json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip())
    entries = {line["seq"]: line for line in lines}
    return [_entry(entries[seq]) for seq in sorted(entries)]


def one_session(entries: Iterable[Entry]) -> bool:
    """Tell whether entries can be of one session: their times rise with their numbers."""
    ordered = sorted(entries, key=lambda entry: entry.seq)
    times = [entry.time for entry in ordered if isinstance(entry, Exchange) and entry.time is not None]
    return times == sorted(times)


def _entry(line: Mapping[str, Any]) -> Entry:
    if "intervention" in line:
        return Intervention(line["seq"], line["group"], line["intervention"], line["command"])
    return _raw(line) if "raw_request" in line else _exchange(line)


def _exchange(line: Mapping[str, Any]) -> Exchange:
    request, response = line["request"], line.get("response") or {}  # none where the connection broke
    path, _, query = request["path"].partition("?")
    encoding, params = request.get("encoding") or "", request.get("params")
    odd = isinstance(params, str) or encoding not in ENCODINGS
    return Exchange(
        line["seq"],
        line["group"],
        line.get("note") or "",
        request["method"],
        path,
        dict(parse_qsl(query)) | _params(None if odd else params, encoding),
        request.get("auth") or "",
        response.get("status") or 0,
        response.get("reason") or "",
        response.get("body"),
        headers=response.get("headers"),
        seconds=line.get("seconds") or 0.0,
        time=line.get("time"),
        parallel=_parallel(line.get("parallel")),
        raw=f"Content-Type: {encoding} as text" if odd else "",
    )


def _parallel(given: Any) -> dict[str, Any] | None:
    """Return what is known of the task of a request that was sent with others; it may have none."""
    known = given if isinstance(given, Mapping) else {}
    return {"task": None, "log": [], "task_stopped_at": 0.0} | dict(known) if given else None


def _params(given: Any, encoding: str) -> dict[str, Any]:
    """Return parameters by name; those that were repeated as a list. Only JSON has booleans: a form has their word."""
    if not isinstance(given, list):
        words = {name: str(value) for name, value in (given or {}).items() if isinstance(value, bool)}
        return dict(given or {}) | ({} if encoding == "json" else words)
    repeated: dict[str, list[Any]] = {}
    for name, value in given:
        repeated.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in repeated.items()}


def _raw(line: Mapping[str, Any]) -> Exchange:
    """Read an exchange that was written to the socket by hand."""
    asked, answered = _Wire.parse(line["raw_request"]), _Wire.parse(line["raw_response"])
    # What is no HTTP, or was cut off, is a request or an answer all the same, without what is missing.
    method, target, *_ = [*asked.first.split(" "), ""]
    _, status, reason, *_ = [*answered.first.split(" ", 2), "", ""]
    path, _, query = target.partition("?")
    token = re.match(r"PVEAPIToken=([^=]+)=", asked.headers.get("authorization", ""))
    return Exchange(
        line["seq"],
        line["group"],
        line["note"],
        method,
        path,
        dict(parse_qsl(query)) | dict(parse_qsl(asked.body)),
        f"token:{token[1]}" if token else "",
        int(status) if status.isdecimal() else 0,
        reason,
        _body(answered),
        headers={_header(name): value for name, value in answered.headers.items()},
        raw=line["raw_request"],
    )


def _body(answered: _Wire) -> Any:
    """Return a body as what its kind says, or as the text that it is where it is broken."""
    with suppress(ValueError):
        return json.loads(answered.body) if "json" in answered.headers.get("content-type", "") else answered.body
    return answered.body


def _header(name: str) -> str:
    """Return a header's name as recorded exchanges spell it."""
    return "-".join(part.capitalize() for part in name.split("-"))
