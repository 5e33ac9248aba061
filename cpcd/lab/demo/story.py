"""The story: eight acts, each with the statements that it proves; every statement is asked of the world, not assumed."""

import asyncio
import base64
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from cpcd.lab.demo.look import Look, metric
from cpcd.lab.demo.stage import Stage
from cpcd.model.plan import Action
from cpcd.plan import effects as _effects  # noqa: F401 - its actions are subclasses that are looked up
from cpcd.reconcilers import RECONCILERS as _RECONCILERS  # noqa: F401 - same

__all__ = ["ACTS", "Act", "Proof", "Story", "StuckError"]

PATIENCE: Final = 3000.0  # lab seconds that an act may wait for the world
FOREIGN: Final = 10_002  # a VMID of our range that somebody else has
FAILOVER: Final = 30.0  # lab seconds: kube-vip's lease of 15 s, its renewal and a request's own time
ALERT: Final = "CpcdProxmoxUnreachable"


@dataclass(frozen=True, slots=True)
class Proof:
    """One statement and whether it was true; `detail` is what was seen."""

    statement: str
    holds: bool
    detail: str = ""


@dataclass
class Story:
    """The state of the play; `say` gets one line at a time for people."""

    stage: Stage
    look: Look
    say: Callable[[str], None]
    proofs: list[Proof] = field(default_factory=list)
    built_in: float = 0.0
    asked: int = 0
    gap: float = 0.0
    theirs: str = ""
    last_answer: float = 0.0
    lowest: int = 99

    def prove(self, statement: str, holds: bool, detail: object = "") -> None:
        """Note a statement and whether it is true."""
        self.proofs.append(Proof(statement, holds, str(detail)))
        self.say(f"{'✔' if holds else '✘'} {statement}{f' ({detail})' if detail != '' else ''}")

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], *, limit: float = PATIENCE) -> float:
        """Wait until something is true; return the lab seconds that it took; a limit reached is a false statement."""
        began = await self.time()
        while not await holds():
            taken = await self.time() - began
            if taken > limit:
                self.prove(f"{what} within {limit:.0f} s", holds=False)
                raise StuckError(what)
            await asyncio.sleep(0.15)
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
        current = spec["valid"] and spec["generation"] == self.stage.head()
        return current and not status["operations"] and await self._no_steps()

    async def _no_steps(self) -> bool:
        plan = await self.look.daemon("/plan")
        return plan is not None and not plan["steps"]


class StuckError(AssertionError):
    """The world did not come to where the story goes on."""


async def build(story: Story) -> None:
    """1. From an empty Proxmox to a cluster."""
    node = story.stage.about["nodes"][0]
    await story.look.do("add_template", vmid=FOREIGN, node=node, name="theirs", tags="not-ours")  # in our own range
    story.theirs = await _foreign(story)
    await story.stage.start()
    story.built_in = await story.until("the cluster is built", story.settled)
    world, machines = await story.look.world(), await story.look.machines()
    cluster = world["clusters"][0]
    voters = [member for member in cluster["members"] if not member["learner"] and member["up"]]
    story.prove("5 machines run", len(machines) == 5 and all(m["status"] == "running" for m in machines.values()))
    story.prove("5 nodes are Ready", sum(node["ready"] for node in cluster["nodes"]) == 5)
    flannel = await api(story, "/apis/apps/v1/namespaces/kube-flannel/daemonsets/kube-flannel-ds")
    story.prove("flannel, which the file does not name, runs on all of them", flannel["status"]["numberReady"] == 5)
    story.prove("etcd has 3 healthy voters", len(voters) == 3)
    zones = {m["node"] for name, m in machines.items() if "-cp-" in name}
    story.prove("control planes are in 3 failure domains", len(zones) == 3, ", ".join(sorted(zones)))
    found = await api(story, "/api/v1/namespaces/hello/configmaps/hello")
    story.prove("the kubeconfig works and the addon is applied", found.get("kind") == "ConfigMap")


async def edit(story: Story) -> None:
    """2. An edit is committed: two more workers, more memory for all, a node label."""
    before = await story.look.machines()
    await story.look.tell("/pause", {"cluster": "demo"})
    generation = (await story.look.status())["spec"]["generation"]
    story.stage.edit(
        "Two more workers, more memory, a label",
        (r"replicas: 2", "replicas: 4\n        metadata: {labels: {tier: gold}}"),
        (r"memoryMiB: \d+", "memoryMiB: 6144"),
    )
    await story.until("the commit is read", lambda: _generation_changed(story, generation))
    plan = (await story.look.daemon("/plan"))["steps"]
    story.say(f"plan: {len(plan)} steps; " + "; ".join(dict.fromkeys(step["sentence"] for step in plan[:6])) + " …")
    since = len(await _applied(story))
    await story.look.tell("/resume", {"cluster": "demo"})
    await story.until("the edit is carried out", story.settled)
    after = await story.look.machines()
    kept = {name for name in before if after.get(name, {}).get("smbios1") == before[name]["smbios1"]}
    story.prove("no machine was replaced", kept == set(before), f"{len(kept)} of {len(before)} kept")
    story.prove("memory is 6144 MiB everywhere", all(str(m["memory"]) == "6144" for m in after.values()))
    story.prove("there are 4 workers", sum("general" in name for name in after) == 4)
    printed, applied = _by_key(plan), _by_key((await _applied(story))[since:])
    odd = [key for key in {*printed, *applied} if printed.get(key) != applied.get(key)]
    story.prove(
        "the steps applied are the steps printed, in the order of each object", not odd, _odd(odd, printed, applied)
    )


async def crashes(story: Story) -> None:
    """3. kill -9 while a clone runs, and again while a control plane joins."""
    story.stage.edit("One more worker", (r"replicas: 4", "replicas: 5"))
    await story.until("a clone runs", lambda: _running(story, "clone"))
    await story.stage.kill()
    story.say("killed the daemon while a clone runs")
    await story.stage.start()
    await story.until("the fifth worker is there", story.settled)
    lost = await _victim(story, "-cp-")
    await story.look.do("delete_vm", vmid=lost["vmid"])
    await story.until("its replacement joins", lambda: _running(story, "join"))
    await story.stage.kill()
    story.say(f"deleted {lost['name']} and killed the daemon while its replacement joins")
    await story.stage.start()
    await story.until("the control plane is whole again", story.settled)
    machines = await story.look.machines()
    uids = [str(m["description"]).split()[3] for m in machines.values()]
    story.prove("no machine twice, none forgotten", len(set(uids)) == len(uids) == 8, f"{len(uids)} VMs")
    world = await story.look.world()
    voters = [m for m in world["clusters"][0]["members"] if not m["learner"] and m["up"]]
    story.prove("etcd has exactly 3 members, all healthy", len(voters) == len(world["clusters"][0]["members"]) == 3)


async def repairs(story: Story) -> None:
    """4. A worker's VM is deleted and another is stopped behind cpcd's back."""
    machines = await story.look.machines()
    workers = sorted((m for name, m in machines.items() if "general" in name), key=lambda m: m["name"])
    gone, off = workers[0], workers[1]
    await story.look.do("delete_vm", vmid=gone["vmid"])
    await story.look.do("stop_vm", vmid=off["vmid"])
    await story.until("the daemon has noticed", lambda: _noticed(story))
    await story.until("both are repaired", story.settled)
    after = await story.look.machines()
    same = after[off["name"]]["smbios1"] == off["smbios1"]
    story.prove("the stopped machine was started, not replaced", same and after[off["name"]]["status"] == "running")
    workers_now = [m for name, m in after.items() if "general" in name and m["status"] == "running"]
    story.prove("the deleted machine has a successor", len(workers_now) == 5)


async def template(story: Story) -> None:
    """5. The template changes: every machine is replaced within the limits."""
    before = await story.look.machines()
    for number, node in enumerate(story.stage.about["nodes"]):
        await story.look.do("add_template", vmid=9010 + number, node=node, name="ubuntu-v2", tags="cpcd-ubuntu-v2")
    new = "machineDefaults:\n    templateSelector: {matchTags: [cpcd-ubuntu-v2]}"
    story.stage.edit("Another template", (r"machineDefaults:", new))
    watch = asyncio.create_task(_watch_cluster(story), name="watch")
    try:
        await story.until("the rollout has begun", lambda: _begun(story, before))
        await story.until("every machine is replaced", story.settled, limit=3 * PATIENCE)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    after = await story.look.machines()
    old = {m["smbios1"] for m in after.values()} & {m["smbios1"] for m in before.values()}
    story.prove("all 8 machines are new, the first control plane too", not old and len(after) == len(before) == 8)
    story.gap = max(story.gap, await story.time() - story.last_answer)
    answered = f"{story.asked} requests, longest gap {story.gap:.0f} s: the virtual address moves with its machine"
    story.prove("the API answered throughout", story.asked > 20 and story.gap <= FAILOVER, answered)
    story.prove("quorum was never spent", 3 <= story.lowest < 99, f"never fewer than {story.lowest} voters up")


async def broken(story: Story) -> None:
    """6. A broken file is committed."""
    good = story.stage.spec.read_text(encoding="utf-8")
    generation = (await story.look.status())["spec"]["generation"]
    before = (await story.look.daemon("/plan"))["generation"]
    story.stage.commit("A mistake", good.replace("memoryMiB: 6144", "memoryMib: 6144"))
    await story.until("the mistake is shown", lambda: _invalid(story))
    status = await story.look.status()
    words = status["spec"]["mistakes"][0]
    story.prove(
        "the mistake is named with line and column", bool(re.match(r"CPCD-102 cluster\.yaml:\d+:\d+: ", words)), words
    )
    await story.look.sleep(30)
    machines = await story.look.machines()
    kept = (await story.look.daemon("/plan"))["generation"]
    story.prove("the last good spec stays in force", len(machines) == 8 and kept == before)
    story.stage.commit("Mended", good)
    await story.until("the file is valid again", story.settled)
    story.prove("mending the file is enough", (await story.look.status())["spec"]["generation"] != generation)


async def silence(story: Story) -> None:
    """7. Proxmox is silent for five minutes."""
    rule = _rule(ALERT)
    began = await story.look.do("silence", on=True)
    shown = await story.until("the cluster is Degraded", lambda: _condition(story, "Degraded", "True"), limit=60)
    story.prove("the cluster is Degraded within 30 s", shown <= 30, f"{shown:.0f} s")
    await story.until("the metric says so too", lambda: _endpoint(story, up=False), limit=30)
    held, since = 0.0, await story.time()
    while await story.time() - began < 300:
        metrics = await story.look.metrics()
        if metrics and metric(metrics, "cpcd_endpoint_up") == 0:
            held = await story.time() - since
        else:
            since = await story.time()
        await story.look.sleep(5)
    story.prove(f"alert {ALERT} holds for its {rule['for']}", held >= _seconds(rule["for"]), f"{held:.0f} s")
    status = await story.look.status()
    degraded = [c for c in status["clusters"][0]["conditions"] if c["type"] == "ProxmoxAvailable"]
    story.prove("the cluster says so", bool(degraded) and degraded[0]["status"] == "False")
    await story.look.do("silence", on=False)
    await story.until("Proxmox counts as back", lambda: _endpoint(story, up=True), limit=120)
    taken = await story.until("everything is well again", story.settled)
    story.prove("recovery needed no hand", holds=True, detail=f"{taken:.0f} s after it answered")


async def ending(story: Story) -> None:
    """8. The end."""
    untouched = bool(story.theirs) and await _foreign(story) == story.theirs
    destroyed = [d for d in (await story.look.world())["destructive"] if d["verb"] == "destroy"]
    said = f"VM {FOREIGN} is as it was; {len(destroyed)} of ours destroyed"
    story.prove("nothing that is not ours was touched", untouched, said)


@dataclass(frozen=True, slots=True)
class Act:
    """One act: its title for people and the function that plays it."""

    title: str
    play: Callable[[Story], Awaitable[None]]


ACTS: Final[Sequence[Act]] = tuple(
    Act((play.__doc__ or "").strip().rstrip("."), play)
    for play in (build, edit, crashes, repairs, template, broken, silence, ending)
)


async def api(story: Story, path: str) -> dict[str, Any]:
    """GET a path of the cluster's API with the written kubeconfig."""
    written = yaml.safe_load((story.stage.state / "kubeconfigs" / "demo.yaml").read_text(encoding="utf-8"))
    cluster, user = written["clusters"][0]["cluster"], written["users"][0]["user"]
    context = ssl.create_default_context(cadata=_text(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
        pair.write(_text(user["client-certificate-data"]) + _text(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    limit = aiohttp.ClientTimeout(total=5)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.get(cluster["server"] + path, ssl=context) as got,
    ):
        found: dict[str, Any] = await got.json(content_type=None)
        return found


def _text(data: str) -> str:
    return base64.b64decode(data).decode()


def _camel(verb: str) -> str:
    return "".join(word.capitalize() for word in verb.split("-"))


def _verbs(kind: type[Action]) -> set[str]:
    own = {_camel(kind.verb)} if "verb" in vars(kind) else set()
    return own.union(*(_verbs(one) for one in kind.__subclasses__()))


_STEPS: Final = _verbs(Action)


async def _generation_changed(story: Story, generation: str) -> bool:
    status = await story.look.status()
    return bool(status) and status["spec"]["generation"] != generation


async def _applied(story: Story) -> list[dict[str, Any]]:
    events = await story.look.daemon("/events", limit="5000") or []
    return [event for event in reversed(events) if event["reason"] in _STEPS]


def _by_key(steps: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in steps:
        said = found.setdefault("/".join(str(step["key"]).split("/")[-2:]), [])
        sentence = step.get("sentence") or step.get("message")
        if not said or said[-1] != sentence:
            said.append(str(sentence))
    return found


def _odd(odd: Sequence[str], printed: Mapping[str, list[str]], applied: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{key}: printed {printed.get(key)}, applied {applied.get(key)}" for key in odd[:2])


async def _running(story: Story, verb: str) -> bool:
    status = await story.look.status()
    return any(op["verb"] == verb for op in status.get("operations", []))


async def _victim(story: Story, group: str) -> dict[str, Any]:
    machines = await story.look.machines()
    return max((m for name, m in machines.items() if group in name), key=lambda m: str(m["name"]))


async def _noticed(story: Story) -> bool:
    return not await story.settled()


async def _begun(story: Story, before: Mapping[str, Any]) -> bool:
    return set(await story.look.machines()) != set(before)


async def _foreign(story: Story) -> str:
    """Return everything that the lab tells of the VM that is not ours."""
    world = await story.look.world()
    return str(next((vm for vm in world["vms"] if vm["vmid"] == FOREIGN), ""))


async def _invalid(story: Story) -> bool:
    status = await story.look.status()
    return bool(status) and not status["spec"]["valid"]


async def _condition(story: Story, kind: str, status: str) -> bool:
    clusters = (await story.look.status()).get("clusters", [])
    return any(c["type"] == kind and c["status"] == status for one in clusters for c in one["conditions"])


async def _endpoint(story: Story, *, up: bool) -> bool:
    metrics = await story.look.metrics()
    known = {name: value for name, value in metrics.items() if name.startswith('cpcd_endpoint_up{endpoint="pve:')}
    return bool(known) and all(value == float(up) for value in known.values())


def _rule(name: str) -> dict[str, Any]:
    text = (Path(__file__).parents[2] / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    rules = (rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"])
    return next(rule for rule in rules if rule.get("alert") == name)


def _seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


async def _watch_cluster(story: Story) -> None:
    """Ask the API through the written kubeconfig again and again, and count etcd's voters."""
    since = await story.time()
    while True:
        story.asked += 1
        try:
            await api(story, "/api/v1/nodes")
            story.last_answer = await story.time()
            story.gap = max(story.gap, story.last_answer - since)
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(0.05)
            continue
        members = (await story.look.world())["clusters"][0]["members"]
        story.lowest = min(story.lowest, sum(m["up"] and not m["learner"] for m in members))
        await asyncio.sleep(0.2)
        since = await story.time()
