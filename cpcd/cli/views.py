"""What `cpcd status` looks like: from the daemon's document to something that rich can print, in 80 columns.

Pure: no socket, no clock; ages come from the document's own time.
"""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cpcd.cli.output import age, duration, table

__all__ = ["everything", "history", "lines", "one", "silent"]

JSON = dict[str, Any]

_GOOD: Final = {
    "ProxmoxAvailable", "ControlPlaneInitialized", "ControlPlaneAvailable", "WorkersAvailable",
    "EtcdClusterHealthy", "CertificatesAvailable", "AddonsApplied", "KubeconfigReady",
}  # fmt: skip
_NEWS: Final = {
    "RollingOut", "ScalingUp", "ScalingDown", "Remediating", "Deleting", "Paused", "Degraded", "AwaitingApproval",
}  # fmt: skip
_MARKS: Final = {
    "ready": ("✓", "green"), "moving": ("…", "yellow"), "stuck": ("✗", "red"), "unknown": ("?", "magenta"),
}  # fmt: skip


def everything(document: JSON) -> RenderableType:
    """Return the whole status: how many are ready, troubles, each cluster with bars and news, objects, operations."""
    parts: list[RenderableType] = [Text(document["summary"], style="bold")]
    parts += [_marked(trouble) for trouble in (*document["troubles"], *document["spec"]["mistakes"][1:5])]
    parts.append(Text())
    for cluster in document["clusters"]:
        parts += [_cluster(cluster), Text()]
    parts.append(_objects(document))
    if document["operations"]:
        parts += [Text(), _operations(document)]
    return Group(*parts)


def one(shown: JSON) -> RenderableType:
    """Return one object: what it is, its conditions (of a cluster those of the whole), its last events."""
    entry, whole, now = shown["object"], shown["cluster"], shown["at"]
    listed = whole["conditions"] if whole else entry["conditions"]
    mark = _standing({found["type"]: found for found in listed}) if whole else _mark(entry)
    head = Text.assemble(mark, (f" {entry['cluster'] or entry['site']}/{entry['kind']}/{entry['name']}", "bold"))
    under = _bars(whole["counters"]) if whole else Padding(_place(entry), (0, 0, 0, 2))
    told = Padding(Group(Text(entry["sentence"]), *_advice(entry)), (0, 0, 0, 2))
    return Group(head, told, under, Text(), _conditions(listed, now), Text(), history(shown["events"], now=now))


def _conditions(conditions: list[JSON], now: str) -> RenderableType:
    made = table("CONDITION", "STATUS", "SINCE", "WHY")
    for found in conditions:
        why = Text.assemble(found["reason"], (f"  {found['message']}", "dim"))
        made.add_row(found["type"], found["status"], age(found["lastTransitionTime"], now), why)
    return made


def history(events: list[JSON], *, now: str = "", named: bool = False) -> RenderableType:
    """Return events, the oldest first: a line that says when, what and which run, and under it the sentence.

    `now` gives ages instead of times; `named` says of each which object it is about, with its cluster where there are
    several.
    """
    if not events:
        return Text("no events yet", style="dim")
    owners = {event["key"].split("/")[0] for event in events if "/template/" not in event["key"]}
    made = table("WHEN", "WHAT")
    for event in reversed(events):
        when = age(event["at"], now) if now else _moment(event)
        style = "yellow" if event["severity"] == "Warning" else "bold"
        who = event["key"] if len(owners) > 1 else event["key"].partition("/")[2]
        head = Text.assemble((event["reason"], style), f"  {who}" if named else "", (f"  {event['run']}", "dim"))
        made.add_row(when, Group(head, Text(event["message"])))
    return made


def lines(events: list[JSON]) -> str:
    """Return events for a pipe, the oldest first: one line each, nothing cut and nothing wrapped."""
    rows = [(_moment(one), one["key"], one["reason"], one["run"], one["message"]) for one in reversed(events)]
    return "\n".join("  ".join(row) for row in rows)


def _moment(event: JSON) -> str:
    return str(event["at"][5:19].replace("T", " "))


def silent(sentence: str) -> RenderableType:
    """Return what is shown while no daemon answers."""
    return Text(sentence, style="red")


def _marked(trouble: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(*_MARKS["stuck"]), trouble)
    return grid


def _cluster(cluster: JSON) -> RenderableType:
    conditions = {found["type"]: found for found in cluster["conditions"]}
    head = Text.assemble(
        _standing(conditions), (f" {cluster['name']}", "bold"), f"  {cluster['version']}  {cluster['endpoint']}"
    )
    news = [f for f in cluster["conditions"] if _is_news(f)]
    lines = [Text.assemble((f["type"], "yellow"), f"  {f['message'] or f['reason']}") for f in news]
    return Group(head, _bars(cluster["counters"]), *(Padding(line, (0, 0, 0, 2)) for line in lines))


def _standing(conditions: Mapping[str, JSON]) -> tuple[str, str]:
    """Return the mark of a whole cluster."""
    ready, degraded = (conditions[name]["status"] == "True" for name in ("Ready", "Degraded"))
    return _MARKS["ready" if ready else "stuck" if degraded else "moving"]


def _is_news(condition: JSON) -> bool:
    kind, status = condition["type"], condition["status"]
    told = kind == "SpecValid" and condition["reason"] == "Uncommitted"  # a mistake is in the first line already
    return told or (kind in _GOOD and status != "True") or (kind in _NEWS and status == "True")


def _bars(counters: JSON) -> RenderableType:
    """Ready are those of all machines there are, also while a rollout has more of them than are wanted."""
    desired, ready, fresh = (counters[f"{word}Replicas"] for word in ("desired", "ready", "upToDate"))
    grid = Table.grid(padding=(0, 1))
    row: list[RenderableType] = [Text(" ")]
    for word, count, of in (
        ("ready", ready, max(desired, counters["replicas"])),
        ("up to date", fresh, max(desired, fresh)),
    ):
        bar = ProgressBar(total=max(of, 1), completed=min(count, of), width=20, finished_style="green")
        row += [bar, Text(f"{count}/{of} {word}  ")]
    grid.add_row(*row)
    return grid


def _objects(document: JSON) -> RenderableType:
    made = table("", "OBJECT", "SINCE", "WHAT")
    several = [word for word in ("cluster", "site") if len({e[word] for e in document["objects"] if e[word]}) > 1]
    for entry in document["objects"]:
        whose = "".join(f"{entry[word]}/" for word in several if entry[word])
        since = age(_ready(entry)["lastTransitionTime"], document["at"])
        told = Group(Text(entry["sentence"]), *_advice(entry))
        made.add_row(_mark(entry), f"{whose}{entry['kind']}/{entry['name']}", since, told)
    return made


def _operations(document: JSON) -> RenderableType:
    made = table("ON ITS WAY", "SINCE", "OBJECT")
    for op in document["operations"]:
        made.add_row(op["verb"], duration(op["seconds"]), op["object"])
    return made


def _mark(entry: JSON) -> Text:
    held = {found["type"] for found in entry["conditions"] if found["status"] == "True"}
    if held & {"Degraded", "Stalled"}:
        return Text(*_MARKS["stuck"])
    if "Progressing" in held:
        return Text(*_MARKS["moving"])
    return Text(*_MARKS["ready" if "Ready" in held else "unknown"])


def _advice(entry: JSON) -> list[Text]:
    if not entry["code"]:
        return []
    if entry["parked"]:  # what can be done is said of the endpoint, once
        return [Text(f"{entry['code']}: {entry['next']}", style="dim")]
    return [Text(f"{entry['code']}: {entry['next']} (run {entry['run']}). {entry['hint']}", style="dim")]


def _place(entry: JSON) -> Text:
    words = {"group": entry["group"], "node": entry["node"], "VMID": entry["vmid"], "address": entry["address"]}
    return Text("  ".join(f"{word} {value}" for word, value in words.items() if value), style="dim")


def _ready(entry: JSON) -> JSON:
    return next(found for found in entry["conditions"] if found["type"] == "Ready")
