"""Task lists, status, log and stop, with the three places where their shapes differ.

In lists the exit text is called `status`; an active task's user is the whole token id; an unknown UPID is a 400 for
its status and a 200 for its log. Next: `tasks.py`, which runs them.
"""

from typing import Any

from cpcd.lab.provenance import recorded, schema
from cpcd.lab.pve.auth import allowed, check
from cpcd.lab.pve.call import Call, Reply
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import unknown_task
from cpcd.lab.pve.tasks import Task

__all__ = ["cluster_tasks", "list_tasks", "stop_task", "task_log", "task_status"]

PAGE = 50
RECENT = 25


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


def _own(call: Call, task: Task) -> bool:
    return task.user in {call.user, call.token.id}


@recorded(952, 953)
def _find(cluster: Cluster, call: Call, privilege: str = "Sys.Audit") -> Task | None:
    task = cluster.tasks.tasks.get(call.params["upid"])
    if task is None or task.node != call.node:
        return None
    if not _own(call, task):
        check(cluster, call.token, f"/nodes/{call.node}", privilege)
    return task


@recorded(284, 285, 712, 717, 727, 731, 783)
@schema("/nodes/{node}/tasks/{upid}/status")
def task_status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Return a task's state; `exitstatus` is there only when it has stopped."""
    task = _find(cluster, call)
    if task is None:
        raise unknown_task()
    state = {"status": "running"} if task.running else {"status": "stopped", "exitstatus": task.exit}
    return _identity(task) | _user(task) | {"pstart": task.pstart} | state


@recorded(286, 322, 713, 728, 732)
@schema("/nodes/{node}/tasks/{upid}/log")
def task_log(cluster: Cluster, call: Call) -> Reply:
    """Return a page of a task's log, 50 lines by default; a task that nobody knows has one line that says so."""
    task = _find(cluster, call)
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
    if task is None:
        raise unknown_task()
    return Reply(seconds=cluster.tasks.interrupt(task))


@recorded(714, 724, 725)
def _listed(task: Task) -> dict[str, Any]:
    entry = _identity(task) | {"pstart": task.pstart}
    if task.running:
        return entry | {"user": task.user, "status": "RUNNING", "saved": "0"}
    return entry | _user(task) | {"status": task.exit, "endtime": int(task.end)}


@recorded(714, 724, 725, 726, 910)
@schema("/nodes/{node}/tasks")
def list_tasks(cluster: Cluster, call: Call) -> Reply:
    """Return a node's tasks, newest first: finished ones by default, `source=active` or `all` for the others."""
    params, where = call.params, call.params.get("source", "archive")
    audited = allowed(cluster, call.token, f"/nodes/{call.node}", "Sys.Audit")
    found = [t for t in cluster.tasks.tasks.values() if t.node == call.node and (audited or _own(call, t))]
    kept = [t for t in found if where == "all" or t.running == (where == "active")]
    kept = [t for t in kept if _matches(t, params)][::-1]
    start = params.get("start", 0)
    page = kept[start : start + (params.get("limit", PAGE) or len(kept))]
    return Reply([_listed(task) for task in page], {"total": len(kept)})


def _matches(task: Task, params: Any) -> bool:
    return (
        (params.get("vmid") is None or task.id == str(params["vmid"]))
        and params.get("typefilter", task.kind) == task.kind
        and params.get("userfilter", "") in task.user
        and not (params.get("errors") and task.exit in {"OK", None})
        and params.get("since", 0) <= task.start <= params.get("until", task.start)
    )


@recorded(715, 909)
@schema("/cluster/tasks")
def cluster_tasks(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Return the recent tasks of all nodes; a running one has no `status`."""
    entries = []
    for task in list(cluster.tasks.tasks.values())[::-1]:
        if not (_own(call, task) or allowed(cluster, call.token, f"/nodes/{task.node}", "Sys.Audit")):
            continue
        end = {"saved": "0"} if task.running else {"saved": "1", "status": task.exit, "endtime": int(task.end)}
        line = _identity(task) | _user(task) | end
        entries.append(line if task.running else {key: value for key, value in line.items() if key != "pid"})
    return entries[:RECENT]
