"""Disruption budgets: what one allows now, and whether a pod may be evicted.

Computed from the pods at each question, so that it is never stale. `store.py` asks; `controllers` publish the status.
"""

import math
from typing import Any

from cpcd.lab.kube.errors import ApiError, over_budget, two_budgets
from cpcd.lab.kube.objects import Object, Objects
from cpcd.lab.kube.selectors import by_selector
from cpcd.lab.provenance import guess, recorded, source

__all__ = ["allowance", "is_ready", "refusal"]


@source("disruption controller: countHealthyPods", "podutil.IsPodReady")
def is_ready(obj: Object) -> bool:
    """Tell whether a Pod's or Node's Ready condition is True and it is not being deleted."""
    conditions = obj.get("status", {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in obj["metadata"]


def _scaled(value: Any, total: int) -> int:
    return math.ceil(total * int(value[:-1]) / 100) if isinstance(value, str) else int(value)


@source("disruption controller: getExpectedScale")
@guess("pods of no set count for themselves; the real controller leaves them out")
def _expected(pods: list[Object], objects: Objects) -> int:
    """Return how many pods there should be: the replicas of the sets that own them."""
    owners = {ref["uid"] for pod in pods for ref in pod["metadata"].get("ownerReferences", ())}
    sets = [each for each in objects.all("ReplicaSet") if each["metadata"]["uid"] in owners]
    return sum(each["spec"].get("replicas", 1) for each in sets) or len(pods)


@source("KEP-85: disruption controller")
def allowance(budget: Object, objects: Objects) -> dict[str, int]:
    """Return a budget's status: expected, desired and healthy pods, and how many disruptions that leaves."""
    spec, space = budget["spec"], budget["metadata"]["namespace"]
    pods = [pod for pod in objects.all("Pod", space) if by_selector(pod, spec.get("selector"))]
    expected, healthy = _expected(pods, objects), sum(map(is_ready, pods))
    if "maxUnavailable" in spec:
        desired = max(0, expected - _scaled(spec["maxUnavailable"], expected))
    else:
        desired = _scaled(spec.get("minAvailable", 1), expected)
    left = max(0, healthy - desired)
    return {"expectedPods": expected, "desiredHealthy": desired, "currentHealthy": healthy, "disruptionsAllowed": left}


@recorded(443)
def refusal(pod: Object, objects: Objects) -> ApiError | None:
    """Return what refuses an eviction of this pod now, None when it may go: 429, or 500 with two budgets for one pod.

    Pods that do not run may go; ready ones only while a disruption is left; others if the budget is kept.
    """
    if pod.get("status", {}).get("phase") != "Running" or "deletionTimestamp" in pod["metadata"]:
        return None
    budgets = objects.all("PodDisruptionBudget", pod["metadata"]["namespace"])
    mine = [budget for budget in budgets if by_selector(pod, budget["spec"].get("selector"))]
    if len(mine) > 1:
        return two_budgets()
    for budget in mine:
        now = allowance(budget, objects)
        if now["currentHealthy"] - is_ready(pod) < now["desiredHealthy"]:
            return over_budget(budget["metadata"]["name"], now["desiredHealthy"], now["currentHealthy"])
    return None
