"""A worker is replaced by one of another template, in a cluster as it was built or as others left it."""

import time

import pytest

from tests.real.machines.build import lasted, played, trusted
from tests.real.machines.hand import until
from tests.real.machines.pace import Span
from tests.real.machines.report import Figures, Report
from tests.real.machines.stage import TEMPLATES, Stage, is_ready
from tests.real.machines.upkeep import CP, FIRST, TAINT, budget, spread, tainted, timed, workload

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_worker_is_replaced_when_its_template_is_another_one(stage: Stage, report: Report) -> None:
    """Its successor is Ready before it is drained; then the Node goes, and the machine."""
    before = await stage.ready(CP, FIRST)
    await occupied(stage)
    with timed(report, "a worker of another template is in the place of the first, and has its pods"):
        successor, told = await change(stage)
        await until(lambda: spread(stage, {successor}), f"both pods run on {successor}")
    report.figures(told)
    after = await stage.ready(CP, successor)
    history = await stage.history()
    cloned = max(at for at, each in enumerate(history) if (each["name"], each["reason"]) == (successor, "Clone"))
    did = [(each["name"], each["reason"]) for each in history[cloned:]]
    order = [
        did.index(step) for step in ((successor, "Ready"), (FIRST, "Drain"), (FIRST, "DeleteNode"), (FIRST, "Destroy"))
    ]

    assert "template 9001 " in history[cloned]["message"]
    assert order == sorted(order)
    assert {CP, successor} == set(stage.vms())
    assert before[CP]["metadata"]["uid"] == after[CP]["metadata"]["uid"]
    assert tainted(after[successor])


async def occupied(stage: Stage) -> None:
    """Have two pods run on the one worker, with a budget that lets both go."""
    async with stage.kube() as kube:
        for each in (budget(0), *workload()[1:]):
            await kube.apply(each)
    await until(lambda: spread(stage, {FIRST}), "both pods run on the one worker")


async def change(stage: Stage) -> tuple[str, Figures]:
    """Give the worker another template, and wait until the first one is gone; return who is there, and when was done what."""
    began = time.time()
    with stage.edit() as spec:
        (workers,) = spec["workers"]["machineDeployments"]
        # The taint is `upkeep`'s: here as well, so that the successor has one when this part is played alone.
        workers |= {"machine": {"template": TEMPLATES[1]}, "taints": [TAINT]}
    (successor,) = await until(lambda: replaced(stage), f"another machine is there, and {FIRST} is no more")
    whole = Span(began, time.time())
    history = await stage.history()
    return successor, {
        "clone → SSH": [trusted(history, successor)],
        "prepare": [played(stage)[-1]],
        "join": [lasted(history, successor, "Join")],
        "replace": [whole],
    }


async def replaced(stage: Stage) -> set[str]:
    """Return who is there in the place of the first worker, once that is gone.

    The machine goes last, so that until then nobody asks an API that has enough to do, as nobody does by hand.
    """
    others = stage.vms().keys() - {CP}
    if FIRST in others:
        return set()
    nodes = await stage.nodes()
    return {name for name in others if FIRST not in nodes and name in nodes and is_ready(nodes[name])}
