"""Answers that show more than one thing that chance decides: late statistics, and lists of tasks.

`/cluster/resources` shows each VM as it was up to 12 s ago (pvestatd's 10 s, a proxy worker's 2 s): which moment is the
host's luck, so any is accepted, but one that the lab has been in. Next: `matching.py`.
"""

from collections import deque
from itertools import zip_longest
from typing import Any

from cpcd.lab.pve import Pve, broadcast
from tests.contract.replaying.matching import HOST, Bindings
from tests.contract.replaying.recording import Exchange

__all__ = ["LateRows", "only_replayed", "tasks_listed"]

LATE = 13.0
PAGE = 50  # tasks of a node, unless the call says how many (schema: /nodes/{node}/tasks)
RECENT = 25  # tasks of the cluster (recorded 715)


class LateRows:
    """The last 13 s of what each VM's statistics were."""

    def __init__(self, pve: Pve) -> None:
        self._pve = pve
        self._seen: deque[tuple[float, dict[int, dict[str, Any]]]] = deque()

    def note(self, now: float) -> None:
        """Remember how the VMs look now."""
        processors = {name: host.node.cpus for name, host in self._pve.cluster.hosts.items()}
        vms = {vmid: broadcast(vm, now, processors.get(vm.node, 1)) for vmid, vm in self._pve.vms.items()}
        self._seen.append((now, vms))
        while len(self._seen) > 1 and self._seen[0][0] < now - LATE:
            self._seen.popleft()

    def chosen(self, recorded: Any, lab: Any) -> Any:
        """Return the lab's body with the statistics of each VM from the moment that the recorded one shows."""
        match recorded, lab:
            case {"type": "qemu", "id": _, "vmid": int() as vmid}, {"type": "qemu", "id": _}:
                return self._row(recorded, lab, vmid)
            case dict(), dict():
                return {key: self.chosen(recorded.get(key), value) for key, value in lab.items()}
            case list(), list():
                rows = {row["id"]: row for row in recorded if isinstance(row, dict) and "id" in row}
                pairs = zip_longest(recorded[: len(lab)], lab)
                return [self.chosen(rows.get(_id(each), mine), each) for mine, each in pairs]
            case _:
                return lab

    def _row(self, recorded: dict[str, Any], lab: dict[str, Any], vmid: int) -> dict[str, Any]:
        moments = [rows.get(vmid) for _, rows in self._seen]
        known = {key for row in moments if row for key in row}
        own = {key: value for key, value in lab.items() if key not in known} | {"status": "unknown"}
        candidates = [lab, *(own | row if row else own for row in reversed(moments))]
        wanted = _steady(recorded)
        return next((each for each in candidates if _steady(each) == wanted), lab)


def _steady(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if key in HOST else value for key, value in row.items()}


def _id(row: Any) -> Any:
    return row.get("id") if isinstance(row, dict) else None


def tasks_listed(exchange: Exchange) -> bool:
    """Tell whether an answer is a list of tasks."""
    return exchange.method == "GET" and exchange.path.endswith("/tasks") and exchange.status == 200


def only_replayed(exchange: Exchange, lab: Any, bindings: Bindings) -> tuple[Any, Any]:
    """Return both lists without tasks of calls that were not replayed; one too many of the lab's is a mismatch.

    A page's length and the sum count such tasks too: of the sum only that there is one is compared, and where the
    recorded page was full, or not the first, the lab's is cut: what follows there was pushed off the recorded one.
    """
    recorded = exchange.body
    mine = [each for each in recorded["data"] if bindings.to_lab(each["upid"]) != each["upid"] or _own(each)]
    return _page(mine, recorded), _page(lab["data"][: len(mine)] if _pushed_off(exchange) else lab["data"], lab)


def _pushed_off(exchange: Exchange) -> bool:
    """Tell whether other tasks can have taken the place of some: the page is full or begins behind others."""
    most = RECENT if exchange.path.endswith("/cluster/tasks") else int(exchange.params.get("limit", PAGE))
    return len(exchange.body["data"]) >= most or int(exchange.params.get("start", 0)) > 0


def _page(tasks: list[Any], body: Any) -> dict[str, Any]:
    return {"data": tasks} | ({"total": "some"} if "total" in body else {})


def _own(task: dict[str, Any]) -> bool:
    """Tell whether Proxmox began it itself, so that no answer has told its UPID."""
    return bool(task["user"] == "root@pam" and task["type"] == "qmstart")
