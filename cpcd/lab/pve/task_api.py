"""Task lists, status, log and stop, with the three places where their shapes differ.

In lists the exit text is called `status`; an active task's user is the whole token id; an unknown UPID is a 400 for
its status and a 200 for its log. Next: `tasks.py`, which runs them.
"""

import re
from typing import Any, Final

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed, check
from cpcd.lab.pve.call import Call, Reply
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import invalid, unknown_task
from cpcd.lab.pve.formats import formatted
from cpcd.lab.pve.tasks import Task

__all__ = ["cluster_tasks", "list_tasks", "stop_task", "task_log", "task_status"]

PAGE: Final = 50
RECENT: Final = 25
KINDS: Final = frozenset(("ok", "warning", "error", "unknown"))
UPID: Final = re.compile(
    r"UPID:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?:[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:"
    r"[^:\s]+:[^:\s]*:(?P<user>[^:\s]+):"
)


def _user(task: Task) -> dict[str, str]:
    user, found, token = task.user.partition("!")
    return {"user": user} | ({"tokenid": token} if found else {})


def _identity(task: Task) -> dict[str, Any]:
    return {
        "upid": task.upid,
        "node": task.node,
        "type": task.kind,
        "id": task.id,
        "pid": task.pid,
        "starttime": int(task.start),
    }


@source("API2/Tasks.pm check_task_user")
def _own(call: Call, user: str) -> bool:
    """Tell whether a task is the caller's: a token sees its own, a user also those of its tokens."""
    return call.token.id in {user, user.partition("!")[0]}


@recorded(727, 729, 730, 952, 953)
@source("API2/Tasks.pm read_task_status")
def _find(cluster: Cluster, call: Call, privilege: str = "Sys.Audit", *, log: bool = False) -> Task | None:
    """Return a task of this node; whose it is stands in its UPID, so that this is asked of one that is not there too.

    Only a log may be asked for that is not there.
    """
    parsed = UPID.fullmatch(call.params["upid"])
    if parsed is None:
        raise invalid({"upid": "unable to parse worker upid"})
    task = cluster.tasks.tasks.get(parsed[0])
    found = task if task and task.node == call.node else None
    if found is None and not log:
        raise unknown_task()
    if not _own(call, parsed["user"]):
        check(cluster, call.token, f"/nodes/{call.node}", privilege)
    return found


@recorded(284, 285, 712, 717, 727, 731, 783)
@schema("/nodes/{node}/tasks/{upid}/status")
def task_status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return a task's state; `exitstatus` is there only when it has stopped."""
    task = _find(cluster, call)
    assert task is not None, "only a log may be asked for that is not there"
    state = {"status": "running"} if task.running else {"status": "stopped", "exitstatus": task.exit}
    return _identity(task) | _user(task) | {"pstart": task.pstart} | state


@recorded(286, 322, 713, 728, 732)
@schema("/nodes/{node}/tasks/{upid}/log")
def task_log(cluster: Cluster, call: Call) -> Reply:
    """Return a page of a task's log, 50 lines by default; a task that nobody knows has one line that says so."""
    task = _find(cluster, call, log=True)
    unknown = ["unable to open file - No such file or directory"]
    lines = unknown if task is None else task.log or ["no content"]
    first = call.params.get("start", 0)
    page = lines[first : first + (call.params.get("limit", PAGE) or len(lines))]
    return Reply([{"n": first + n, "t": text} for n, text in enumerate(page, 1)], {"total": len(lines)})


@recorded(716, 719, 776)
@schema("/nodes/{node}/tasks/{upid}")
def stop_task(cluster: Cluster, call: Call) -> Reply:
    """Send SIGTERM to a worker and wait for its end; stopping a finished task is no error."""
    task = _find(cluster, call, "Sys.Modify")
    assert task is not None, "only a log may be asked for that is not there"
    return Reply(seconds=cluster.tasks.interrupt(task))


@recorded(714, 724, 725)
def _listed(task: Task) -> dict[str, Any]:
    entry = _identity(task) | {"pstart": task.pstart}
    if task.running:
        return entry | {"user": task.user, "status": "RUNNING", "saved": "0"}
    return entry | _user(task) | {"status": task.exit, "endtime": int(task.end)}


@recorded(714, 724, 725, 726, 910)
@schema("/nodes/{node}/tasks")
@source("API2/Tasks.pm node_tasks")
def list_tasks(cluster: Cluster, call: Call) -> Reply:
    """Return a node's tasks, newest first: finished ones by default, `source=active` or `all` for the others."""
    params, where = call.params, call.params.get("source", "archive")
    audited = allowed(cluster, call.token, f"/nodes/{call.node}", "Sys.Audit")
    found = [t for t in cluster.tasks.tasks.values() if t.node == call.node and (audited or _own(call, t.user))]
    kept = [t for t in found if (where == "all" or t.running == (where == "active")) and _matches(t, params)][::-1]
    kept.sort(key=lambda task: not task.running)
    start = params.get("start", 0)
    page = kept[start : start + params.get("limit", PAGE)]
    return Reply([_listed(task) for task in page], {"total": len(kept)})


def _matches(task: Task, params: Any) -> bool:
    wanted = params.get("userfilter", "").lower()
    user, began = task.user if task.running else task.user.partition("!")[0], int(task.start)
    return (
        wanted in user.lower()
        and (params.get("vmid") is None or task.id == str(params["vmid"]))
        and params.get("typefilter", task.kind) == task.kind
        and _kind(task) in _kinds(params)
        and params.get("since", began) <= began <= params.get("until", began)
    )


@source("API2/Tasks.pm node_tasks")
def _kinds(params: Any) -> frozenset[str]:
    """Return the kinds of outcome that are asked for; `errors` are all but the good, warnings included."""
    if params.get("errors"):
        return KINDS - {"ok"}
    return frozenset(formatted(params["statusfilter"].lower())) if "statusfilter" in params else KINDS


@source("UPID.pm normalize_status_type")
def _kind(task: Task) -> str:
    """Return the kind of a task's outcome; one that runs has none yet."""
    match task.exit:
        case None | "unexpected status":
            return "unknown"
        case "OK":
            return "ok"
        case text:
            return "warning" if re.fullmatch(r"WARNINGS: \d+", text) else "error"


@recorded(715, 909)
@schema("/cluster/tasks")
@source("API2/Cluster.pm tasks")
def cluster_tasks(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the recent tasks of all nodes; a running one has no `status`. A token sees none without Sys.Audit on `/`."""
    audited = allowed(cluster, call.token, "/", "Sys.Audit")
    entries = []
    for task in list(cluster.tasks.tasks.values())[::-1]:
        if not (audited or task.user.partition("!")[0] == call.token.id):
            continue
        end = {"saved": "0"} if task.running else {"saved": "1", "status": task.exit, "endtime": int(task.end)}
        line = _identity(task) | _user(task) | end
        entries.append(line if task.running else {key: value for key, value in line.items() if key != "pid"})
    return entries[:RECENT]
