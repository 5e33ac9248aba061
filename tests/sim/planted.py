"""What a planted bug is, and the bugs of a stray hand: calls that no code of cpcd makes, made with the daemon's own ports.

What no story reaches is reached like that: a limb of an invariant that nothing reaches may be broken. The other bugs
stand in `test_planted_bugs.py`, which plays all of them.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Wall
from cpcd.model.ledger import Change, Machine, Op, OpenOp, PutMachine
from cpcd.plan import effects
from cpcd.plan.case import machine_key
from cpcd.ports.bundle import Ports
from cpcd.ports.guests import Host
from cpcd.ports.kube import GVK
from cpcd.ports.proxmox import Request, Response
from cpcd.reconcilers import machine
from tests.sim.play import Play
from tests.sim.stories import BUILT, text

__all__ = ["BY_HAND", "Bug", "drains_a_neighbour_after_a_death"]

NODE, POD = GVK("v1", "Node"), GVK("v1", "Pod")
WORKER, MASTER = "demo-general-1", "demo-cp-1"


@dataclass(frozen=True, slots=True)
class Bug:
    """What is planted for which invariant, and the edit that brings it out; `rests` over the settled house.

    `says` is what the breach's words must hold besides: one invariant may look through many doors.
    """

    breaks: str
    plant: Callable[[Play], Any]
    edit: str = text(workers=4)
    rests: bool = False
    says: str = ""

    @property
    def told(self) -> str:
        """What it does, in its own words."""
        return (self.plant.__doc__ or "").rstrip(".")


class Hand:
    """The ports of the daemon that lives, and one machine to use them on."""

    def __init__(self, play: Play, name: str = WORKER) -> None:
        assert play.house.daemon is not None
        self.house, self.daemon, self.ports = play.house, play.house.daemon, play.house.daemon.ports
        self.row = self.of(name)
        self.api: Any = self.ports.proxmox(self.row.site)
        self.kube = self.ports.kube("demo")

    def of(self, name: str) -> Machine:
        """Return the row of this name."""
        return next(row for row in self.house.gate.ledger.machines.values() if row.name == name)

    @property
    def host(self) -> Host:
        """The machine as it is reached."""
        return self.ports.host(self.row)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Do as a pass of the machine does."""
        with self.house.gate.passing(machine_key(self.row), self.house.gate.life):
            yield

    async def commit(self, *changes: Change) -> None:
        """Commit, and let no pass of the daemon act on it before the hand does."""
        self.daemon.supervisor.end("dispatcher")
        await self.daemon.state.commit(changes)

    async def power(self, verb: str, row: Machine | None = None) -> None:
        """Send one power task."""
        whose = row or self.row
        await self.api.power(whose.node, whose.vmid, verb)

    async def look(self) -> None:
        """Read the VM as one does before it is taken."""
        await self.api.config(self.row.node, self.row.vmid)
        await self.api.status(self.row.node, self.row.vmid)

    async def members(self) -> dict[str, str]:
        """Return name -> id of etcd's members, as they are listed on the machine."""
        listed = await self.ports.guests.call(self.host, "etcd_members", {})
        return {str(one["name"]): str(one["id"]) for one in listed["members"]}

    async def remove(self, member: str) -> None:
        """Remove a member of etcd."""
        await self.ports.guests.call(self.host, "etcd_remove", {"id": member})

    async def submit(self, verb: str) -> None:
        """Begin a job that nobody opened."""
        await self.ports.guests.submit(self.host, "0f0f0f0f0f0f", verb, {})


def unplug(play: Play, name: str) -> None:
    """Take a machine's network away."""
    vmid = next(vmid for vmid, vm in play.house.world.pve.vms.items() if vm.name == name)
    play.house.world.guests[vmid].unplug()


# One machine's rows and VMs.


async def gives_an_address_twice(play: Play) -> None:
    """Two rows have one address."""
    hand = Hand(play)
    await hand.commit(PutMachine(replace(hand.row, address=hand.of("demo-general-2").address)))


async def changes_what_is_not_ours(play: Play) -> None:
    """Somebody's VM has other memory after a write to ours."""
    pve = play.house.world.pve
    handle = pve.handle

    def careless(request: Request) -> Response:
        pve.vms[200].config["memory"] = "77"
        return handle(request)

    pve.handle = careless  # type: ignore[method-assign]
    await Hand(play).power("reset")


# Operations.


async def removes_without_an_id(play: Play) -> None:
    """Some member of etcd is removed, whichever it is."""
    await Hand(play, MASTER).remove("")


async def configures_without_a_digest(play: Play) -> None:
    """A configuration is written over whatever it is by now."""
    hand = Hand(play)
    await hand.api.configure(hand.row.node, hand.row.vmid, {"onboot": 1}, digest="")


async def makes_a_template(play: Play) -> None:
    """A machine is made a template, of which nothing was ever said."""
    hand = Hand(play)
    await hand.api._vm(hand.row.node, hand.row.vmid).template.post()


async def submits_what_is_not_open(play: Play) -> None:
    """A job begins of which the ledger knows nothing."""
    await Hand(play).submit("prepare")


# Permits.


def opens(count: int, verb: str, *slots: str, disrupts: Role | None = None) -> Callable[[Play], Any]:
    """Operations are opened whose permits nobody counted."""

    async def plant(play: Play) -> None:
        await Hand(play).commit(*(OpenOp(_op(number, verb, slots, disrupts)) for number in range(count)))

    whose = f" of a {disrupts.value}" if disrupts else ""
    plant.__doc__ = f"{count} operations{whose} are open at once: {verb}."
    return plant


def _op(number: int, verb: str, slots: tuple[str, ...], disrupts: Role | None) -> Op:
    key = Key("demo", Kind.MACHINE, f"{number:012x}")
    return Op(OpId(key.name), key, verb, Scope("vm", "demo", key.name), Wall(1.0), disrupts=disrupts, slots=slots)


def takes_two_down(*names: str) -> Callable[[Play], Any]:
    """One machine is stopped after the other."""

    async def plant(play: Play) -> None:
        hand = Hand(play)
        play.house.daemon.supervisor.end("dispatcher")  # type: ignore[union-attr]
        for name in names:
            await hand.power("stop", hand.of(name))
            await asyncio.sleep(10)

    plant.__doc__ = f"{' and '.join(names)} are stopped one after the other, and nobody waits for the first to be back."
    return plant


# Evidence.


async def clones_onto_an_unasked_number(play: Play) -> None:
    """A clone is sent for a VMID that nobody asked about."""
    hand = Hand(play)
    about = {"newid": 10_050, "name": "demo-general-9", "description": "", "pool": "", "full": False, "target": ""}
    with hand.passing():
        await hand.api.clone("pve1", 9000, **about)


async def resets_what_it_only_knows_of(play: Play) -> None:
    """A VM is reset whose configuration was read, and whose state was not."""
    hand = Hand(play)
    with hand.passing():
        await hand.api.config(hand.row.node, hand.row.vmid)
        await hand.power("reset")


async def destroys_what_is_wanted(play: Play) -> None:
    """A VM is destroyed whose row is wanted."""
    hand = Hand(play)
    with hand.passing():
        await hand.look()
        await hand.api.destroy(hand.row.node, hand.row.vmid)


async def destroys_what_has_another_name(play: Play) -> None:
    """A VM is destroyed that somebody has given another name."""
    hand = Hand(play)
    await hand.commit(PutMachine(replace(hand.row, retire="a bug")))
    hand.house.world.pve.vms[hand.row.vmid].config["name"] = "precious"
    with hand.passing():
        await hand.look()
        await hand.api.destroy(hand.row.node, hand.row.vmid)


async def deletes_a_node_that_is_wanted(play: Play) -> None:
    """The Node of a machine that is to stay is deleted."""
    hand = Hand(play)
    with hand.passing():
        node = await hand.kube.get(NODE, WORKER)
        await hand.kube.delete(NODE, WORKER, uid=node["metadata"]["uid"] if node else "")


async def evicts_what_has_a_new_uid(play: Play) -> None:
    """A pod is evicted by a uid that no list had."""
    hand = Hand(play)
    with hand.passing():
        pod = (await hand.kube.list(POD, fields=f"spec.nodeName={WORKER}"))[0][0]["metadata"]
        await hand.kube.evict(pod["namespace"], pod["name"], "0f0f0f0f-0000")


async def evicts_from_who_stays(play: Play) -> None:
    """A pod is evicted from a machine that nothing takes out of service."""
    hand = Hand(play)
    with hand.passing():
        pod = (await hand.kube.list(POD, fields=f"spec.nodeName={WORKER}"))[0][0]["metadata"]
        await hand.kube.evict(pod["namespace"], pod["name"], pod["uid"])


def evicts(node: str, prefix: str, *, cordons: bool) -> Callable[[Play], Any]:
    """A pod is evicted by hand, from a Node that is cordoned before or is not."""

    async def plant(play: Play) -> None:
        hand = Hand(play)
        if cordons:
            await hand.kube.patch(NODE, node, {"spec": {"unschedulable": True}})
        pods, _ = await hand.kube.list(POD, fields=f"spec.nodeName={node}")
        pod = next(one["metadata"] for one in pods if one["metadata"]["name"].startswith(prefix))
        await hand.kube.evict(pod["namespace"], pod["name"], pod["uid"])

    plant.__doc__ = f"A pod of {prefix} is evicted from {node}, which is {'' if cordons else 'not '}cordoned."
    return plant


async def removes_a_member_of_no_list(play: Play) -> None:
    """A member is removed by an id that no list had."""
    hand = Hand(play, MASTER)
    with hand.passing():
        await hand.members()
        await hand.remove("77")


async def removes_a_member_that_is_wanted(play: Play) -> None:
    """The member of a machine that is to stay is removed."""
    hand = Hand(play, MASTER)
    with hand.passing():
        await hand.remove((await hand.members())["demo-cp-2"])


async def resets_who_serves(play: Play) -> None:
    """Kubeadm reset is run on a machine that serves."""
    await Hand(play).submit("reset")


def resets_after(*looks: str) -> Callable[[Play], Any]:
    """A control plane that is to go is reset after some of what must be looked at."""

    async def plant(play: Play) -> None:
        hand = Hand(play, MASTER)
        await hand.commit(PutMachine(replace(hand.row, retire="a bug")))
        with hand.passing():
            if "facts" in looks:
                await hand.ports.guests.call(hand.host, "facts", {})
            if "node" in looks:
                await hand.kube.get(NODE, MASTER)
            await hand.submit("reset")

    plant.__doc__ = f"Kubeadm reset is run by {' and '.join(looks) or 'nothing'} alone."
    return plant


# Quorum.


async def resets_a_member(play: Play) -> None:
    """Kubeadm reset is run on a member of etcd that is listed."""
    await Hand(play, MASTER).submit("reset")


async def resets_the_vm_of_a_member(play: Play) -> None:
    """The VM of one member is reset while another has no network."""
    unplug(play, "demo-cp-3")
    await asyncio.sleep(10)
    await Hand(play, MASTER).power("reset")


async def removes_beside_the_sick(play: Play) -> None:
    """A healthy member is removed while another has no network."""
    hand = Hand(play, MASTER)
    members = await hand.members()
    unplug(play, "demo-cp-3")
    await asyncio.sleep(10)
    await hand.remove(members["demo-cp-2"])


async def stops_one_of_two(play: Play) -> None:
    """Of three members one is removed and another one stopped."""
    hand = Hand(play, MASTER)
    await hand.remove((await hand.members())["demo-cp-3"])
    await hand.power("stop")


# Consent.


async def shuts_down_whom_it_likes(play: Play) -> None:
    """A machine is shut down for which no reboot has begun."""
    await Hand(play).power("shutdown")


async def destroys_whom_it_likes(play: Play) -> None:
    """A machine is destroyed for which no retirement has begun."""
    hand = Hand(play)
    await hand.api.destroy(hand.row.node, hand.row.vmid)


# What no invariant needs to see, as the comparison with the run without luck does.


def drains_a_neighbour_after_a_death(neighbour: str) -> None:
    """A daemon that is not the first one evicts from another machine too when it drains one."""
    sweep = machine._sweep

    async def strays(action: effects.Drain, ports: Ports) -> None:
        kube: Any = ports.kube(action.row.cluster)
        if kube._life > 1:
            for pod in (await kube.list(POD, labels="k8s-app=kube-dns", fields=f"spec.nodeName={neighbour}"))[0]:
                await kube.evict("kube-system", pod["metadata"]["name"], pod["metadata"]["uid"])
        await sweep(action, ports)

    machine._sweep = strays


BY_HAND: Final = tuple(
    Bug(breaks, plant, BUILT, says=says)
    for breaks, plant, says in (
        ("one-vm-a-machine", gives_an_address_twice, "two machines have address"),
        ("nothing-foreign", changes_what_is_not_ours, "somebody else's VM 200 was changed"),
        ("op-first", removes_without_an_id, "no member id"),
        ("op-first", configures_without_a_digest, "no digest"),
        ("op-first", makes_a_template, "nobody announces this write"),
        ("op-first", submits_what_is_not_open, "op 0f0f0f0f0f0f for prepare is not open"),
        ("limits", opens(13, "prepare"), "13 hold prepare, 12 may"),
        ("limits", opens(2, "reset"), "2 hold reset:demo, 1 may"),
        ("limits", opens(2, "hold", disrupts=Role.WORKER), "2 hold disrupt:demo, 1 may"),
        ("limits", opens(2, "hold", disrupts=Role.CONTROL_PLANE), "2 hold control-plane:demo, 1 may"),
        ("limits", opens(2, "join", "control-plane:demo"), "2 hold control-plane:demo, 1 may"),
        ("limits", takes_two_down("demo-general-1", "demo-general-2"), "are down at once, 1 may be"),
        ("limits", takes_two_down("demo-cp-1", "demo-cp-2"), "are down at once, 1 may be"),
        ("fresh-evidence", clones_onto_an_unasked_number, "free 10050 was not read"),
        ("fresh-evidence", resets_what_it_only_knows_of, "status/current"),
        ("fresh-evidence", destroys_what_is_wanted, "its row is wanted or unknown"),
        ("fresh-evidence", destroys_what_has_another_name, "name or SMBIOS UUID do not agree"),
        ("fresh-evidence", deletes_a_node_that_is_wanted, "its machine is wanted"),
        ("fresh-evidence", evicts_what_has_a_new_uid, "this pod was not listed"),
        ("fresh-evidence", evicts_from_who_stays, f"no disruption of {WORKER} is open"),
        ("drained-only", evicts(MASTER, "coredns", cordons=False), f"{MASTER} was not cordoned by cpcd"),
        ("drained-only", evicts(MASTER, "etcd", cordons=True), f"etcd-{MASTER} belongs to its Node"),
        ("fresh-evidence", removes_a_member_of_no_list, "this member was not listed"),
        ("fresh-evidence", removes_a_member_that_is_wanted, "its machine is wanted"),
        ("fresh-evidence", resets_who_serves, "its machine is wanted or unknown"),
        ("fresh-evidence", resets_after(), "facts of"),
        ("fresh-evidence", resets_after("facts"), f"Node {MASTER} was not read"),
        ("fresh-evidence", resets_after("facts", "node"), "etcd was not read"),
        ("quorum-kept", resets_a_member, "a listed etcd member is reset"),
        ("quorum-kept", resets_the_vm_of_a_member, f"{MASTER} is disturbed while demo-cp-3 is unhealthy"),
        ("quorum-kept", removes_beside_the_sick, "demo-cp-2 is disturbed while demo-cp-3 is unhealthy"),
        ("quorum-kept", stops_one_of_two, "1 healthy voters of 2 are left"),
        ("consent-given", shuts_down_whom_it_likes, "no reboot that was consented to has begun"),
        ("consent-given", destroys_whom_it_likes, "no retire that was consented to has begun"),
    )
)
