"""What `cpcd status` looks like: from the daemon's document to something that rich can print, in 80 columns.

Pure: no socket, no clock; ages come from the document's own time.
"""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cpcd.cli.output import age, duration, table

__all__ = ["everything", "history", "one", "silent"]

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
    """Return the whole status: the sentence, each cluster with its bars and news, objects, operations."""
    parts: list[RenderableType] = [Text(document["sentence"], style="bold"), Text()]
    parts += [Text.assemble(("✗ ", "red"), mistake) for mistake in document["spec"]["mistakes"][1:5]]
    for cluster in document["clusters"]:
        parts += [_cluster(cluster), Text()]
    parts.append(_objects(document))
    if document["operations"]:
        parts += [Text(), _operations(document)]
    return Group(*parts)


def one(shown: JSON) -> RenderableType:
    """Return one object: what it is, its conditions, its last events."""
    entry, now = shown["object"], shown["at"]
    head = Text.assemble(_mark(entry), (f" {entry['cluster']}/{entry['kind']}/{entry['name']}", "bold"))
    conditions = table("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE")
    for found in entry["conditions"]:
        since = age(found["lastTransitionTime"], now)
        conditions.add_row(found["type"], found["status"], since, found["reason"], found["message"])
    told = Padding(Group(Text(entry["sentence"]), *_advice(entry), _place(entry)), (0, 0, 0, 2))
    parts: list[RenderableType] = [head, told, Text()]
    return Group(*parts, conditions, Text(), history(shown["events"], now=now))


def history(events: list[JSON], *, now: str = "", names: dict[str, str] | None = None) -> RenderableType:
    """Return events as a table, the oldest first; `now` gives ages instead of times.

    `names` (by key) adds the column of objects; one that is no more has its key there.
    """
    if not events:
        return Text("no events yet", style="dim")
    made = table("WHEN", *(("OBJECT",) if names is not None else ()), "REASON", "RUN", "MESSAGE")
    for event in reversed(events):
        when = age(event["at"], now) if now else event["at"][5:19].replace("T", " ")
        style = "yellow" if event["severity"] == "Warning" else ""
        known = (names.get(event["key"], event["key"]),) if names is not None else ()
        made.add_row(when, *known, Text(event["reason"], style=style), event["run"], event["message"])
    return made


def silent(sentence: str) -> RenderableType:
    """Return what is shown while no daemon answers."""
    return Text(sentence, style="red")


def _cluster(cluster: JSON) -> RenderableType:
    conditions = {found["type"]: found for found in cluster["conditions"]}
    ready = conditions["Ready"]["status"] == "True"
    mark = _MARKS["ready"] if ready else _MARKS["stuck" if conditions["Degraded"]["status"] == "True" else "moving"]
    head = Text.assemble(mark, (f" {cluster['name']}", "bold"), f"  {cluster['version']}  {cluster['endpoint']}")
    news = [f for f in cluster["conditions"] if _is_news(f)]
    lines = [Text.assemble((f["type"], "yellow"), f"  {f['message'] or f['reason']}") for f in news]
    return Group(head, _bars(cluster["counters"]), *(Padding(line, (0, 0, 0, 2)) for line in lines))


def _is_news(condition: JSON) -> bool:
    kind, status = condition["type"], condition["status"]
    told = kind == "SpecValid" and condition["reason"] == "Uncommitted"  # a mistake is in the first line already
    return told or (kind in _GOOD and status != "True") or (kind in _NEWS and status == "True")


def _bars(counters: JSON) -> RenderableType:
    wanted = max(counters["desiredReplicas"], 1)
    grid = Table.grid(padding=(0, 1))
    row: list[RenderableType] = [Text(" ")]
    for word, name in (("ready", "readyReplicas"), ("up to date", "upToDateReplicas")):
        bar = ProgressBar(total=wanted, completed=min(counters[name], wanted), width=20, finished_style="green")
        row += [bar, Text(f"{counters[name]}/{counters['desiredReplicas']} {word}  ")]
    grid.add_row(*row)
    return grid


def _objects(document: JSON) -> RenderableType:
    made = table("", "OBJECT", "SINCE", "WHAT")
    several = len({entry["cluster"] for entry in document["objects"]}) > 1
    for entry in document["objects"]:
        name = f"{entry['kind']}/{entry['name']}"
        since = age(_ready(entry)["lastTransitionTime"], document["at"])
        where = f"{entry['cluster']}/" if several else ""
        made.add_row(_mark(entry), where + name, since, Group(Text(entry["sentence"]), *_advice(entry)))
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
    again = f" Again at {entry['nextLook'][11:19]} UTC." if entry["nextLook"] else ""
    count = f" ({entry['failures']} in a row)" if entry["failures"] > 1 else ""
    return [Text(f"{entry['code']}{count}: {entry['hint']}{again}", style="dim")]


def _place(entry: JSON) -> Text:
    words = {"group": entry["group"], "node": entry["node"], "VMID": entry["vmid"], "address": entry["address"]}
    return Text("  ".join(f"{word} {value}" for word, value in words.items() if value), style="dim")


def _ready(entry: JSON) -> JSON:
    return next(found for found in entry["conditions"] if found["type"] == "Ready")
