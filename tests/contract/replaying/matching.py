"""Compare an answer of the lab with the recorded one, value by value; strict but for what only a host decides.

Equal means: status, reason phrase, headers, how long the answer took (within `SLACK`), the same keys, types (`"512"` is
not 512) and values. Bound are UPIDs, MACs, UUIDs and digests (one recorded value is one of the lab's, both ways) and
times (within `DRIFT`). `HOST` lists what is compared by type alone. It changes nothing. Next: `player.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

__all__ = ["HOST", "Bindings", "Mismatch", "alike", "compare", "headers_differ", "seconds_differ", "without_progress"]

HEADERS = ("Cache-Control", "Content-Type", "Pragma", "Server")
"""Headers that say something of the answer. Content-Length follows from the body, Date and Expires from the clock."""
SLACK = 1.5  # seconds that the recorded host took to work, which the lab does not model; what blocks takes longer
DRIFT = 60  # seconds between the recorded clock and the replayed one: tasks take their own time on each

HOST = frozenset((
    "cpu", "mem", "uptime", "netin", "netout", "diskread", "diskwrite", "memhost", "freemem", "mhz", "idle", "wait",
    "used", "avail", "used_fraction", "free", "available", "ctime", "disk", "pid", "idle_time_ns", "free_mem",
    "last_update", "major_page_faults", "minor_page_faults", "mem_swapped_in", "mem_swapped_out", "total_mem",
    "pressurecpufull", "pressurecpusome", "pressureiofull", "pressureiosome", "pressurememoryfull", "pressurememorysome",
))  # fmt: skip
"""Numbers that a host measures: load, memory, traffic, room on disks, when a file was written, process ids of QEMU."""
TIMES = frozenset(("starttime", "endtime", "time"))
WORDS = frozenset(("fingerprint", "ssl_fingerprint", "flags", "model", "family", "vendor", "kversion", "loadavg"))
SOMETIMES = frozenset(("idle_time_ns",))  # of a drive: there once it was read
PROCESS = frozenset(("pid", "pstart"))  # of a task: compared with its UPID
TREES = (".blockstat", ".current-kernel", ".statistics")
"""Words of the recorded host (certificate, processor, kernel), and objects that hold nothing but measures."""
IDENTITY = ("volid", "id", "vmid", "storage", "key", "iface", "poolid", "node", "name")
UNORDERED = frozenset(("content", "supported"))

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TOKENS = re.compile(
    r"(?P<upid>UPID:[^:\s]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:)"
    rf"|(?P<uuid>\b{UUID}\b)"
    r"|(?P<mac>\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b)"
    r"|(?P<linklocal>\bfe80::[0-9a-f:]+)"
    r"|(?P<digest>\b[0-9a-f]{40}\b)"
    r"|(?P<ctime>(?<=ctime=)\d+)"
    r"|(?P<tmp>(?<=\.tmp\.)\d+)"
    r"|(?P<line> at /usr/share/perl5/\S+ line \d+\.)"
)
FREE = frozenset(("tmp", "line"))  # a worker's process id, a line of Proxmox's source: not the stable part
PROGRESS = re.compile(r"(?:mirror-\w+: )?transferred [\d.]+ \w+ of ([\d.]+ \w+) \([\d.]+%\)(?: in \d+s(?:, ready)?)?")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference: where, what was recorded, what the lab said."""

    where: str
    recorded: Any
    lab: Any

    def __str__(self) -> str:
        return f"{self.where}: recorded {self.recorded!r}, lab {self.lab!r}"


@dataclass(slots=True)
class Bindings:
    """Recorded value <-> the lab's value, of everything that chance decides."""

    lab: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, str] = field(default_factory=dict)

    def agree(self, recorded: str, lab: str) -> bool:
        """Bind two values, or tell whether they are bound to each other."""
        if recorded not in self.lab and lab not in self.recorded:
            self.lab[recorded], self.recorded[lab] = lab, recorded
        return self.lab.get(recorded) == lab

    def may_agree(self, recorded: str, lab: str) -> bool:
        """Tell whether two values are, or could still be, bound to each other."""
        return self.lab.get(recorded, lab) == lab and self.recorded.get(lab, recorded) == recorded

    def to_lab(self, text: str) -> str:
        """Put the lab's values in the place of recorded ones."""
        return TOKENS.sub(lambda found: self.lab.get(_name(found), found[0]), text)


def compare(recorded: Any, lab: Any, bindings: Bindings, where: str = "body") -> list[Mismatch]:
    """Return the differences between two values, binding what may differ."""
    return list(_values(recorded, lab, bindings, where))


def _values(recorded: Any, lab: Any, bindings: Bindings, where: str) -> Iterator[Mismatch]:
    match recorded, lab:
        case dict(), dict():
            yield from _objects(recorded, lab, bindings, where)
        case list(), list():
            yield from _lists(recorded, lab, bindings, where)
        case str(), str():
            if not _texts(recorded, lab, bindings.agree):
                yield Mismatch(where, recorded, lab)
        case _:
            if type(recorded) is not type(lab) or recorded != lab:
                yield Mismatch(where, recorded, lab)


def headers_differ(recorded: Mapping[str, str], lab: Mapping[str, str]) -> Iterator[Mismatch]:
    """Return the headers that differ; any connection may be closed once it has carried a hundred requests."""
    for name in HEADERS:
        if recorded.get(name) != lab.get(name):
            yield Mismatch(f"header {name}", recorded.get(name, "nothing"), lab.get(name, "nothing"))
    kept, keeps = recorded.get("Connection", "").lower() != "close", lab.get("Connection", "").lower() != "close"
    if kept and not keeps:
        yield Mismatch("header Connection", recorded.get("Connection", "nothing"), lab["Connection"])
    if ("Content-Length" in recorded) != ("Content-Type" in lab):
        yield Mismatch("header Content-Length", "Content-Length" in recorded, "Content-Type" in lab)


def seconds_differ(recorded: float, lab: float) -> Iterator[Mismatch]:
    """Return the difference when an answer blocked for another time than was recorded."""
    if recorded and not lab - 0.1 <= recorded <= lab + SLACK:
        yield Mismatch("seconds", recorded, lab)


def alike(recorded: Any, lab: Any, bindings: Bindings) -> bool:
    """Tell whether two values could be the same one; binds nothing."""
    if isinstance(recorded, str) and isinstance(lab, str):
        return _texts(recorded, lab, bindings.may_agree)
    return type(recorded) is type(lab) and bool(recorded == lab)


def _texts(recorded: str, lab: str, agree: Callable[[str, str], bool]) -> bool:
    """Compare two texts part by part; a variable must be of the same kind on both sides."""
    if TOKENS.sub("", recorded) != TOKENS.sub("", lab):
        return False
    pairs = zip_longest(TOKENS.finditer(recorded), TOKENS.finditer(lab))
    return all(one and other and _bound(one, other, agree) for one, other in pairs)


def _bound(one: re.Match[str], other: re.Match[str], agree: Callable[[str, str], bool]) -> bool:
    kind = one.lastgroup
    if kind != other.lastgroup:
        return False
    if kind == "ctime":
        return abs(int(one[0]) - int(other[0])) <= DRIFT
    if kind == "mac" and one[0].isupper() != other[0].isupper():
        return False
    return kind in FREE or agree(_name(one), _name(other))


def _name(found: re.Match[str]) -> str:
    """A MAC is the same in both cases: the agent writes it small."""
    return found[0].upper() if found.lastgroup == "mac" else found[0]


def _objects(recorded: dict[str, Any], lab: dict[str, Any], bindings: Bindings, where: str) -> Iterator[Mismatch]:
    process = PROCESS if "upid" in recorded and "pid" in recorded else frozenset()
    if process:
        yield from _process(recorded, lab, where)
    for key in sorted((recorded.keys() & lab.keys()) - process):
        yield from _member(key, recorded[key], lab[key], bindings, f"{where}.{key}")
    for key in sorted((recorded.keys() ^ lab.keys()) - SOMETIMES):
        yield Mismatch(f"{where}.{key}", recorded.get(key, "nothing"), lab.get(key, "nothing"))


def _member(key: str, recorded: Any, lab: Any, bindings: Bindings, where: str) -> Iterator[Mismatch]:
    measured = key in TIMES | HOST | WORDS or any(f"{tree}." in where for tree in TREES)
    if measured and not isinstance(recorded, dict):
        yield from _measured(key, recorded, lab, where)
    elif key in UNORDERED and isinstance(recorded, str) and isinstance(lab, str):
        yield from _values(sorted(recorded.split(",")), sorted(lab.split(",")), bindings, where)
    else:
        yield from _values(recorded, lab, bindings, where)


def _process(recorded: Mapping[str, Any], lab: Mapping[str, Any], where: str) -> Iterator[Mismatch]:
    """A task's numbers are those in its own UPID, on both sides."""
    for said in (recorded, lab):
        _, _, pid, pstart, starttime, *_ = str(said.get("upid", ":::::")).split(":")
        numbers = {"pid": pid, "pstart": pstart, "starttime": starttime}
        for key in numbers.keys() & said.keys():
            if f"{said[key]:08X}" != numbers[key]:
                yield Mismatch(f"{where}.{key}", numbers[key], said[key])


def _measured(key: str, recorded: Any, lab: Any, where: str) -> Iterator[Mismatch]:
    """Compare by type; any number is like any other, and times lie near each other."""
    number = (int, float)
    alike = isinstance(lab, number) if isinstance(recorded, number) else type(recorded) is type(lab)
    alike = alike and isinstance(recorded, bool) == isinstance(lab, bool)
    if not alike or (key in TIMES and abs(recorded - lab) > DRIFT):
        yield Mismatch(where, recorded, lab)


def _lists(recorded: list[Any], lab: list[Any], bindings: Bindings, where: str) -> Iterator[Mismatch]:
    identity = _identity([*recorded, *lab])
    if identity is None:
        yield from _ordered(recorded, lab, bindings, where)
        return
    mine, other = ({each[identity]: each for each in side} for side in (recorded, lab))
    for name in sorted(mine.keys() | other.keys(), key=str):
        place = f"{where}[{name}]"
        if name in mine and name in other:
            yield from _values(mine[name], other[name], bindings, place)
        else:
            yield Mismatch(place, mine.get(name, "nothing"), other.get(name, "nothing"))


def _identity(elements: Sequence[Any]) -> str | None:
    """Return the key that names the elements of a list whose order means nothing."""
    if not elements or not all(isinstance(each, dict) for each in elements) or "upid" in elements[0]:
        return None
    return next((key for key in IDENTITY if all(key in each for each in elements)), None)


def _ordered(recorded: list[Any], lab: list[Any], bindings: Bindings, where: str) -> Iterator[Mismatch]:
    for number, (mine, other) in enumerate(zip_longest(recorded, lab, fillvalue="nothing")):
        yield from _values(mine, other, bindings, f"{where}[{number}]")


def without_progress(body: Any) -> Any:
    """Return a task's log with the progress of each copy as one line: how often it is told is the host's speed."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), list):
        return body
    lines = [each["t"] for each in body["data"]]
    told = [PROGRESS.sub(r"transferred … of \1", line) for line in lines]
    if told == lines:
        return body
    kept = [line for before, line in zip(["", *told], told, strict=False) if line != before or "…" not in line]
    return {"data": [{"n": n, "t": line} for n, line in enumerate(kept, 1)], "total": len(kept)}
