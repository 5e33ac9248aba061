"""The story: eight acts. An act does something and waits for the world; `proofs.py` and `limits.py` judge what was seen.

START HERE. Nothing here decides whether a statement is true. Next: `stage.py` for the processes, `look.py` for the asking.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from cpcd.lab.demo import alert, limits, proofs, said
from cpcd.lab.demo.limits import Limits
from cpcd.lab.demo.look import Look
from cpcd.lab.demo.proofs import FOREIGN, LABEL, MEMORY, Proof
from cpcd.lab.demo.stage import Stage
from cpcd.status.reasons import STEPS

__all__ = ["ACTS", "Act", "Story", "StuckError"]

PATIENCE: Final = 3000.0  # lab seconds that an act may wait for the world
MASTERS: Final = 3
SILENCE: Final = 300.0  # lab seconds
UNDER_WAY: Final = 90.0  # lab seconds by which a pass that was under way when silence fell has met its time-outs
ALERT: Final = "CpcdProxmoxUnreachable"
FLANNEL: Final = "/apis/apps/v1/namespaces/kube-flannel/daemonsets/kube-flannel-ds"


@dataclass
class Story:
    """The state of the play; `say` gets one line at a time for people."""

    stage: Stage
    look: Look
    say: Callable[[str], None]
    proofs: list[Proof] = field(default_factory=list)
    built_in: float = 0.0
    built_at: float = 0.0
    path: float = 0.0  # lab seconds of the physical critical path
    calls: Counter[str] = field(default_factory=Counter)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    columns: int = 120

    def prove(self, *proofs: Proof) -> None:
        """Note statements and whether they are true."""
        for proof in proofs:
            self.proofs.append(proof)
            detail = f" ({proof.detail})" if proof.detail else ""
            self.say(f"{'✔' if proof.holds else '✘'} {proof.statement}{detail}")

    async def until(
        self, what: str, holds: Callable[[], Awaitable[bool]], *, limit: float = PATIENCE, every: float = 0.15
    ) -> float:
        """Wait until something is true; return the lab seconds that it took; a limit reached is a false statement.

        `limit` is in lab seconds, `every` in real ones.
        """
        began = await self.time()
        while not await holds():
            taken = await self.time() - began
            if taken > limit:
                self.prove(Proof(f"{what} within {limit:.0f} s", holds=False))
                raise StuckError(what)
            await asyncio.sleep(every)
        return await self.time() - began

    async def time(self) -> float:
        """Return the lab's time."""
        return float((await self.look.world())["time"])

    async def settled(self) -> bool:
        """Whether every object is Ready, nothing is on its way and the newest commit is in force."""
        status = await self.look.status()
        objects = status.get("objects", [])
        if not any(one["kind"] == "machine" for one in objects) or any(one["ready"] != "True" for one in objects):
            return False
        spec = status["spec"]
        current = spec["valid"] and spec["generation"] == self.stage.tree.head()
        return current and not status["operations"] and await self._no_steps()

    async def _no_steps(self) -> bool:
        plan = await self.look.daemon("/plan")
        return plan is not None and not plan["steps"]


class StuckError(AssertionError):
    """The world did not come to where the story goes on."""


async def build(story: Story) -> None:
    """1. From an empty Proxmox to a cluster."""
    look = story.look
    node = story.stage.about["nodes"][0]
    await look.do("add_template", vmid=FOREIGN, node=node, name="theirs", tags="not-ours")  # in our own range
    story.theirs = proofs.foreign(await look.world())
    await story.stage.start()
    story.built_in = await story.until("the cluster is built", story.settled)
    story.built_at = await story.time()
    story.prove(*proofs.built(await look.world(), masters=MASTERS, workers=2))
    hello = await look.kubernetes("/api/v1/namespaces/hello/configmaps/hello")
    story.prove(*proofs.served(await look.kubernetes(FLANNEL), hello, nodes=5))


async def edit(story: Story) -> None:
    """2. An edit is committed: two more workers, more memory for all, a node label."""
    before = await story.look.world()
    await story.look.tell("/pause", {"cluster": "demo"})
    generation = (await story.look.status())["spec"]["generation"]
    label = f"metadata: {{labels: {{{LABEL[0]}: {LABEL[1]}}}}}"
    story.stage.tree.edit(
        "Two more workers, more memory, a label",
        (r"replicas: 2", f"replicas: 4\n        {label}"),
        (r"memoryMiB: \d+", f"memoryMiB: {MEMORY}"),
    )
    await story.until("the commit is read", lambda: _generation_changed(story, generation))
    plan = (await story.look.daemon("/plan"))["steps"]
    for line in said.printed(plan):
        story.say(line)
    since = len(await _steps(story))
    await story.look.tell("/resume", {"cluster": "demo"})
    await story.until("the edit is carried out", story.settled)
    story.prove(*proofs.edited(before, await story.look.world(), workers=4))
    story.prove(said.followed(plan, (await _steps(story))[since:], story.look.failed()))


async def crashes(story: Story) -> None:
    """3. kill -9 while a clone runs, and again while a control plane joins."""
    story.stage.tree.edit("One more worker", (r"replicas: 4", "replicas: 5"))
    await _kill_during(story, "clone")
    await story.until("the fifth worker is there", story.settled)
    lost = proofs.group(await story.look.world(), "cp")[-1]
    await story.look.do("delete_vm", vmid=lost["vmid"])
    story.say(f"{lost['name']} is deleted, so that another one joins")
    await _kill_during(story, "join")
    await story.until("the control plane is whole again", story.settled)
    story.prove(*proofs.whole(await story.look.world(), story.look.ledger(), masters=MASTERS, wanted=8))


async def repairs(story: Story) -> None:
    """4. A worker's VM is deleted and another is stopped behind cpcd's back."""
    before = await story.look.world()
    gone, off, *_ = proofs.group(before, "general")
    await story.look.do("delete_vm", vmid=gone["vmid"])
    await story.look.do("stop_vm", vmid=off["vmid"])
    await story.until("the daemon has noticed", lambda: _noticed(story))
    await story.until("both are repaired", story.settled)
    story.prove(*proofs.repaired(before, await story.look.world(), gone=gone, off=off))


async def template(story: Story) -> None:
    """5. The template changes: every machine is replaced within the limits."""
    look, before = story.look, await story.look.world()
    asked: list[bool] = []
    new = {9010 + number: node for number, node in enumerate(story.stage.about["nodes"])}
    for vmid, node in new.items():
        await look.do("add_template", vmid=vmid, node=node, name="ubuntu-v2", tags="cpcd-ubuntu-v2")
    selector = "machineDefaults:\n    templateSelector: {matchTags: [cpcd-ubuntu-v2]}"
    story.stage.tree.edit("Another template", (r"machineDefaults:", selector))
    watch = asyncio.create_task(_ask_on(story, asked), name="watch")
    try:
        await story.until("the rollout has begun", lambda: _begun(story, before))
        await story.until("every machine is replaced", story.settled, limit=3 * PATIENCE)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    since, after = before["time"], await look.world()
    wall = story.stage.about["epoch"] + since
    story.prove(*proofs.replaced(before, after, since=wall, templates=[str(vmid) for vmid in new]))
    moments = await look.history(since)
    story.prove(limits.within(moments, since, Limits("workers", "general", 5, surge=2)))
    story.prove(limits.within(moments, since, Limits("control planes", "cp", MASTERS, surge=1)))
    story.prove(limits.kept_quorum(moments, since, least=MASTERS))
    story.prove(limits.answered(moments, since, asked))


async def broken(story: Story) -> None:
    """6. A broken file is committed."""
    good, before = story.stage.tree.spec.read_text(encoding="utf-8"), await story.look.world()
    force = (await story.look.status())["spec"]["generation"]
    story.stage.tree.commit("A mistake", good.replace(f"memoryMiB: {MEMORY}", f"memoryMib: {MEMORY}"))
    await story.until("the mistake is shown", lambda: _invalid(story))
    await story.look.sleep(30)
    shown = (await story.look.status())["spec"]
    story.prove(said.told(shown["mistakes"]), proofs.kept(before, await story.look.world(), force, shown))
    story.stage.tree.commit("Mended", good)
    await story.until("the file is valid again", story.settled)
    now = (await story.look.status())["spec"]["generation"]
    story.prove(Proof("mending the file is enough", now == story.stage.tree.head() != force))


async def silence(story: Story) -> None:
    """7. Proxmox is silent for five minutes."""
    look, scrapes = story.look, [(await story.time(), await story.look.metrics())]
    began = await look.do("silence", on=True)
    await story.until("the cluster is Degraded", lambda: _degraded(story, "True"), limit=60, every=0.02)
    story.prove(said.noticed(await _conditions(story), await story.time() - began))
    before: Counter[str] = Counter()
    while (now := await story.time()) - began < SILENCE:
        scrapes.append((now, await look.metrics()))
        if now - began < UNDER_WAY:
            before = Counter((await look.calls())["unanswered"])
        await look.sleep(5)
    asked = Counter((await look.calls())["unanswered"]) - before
    story.prove(alert.fires(_rule(ALERT), scrapes), said.parked(asked))
    back = await look.do("silence", on=False)
    await story.until("the cluster is not Degraded", lambda: _degraded(story, "False"), limit=120)
    await story.until("all is well again", story.settled)
    story.prove(*said.recovered(await _conditions(story), await story.time() - back))


async def ending(story: Story) -> None:
    """8. The end."""
    code, shown = await story.stage.run("status", columns=story.columns)
    for line in shown.splitlines():
        story.say(line.rstrip())
    story.prove(said.shown(code, shown))
    moments = await story.look.history(story.built_at)
    story.prove(limits.kept_quorum(moments, story.built_at, least=2, when=" in the whole story"))
    story.prove(proofs.untouched(story.theirs, await story.look.world()))
    story.calls = sum(map(Counter, (await story.look.calls()).values()), Counter())
    story.path = await story.look.critical_path(masters=MASTERS, workers=2, gib=10)


@dataclass(frozen=True, slots=True)
class Act:
    """One act: its title for people and the function that plays it."""

    title: str
    play: Callable[[Story], Awaitable[None]]


ACTS: Final[Sequence[Act]] = tuple(
    Act((play.__doc__ or "").strip().rstrip("."), play)
    for play in (build, edit, crashes, repairs, template, broken, silence, ending)
)


async def _kill_during(story: Story, verb: str) -> None:
    await story.until(f"a {verb} runs", lambda: _runs(story, verb), every=0.02)
    await story.stage.kill()
    story.prove(proofs.caught(await story.look.world(), verb))
    await story.stage.start()


async def _runs(story: Story, verb: str) -> bool:
    return proofs.caught(await story.look.world(), verb).holds


async def _steps(story: Story) -> list[dict[str, Any]]:
    """Return the steps of the history, oldest first."""
    events = await story.look.daemon("/events", limit="10000") or []
    return [event for event in reversed(events) if event["reason"] in STEPS]


async def _generation_changed(story: Story, generation: str) -> bool:
    status = await story.look.status()
    return bool(status) and status["spec"]["generation"] != generation


async def _noticed(story: Story) -> bool:
    return not await story.settled()


async def _begun(story: Story, before: proofs.World) -> bool:
    now = await story.look.world()
    return {vm["vmid"] for vm in proofs.machines(now)} != {vm["vmid"] for vm in proofs.machines(before)}


async def _invalid(story: Story) -> bool:
    status = await story.look.status()
    return bool(status) and not status["spec"]["valid"]


async def _conditions(story: Story) -> dict[str, str]:
    clusters = (await story.look.status()).get("clusters", [])
    return {each["type"]: each["status"] for cluster in clusters for each in cluster["conditions"]}


async def _degraded(story: Story, status: str) -> bool:
    return (await _conditions(story)).get("Degraded") == status


def _rule(name: str) -> dict[str, Any]:
    text = (Path(__file__).parents[2] / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    rules = (rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"])
    return next(rule for rule in rules if rule.get("alert") == name)


async def _ask_on(story: Story, asked: list[bool]) -> None:
    """Ask the API through the written kubeconfig, each question until it is answered."""
    while True:
        asked.append(False)
        while not asked[-1]:
            try:
                asked[-1] = bool((await story.look.kubernetes("/api/v1/nodes"))["items"])
            except (aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
