"""Small values for the planner's tests: every function takes only what a test is about and fills in the rest.

`built` is a whole cluster at rest; tests break one thing of it and look at what is decided.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cpcd.model.desired import (
    Blast,
    Cluster,
    Consent,
    Desired,
    Endpoint,
    Group,
    Health,
    Infrastructure,
    MachineSpec,
    Remedy,
    Retry,
    Risk,
    TemplateRef,
    Timeouts,
    Unhealthy,
)
from cpcd.model.keys import Instant, Key, Kind, OpId, Role, Scope, Uid, Wall, system_uuid
from cpcd.model.ledger import Ledger, Machine, Op
from cpcd.model.plan import Action, Plan
from cpcd.model.seen import AddonSeen, Api, Facts, Member, Members, Node, Pod, Quorum, Resource, Seen, Task, Vm
from cpcd.model.view import View
from cpcd.plan import fields, kubeadm, scopes
from cpcd.plan.case import Case, machine_key
from cpcd.ports.bundle import WrittenKubeconfig

SITE, NAME, INSTALLATION = "home", "lab", "inst"
NOW = Wall(1_000_000.0)
CP, WORKERS = "control-plane", "general"
TEMPLATE = 9000
NEWER = 9001  # there as well, for whoever's file names it
AUTO = dict.fromkeys(Risk, Consent.AUTO)
KEY = Key(NAME, Kind.CLUSTER, NAME)


def spec(**changes: Any) -> MachineSpec:
    """Return a machine's wanted configuration."""
    wanted = MachineSpec(
        template=TemplateRef("ubuntu", vmid=TEMPLATE), full=False, sockets=1, cores=2, cpu_type="host",
        memory_mib=4096, balloon=False, boot_disk="scsi0", boot_disk_gb=20, bridge="vmbr0", nic_model="virtio",
        vlan=None, mtu=None, firewall=False, on_boot=True, tags=(), ssh_users=("cpcd",), ssh_port=22,
        ssh_keys=("ssh-ed25519 AAAA cpcd",), timezone="Etc/UTC",
    )  # fmt: skip
    return replace(wanted, **changes)


def group(name: str = CP, replicas: int = 1, **changes: Any) -> Group:
    """Return a group; `control-plane` is the control plane, any other name a deployment."""
    role = Role.CONTROL_PLANE if name == CP else Role.WORKER
    return replace(Group(name=name, role=role, replicas=replicas, machine=spec()), **changes)


def infrastructure(**changes: Any) -> Infrastructure:
    """Return three nodes, each a zone of its own, with room for fifty machines."""
    wanted = Infrastructure(
        site=SITE, allowed_nodes=(), zones={"a": ("pve1",), "b": ("pve2",), "c": ("pve3",)}, pool="",
        disk_storage="", vmid_start=300, vmid_end=349, dns_servers=("10.0.0.1",),
        addresses=tuple(f"10.0.0.{n}" for n in range(10, 60)), prefix=24, gateway="10.0.0.1",
    )  # fmt: skip
    return replace(wanted, **changes)


def health(**changes: Any) -> Health:
    """Return the default health check: not Ready for 300 s is sick."""
    rules = (Unhealthy("Ready", "False", 300.0), Unhealthy("Ready", "Unknown", 300.0))
    return replace(Health(rules, 900.0, tuple(Remedy), limit=0.4, max_in_flight=1, max_retry=3), **changes)


def cluster(*groups: Group, **changes: Any) -> Cluster:
    """Return a cluster of these groups, one control plane when none is given, that consents to everything."""
    wanted = Cluster(
        name=NAME, version="v1.34.2", paused=False, deletion_protection=True, deletion_policy="Retain",
        endpoint=Endpoint("10.0.0.5", 6443, "kube-vip"), pods="10.244.0.0/16", services="10.96.0.0/12",
        service_domain="cluster.local", domain="", hostname="{cluster}-{role}-{index}",
        infrastructure=infrastructure(), groups=groups or (group(),), health=health(), approve_csr=True,
        extra_sans=(), kubeconfig_context="", addons=(), change_policy=AUTO, blast=Blast(1, 100, 100),
        retry={"default": Retry()}, timeouts=Timeouts(),
    )  # fmt: skip
    return replace(wanted, **changes)


def row(uid: str = "u1", group: str = CP, number: int = 1, **changes: Any) -> Machine:
    """Return a machine row; `number` gives VMID 300+, address .10+ and the index."""
    role = "cp" if group == CP else group
    made = Machine(
        uid=Uid(uid), cluster=NAME, role=Role.CONTROL_PLANE if group == CP else Role.WORKER, group=group,
        index=number, name=f"{NAME}-{role}-{number}", site=SITE, node="pve1", vmid=300 + number,
        address=f"10.0.0.{10 + number}", template=TEMPLATE, template_node="pve1",
        revision=fields.revision(spec()), created=Wall(NOW - 10_000),
    )  # fmt: skip
    return replace(made, **changes)


def member_row(uid: str = "u1", group: str = CP, number: int = 1, **changes: Any) -> Machine:
    """Return a row that was started and has joined."""
    return replace(row(uid, group, number), **{"started": True, "joined": True, **changes})


def seen(value: Any) -> Seen[Any]:
    """Return a complete observation."""
    return Seen(value, Instant(0.0), complete=True)


def unknown(why: str = "silent") -> Seen[Any]:
    """Return an observation that could not be made."""
    return Seen(None, Instant(0.0), complete=False, why=why)


def vm(one: Machine, wanted: Cluster | None = None, *, options: Mapping[str, Any] | None = None, **changes: Any) -> Vm:
    """Return the row's VM as it is wanted: running, with all marks; `options` overlays its config."""
    wanted = wanted or cluster()
    own = wanted.group(one.group) or wanted.groups[0]
    born = {"name": one.name, "description": fields.mark(INSTALLATION, one, "op-1"), "scsi0": "local:1,size=20G"}
    first = fields.first_options(wanted, one, own.machine, born)
    config = {**born, **{k: v for k, v in first.items() if v is not None}, "digest": "d1", **(options or {})}
    return replace(Vm(True, one.node, "running", config=config, host_key="ssh-ed25519 HOST"), **changes)


def clone_of(one: Machine, **changes: Any) -> Vm:
    """Return the VM as a finished clone leaves it: our mark and name, stopped, not yet our UUID."""
    config = {"name": one.name, "description": fields.mark(INSTALLATION, one, "op-1"), "scsi0": "local:1,size=4G"}
    return replace(Vm(True, one.node, "stopped", config=config), **changes)


def node(one: Machine, **changes: Any) -> Node:
    """Return the row's own Ready Node, in its zone."""
    zone = {"pve1": "a", "pve2": "b", "pve3": "c"}.get(one.node, "a")
    made = Node(
        name=one.name, uid=f"node-{one.uid}", system_uuid=system_uuid(one.uid), ready="True", since=NOW - 5_000,
        unschedulable=False, labels={"topology.kubernetes.io/zone": zone}, annotations={}, taints=(),
        version="v1.34.2",
    )  # fmt: skip
    return replace(made, **changes)


def facts(one: Machine, **changes: Any) -> Facts:
    """Return a machine from inside, prepared, without a trace of kubeadm."""
    made = Facts(
        hostname=one.name, clock_skew=0.0, cloud_init="done", prepared=kubeadm.profile(cluster(), "Etc/UTC"),
        admin_conf=False, kubelet_conf=False, etcd_data=False, manifests=(), readyz=0,
    )  # fmt: skip
    return replace(made, **changes)


def member(one: Machine, **changes: Any) -> Member:
    """Return the row's etcd member, a healthy voter."""
    made = Member(f"m-{one.uid}", one.name, f"https://{one.address}:2380", learner=False, started=True, healthy=True)
    return replace(made, **changes)


def members(*rows: Machine, sick: Iterable[Machine] = (), leader: str = "") -> Members:
    """Return a voter for each row, healthy unless named in `sick`; the first leads unless said otherwise."""
    ill = {one.uid for one in sick}
    listed = tuple(member(one, healthy=one.uid not in ill) for one in rows)
    return Members(listed, leader or (listed[0].id if listed else ""))


def pod(name: str, on: str, **changes: Any) -> Pod:
    """Return a pod that a drain has to move."""
    made = Pod("default", name, f"pod-{name}", on, daemon=False, mirror=False, finished=False, deleting=False)
    return replace(made, **changes)


def task(upid: str, kind: str, *, exit_: str = "OK", vmid: int = TEMPLATE, made: int = 0) -> Task:
    """Return a Proxmox task; `exit_` empty while it runs."""
    return Task(upid, kind, vmid, exit_, made)


def op(one: Machine, verb: str, *, age: float = 0.0, id_: str = "op-1", **changes: Any) -> Op:
    """Return an open op of a row, opened `age` seconds ago."""
    made = Op(OpId(id_), machine_key(one), verb, scopes.vm(one), Wall(NOW - age))
    return replace(made, **changes)


def hold(one: Machine, verb: str = "reboot", *, id_: str = "hold-1", age: float = 0.0) -> Op:
    """Return the open disruption of a row."""
    slot = f"control-plane:{NAME}" if one.role is Role.CONTROL_PLANE else f"disrupt:{NAME}"
    target = Scope("hold", NAME, one.uid)
    return op(one, verb, id_=id_, age=age, target=target, disrupts=one.role, slots=(slot,))


def ledger(rows: Iterable[Machine] = (), ops: Iterable[Op] = (), known: Mapping[str, Any] | None = None) -> Ledger:
    """Return a ledger."""
    return Ledger({one.uid: one for one in rows}, {one.id: one for one in ops}, dict(known or {}))


def view(
    wanted: Cluster | None = None, *, rows: Iterable[Machine] = (), ops: Iterable[Op] = (),
    known: Mapping[str, Any] | None = None, bulk: Mapping[Scope, Seen[Any]] | None = None,
    since: Mapping[str, float] | None = None, fresh: str = "new",
) -> View:  # fmt: skip
    """Return a view at `NOW` of an online site with the template on shared storage, and whatever a test adds."""
    wanted = wanted or cluster()
    return View(
        desired=Desired({wanted.name: wanted}), ledger=ledger(rows, ops, {"installation": INSTALLATION, **(known or {})}), bulk={**site(), **(bulk or {})},
        since=dict(since or {}), wall=NOW, fresh=(fresh,),
    )  # fmt: skip


def site(*, online: Iterable[str] = ("pve1", "pve2", "pve3"), quorate: bool = True) -> dict[Scope, Seen[Any]]:
    """Return the observations of a Proxmox of three nodes."""
    up = frozenset(online)
    disks = (("scsi0", "local:0,size=4G"),)
    copies = tuple(
        Resource(vmid, "pve1", "ubuntu", "stopped", True, (), "", disks, shared=True) for vmid in (TEMPLATE, NEWER)
    )
    return {
        scopes.quorum(SITE): seen(Quorum(quorate, up, frozenset({"pve1", "pve2", "pve3"}) - up)),
        scopes.resources(SITE): seen({}),
        scopes.claims(SITE): seen(()),
        scopes.endpoint(NAME): seen(value=False),
        scopes.template(SITE, "ubuntu"): seen(copies),
    }


def without(node: str, *, whole: bool = True) -> dict[Scope, Seen[Any]]:
    """Return the nodes of a Proxmox whose status lists one no more."""
    return {scopes.quorum(SITE): seen(Quorum(True, frozenset({"pve1", "pve2", "pve3"} - {node}), frozenset(), whole))}


def identity() -> dict[str, Any]:
    """Return the facts of an initialised cluster."""
    return {f"identity/{NAME}": {"ca_hash": "sha256:aa", "uid": "kube-system-uid"}, f"elected/{NAME}": "u1"}


def alive(rows: Iterable[Machine], wanted: Cluster | None = None) -> dict[Scope, Seen[Any]]:
    """Return what is seen of joined machines at rest."""
    rows = list(rows)
    masters = [one for one in rows if one.role is Role.CONTROL_PLANE]
    found: dict[Scope, Seen[Any]] = {
        scopes.api(NAME): seen(Api(ready=True, version="v1.34.2", uid="kube-system-uid")),
        scopes.etcd(NAME): seen(members(*masters)),
        scopes.nodes(NAME): seen({one.name: node(one) for one in rows}),
        scopes.csrs(NAME): seen(()),
    }
    for one in rows:
        found |= {
            scopes.vm(one): seen(vm(one, wanted)),
            scopes.node(NAME, one.name): seen(node(one)),
            scopes.guest(one): seen(facts(one, admin_conf=True, kubelet_conf=True)),
            scopes.pods(NAME, one.name): seen(()),
        }
    return found


def rows_of(wanted: Cluster) -> list[Machine]:
    """Return joined rows for all replicas, spread over the nodes, older ones first."""
    rows: list[Machine] = []
    for one in wanted.groups:
        for index in range(1, one.replicas + 1):
            number = len(rows) + 1
            made = member_row(f"u{number}", one.name, number)
            name = wanted.hostname.format(cluster=NAME, role="cp" if one.name == CP else one.name, index=index)
            place: dict[str, Any] = {
                "index": index,
                "name": name,
                "node": f"pve{(index - 1) % 3 + 1}",
                "template_node": "pve1",
            }
            rows.append(replace(made, **place, created=Wall(NOW - 10_000 + number)))
    return rows


def built(wanted: Cluster | None = None, *, now: Cluster | None = None, known: Mapping[str, Any] | None = None) -> View:
    """Return a cluster at rest as `wanted`; `now` is what the file says since then."""
    wanted = wanted or cluster(group(CP, 3), group(WORKERS, 2))
    rows = rows_of(wanted)
    pins = {f"hostkey/{one.uid}": "ssh-ed25519 HOST" for one in rows}
    written = WrittenKubeconfig("https://10.0.0.5:6443", NAME, "sha256:aa", NOW + 365 * 86400)
    bulk = {**alive(rows, wanted), scopes.kubeconfig(NAME): seen(written)}
    bulk |= {scopes.addon(NAME, addon.name): seen(AddonSeen()) for addon in wanted.addons}
    facts_ = {**identity(), **pins, **{f"applied/{NAME}/{a.name}": a.digest for a in wanted.addons}, **(known or {})}
    return view(now or wanted, rows=rows, known=facts_, bulk=bulk)


def put(before: View, *rows: Machine, **parts: Any) -> View:
    """Return the view with rows replaced or added and `known`, `ops`, `bulk` or `since` overlaid."""
    remembered = before.ledger
    after = Ledger(
        {**remembered.machines, **{one.uid: one for one in rows}},
        {**remembered.ops, **{one.id: one for one in parts.get("ops", ())}},
        {**remembered.facts, **parts.get("known", {})},
    )
    bulk, since = {**before.bulk, **parts.get("bulk", {})}, {**before.since, **parts.get("since", {})}
    return replace(before, ledger=after, bulk=bulk, since=since)


def of(whole: View, uid: str) -> Machine:
    """Return a row by its uid."""
    return whole.machines[Uid(uid)]


def case(one: Machine, whole: View) -> Case:
    """Return a row's case in its view."""
    wanted = whole.desired.clusters[one.cluster]
    return Case(machine_key(one), whole, one, wanted, wanted.group(one.group) or wanted.groups[0])


def step(plan: Plan | None) -> Action | None:
    """Return the only step of a plan, None when it has none."""
    steps = plan.steps if plan else ()
    assert len(steps) <= 1
    return next(iter(steps), None)


def said(plan: Plan | None) -> str:
    """Return what a plan comes to in a word: its step's verb, its refusal's, wait's or condition's reason."""
    if plan is None:
        return ""
    if plan.steps:
        return plan.steps[0].verb
    if plan.refusal:
        return plan.refusal.reason
    if plan.wait:
        return plan.wait.reason
    return plan.conditions[0].reason if plan.conditions else "nothing"
