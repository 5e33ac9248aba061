"""A small cluster as values: wanted, remembered and seen, at one moment; tests change one thing of it."""

from dataclasses import replace

from cpcd.model.desired import Desired
from cpcd.model.errors import Failure, Unreachable
from cpcd.model.keys import Instant, Key, Kind, OpId, Role, Scope, Uid, Wall, system_uuid
from cpcd.model.ledger import Ledger, Machine, Op
from cpcd.model.report import Endpoint, Outcome, Pass
from cpcd.model.seen import Api, Member, Members, Node, Quorum, Seen
from cpcd.model.view import View
from cpcd.plan import fields, scopes
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec
from cpcd.status import Board, SpecState
from tests.unit.plan.build import facts as from_inside

SITE = "pve.home.arpa"
NOW = Wall(1_800_000_000.0)
SPEC = b"""
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {name: home}
spec:
  version: v1.34.2
  infrastructure:
    proxmox:
      url: https://pve.home.arpa:8006
      credentialsRef: {file: /etc/cpcd/pve-token}
      ipv4Config: {addresses: [10.10.10.110-10.10.10.139], prefix: 24, gateway: 10.10.10.1}
  controlPlane: {replicas: 1}
  workers: {machineDeployments: [{name: general, replicas: 2}]}
"""


def desired() -> Desired:
    """The spec above, compiled."""
    reading = read_spec({"cluster.yaml": SPEC})
    assert not reading.mistakes
    return compile_spec(reading, operator_key="ssh-ed25519 AAAA")


def row(name: str, role: Role, group: str, index: int) -> Machine:
    """A machine that has joined, of the revision that is wanted."""
    wanted = desired().clusters["home"].group(group)
    assert wanted
    return Machine(
        uid=Uid(f"uid-{name}"), cluster="home", role=role, group=group, index=index, name=name, site=SITE, node="pve1",
        vmid=300 + index, address=f"10.10.10.{110 + index}", template=9000, template_node="pve1",
        revision=fields.revision(wanted.machine), created=NOW, started=True, joined=True,
    )  # fmt: skip


def node(machine: Machine, ready: str = "True") -> Node:
    """The machine's Node."""
    return Node(
        name=machine.name, uid="n", system_uuid=system_uuid(machine.uid), ready=ready, since=NOW, unschedulable=False,
        labels={}, annotations={}, taints=(), version="v1.34.2",
    )  # fmt: skip


CP = row("home-cp-1", Role.CONTROL_PLANE, "control-plane", 1)
W1 = row("home-general-1", Role.WORKER, "general", 2)
W2 = row("home-general-2", Role.WORKER, "general", 3)


def complete(value: object) -> Seen:
    """A complete observation."""
    return Seen(value, Instant(1.0), complete=True)


def inside(machine: Machine, **ends: float) -> dict[Scope, Seen]:
    """The machine as seen from inside, with certificates that end so many days from now."""
    dates = {name: NOW + days * 86400 for name, days in ends.items()}
    return {scopes.guest(machine): complete(from_inside(machine, certificates=dates))}


def view(*machines: Machine, nodes: dict[str, Node] | None = None, facts: dict | None = None) -> View:
    """The cluster as wanted with these rows (all three without any), everything seen and well."""
    rows = machines or (CP, W1, W2)
    seen = {
        scopes.quorum(SITE): complete(Quorum(True, frozenset({"pve1"}), frozenset())),
        scopes.api("home"): complete(Api(True, "v1.34.2")),
        scopes.nodes("home"): complete({m.name: node(m) for m in rows} if nodes is None else nodes),
        scopes.etcd("home"): complete(Members((Member("1", CP.name, "https://x:2380", False, True, True),), "1")),
    }
    for machine in rows:
        seen |= inside(machine, kubelet=365, ca=3650)
    ledger = Ledger({m.uid: m for m in rows}, {}, {"identity/home": {"ca": "x"}} | (facts or {}))
    return View(desired=desired(), ledger=ledger, bulk=seen, wall=NOW)


def with_op(scene: View, machine: Machine, verb: str) -> View:
    """The view with one operation on its way for 34 s."""
    op = Op(OpId("op-1"), key(machine), verb, Scope("vm", SITE, str(machine.vmid)), Wall(NOW - 34))
    return replace(scene, ledger=replace(scene.ledger, ops={op.id: op}))


def key(machine: Machine) -> Key:
    """The machine's key."""
    return Key(machine.cluster, Kind.MACHINE, machine.uid)


def done(
    where: Key,
    outcome: Outcome = Outcome.SETTLED,
    sentence: str = "as wanted",
    *,
    reason: str = "",
    failure: Failure | None = None,
    failures: int = 0,
    degraded: bool = False,
    **more: object,
) -> Pass:
    """One pass."""
    return Pass(
        where, "r-0001", outcome, sentence, 0.02, failure=failure, failures=failures, degraded=degraded,
        reason=reason, **more,
    )  # fmt: skip


def down(name: str, what: str = "no answer", *, since: float = 60) -> dict[str, Endpoint]:
    """An endpoint that has been silent for so many seconds."""
    return {name: Endpoint(name, Wall(NOW - since), Unreachable(name, what))}


def settled() -> Board:
    """A board on which every object of the cluster is as wanted, five minutes ago."""
    board = Board()
    board.spec = SpecState("abc123")
    board.endpoints = {name: Endpoint(name, NOW) for name in (f"pve:{SITE}", "kube:home")}
    others = (Key("home", Kind.CLUSTER, "home"), Key("home", Kind.KUBECONFIG, "admin"))
    for where in (*(key(machine) for machine in (CP, W1, W2)), *others):
        board.note(done(where, sentence=f"{where.kind} is as wanted"), Wall(NOW - 300))
    for addon in desired().clusters["home"].addons:
        board.note(done(Key("home", Kind.ADDON, addon.name)), Wall(NOW - 300))
    return board
