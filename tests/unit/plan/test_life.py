"""A machine's way into its cluster: situation → the one next step, for provision, prepare and member."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cpcd.model.keys import Scope, Uid
from cpcd.model.ledger import Machine
from cpcd.model.plan import Plan
from cpcd.model.seen import Api, Claim, Resource, Vm
from cpcd.plan import effects, kubeadm, scopes
from cpcd.plan.case import membership
from cpcd.plan.guards import GUARDS
from cpcd.plan.member import member, peer
from cpcd.plan.prepare import prepare
from cpcd.plan.provision import provision
from tests.unit.plan.build import (
    CP,
    NAME,
    NOW,
    SITE,
    TEMPLATE,
    WORKERS,
    alive,
    case,
    clone_of,
    cluster,
    facts,
    group,
    hold,
    identity,
    member_row,
    members,
    node,
    row,
    said,
    seen,
    spec,
    step,
    unknown,
    view,
    vm,
)  # fmt: skip

ONE = cluster(group(CP, 3), group(WORKERS, 2))
ROW = row("u9", CP, 9)
RAN = replace(ROW, started=True)
WORKER = row("u8", WORKERS, 8, started=True)
PINNED = {"hostkey/u9": "ssh-ed25519 HOST"}


def provisioned(one: Any, found: Vm | None, known: Mapping[str, Any] | None = None) -> Plan | None:
    """Return what provisioning decides for a VM; None is one that cannot be read."""
    bulk = {scopes.vm(one): unknown() if found is None else seen(found)}
    return provision(case(one, view(ONE, rows=[one], known=known, bulk=bulk)))


GROWN = {"scsi0": "local:1,size=20G"}
SMALL = {"scsi0": "local:1,size=4G"}


@pytest.mark.parametrize(
    ("one", "found", "known", "wanted"),
    [
        (ROW, None, {}, "VmUnknown"),
        (ROW, Vm(exists=False), {}, "clone"),
        (RAN, Vm(exists=False), {}, "VmGone"),
        (member_row("u9", CP, 9), Vm(exists=False), {}, "VmGone"),
        (ROW, clone_of(ROW), {}, "configure"),
        (ROW, clone_of(ROW, lock="clone"), {}, "VmLocked"),
        (RAN, clone_of(ROW), {}, "ForeignVm"),
        (ROW, Vm(True, "pve1", "stopped", config={"name": "theirs"}), {}, "renumber"),
        (RAN, vm(ROW, options={"name": "renamed"}), {}, "ForeignVm"),
        (RAN, vm(ROW, options={"description": ""}), {}, "ForeignVm"),
        (ROW, vm(ROW, options={"description": "cpcd/1 other lab u9 op"}), {}, "renumber"),
        (ROW, vm(ROW, ONE, status="stopped", lock="backup"), {}, "VmLocked"),
        (ROW, vm(ROW, ONE, status="stopped", options=SMALL), {}, "resize"),
        (ROW, vm(ROW, ONE, status="stopped", options={"cores": 1}), {}, "configure"),
        (ROW, vm(ROW, ONE, status="stopped"), {}, "start"),
        (RAN, vm(ROW, ONE, status="stopped"), {}, "start"),
        (RAN, vm(ROW, ONE), {}, "pin-host-key"),
        (RAN, vm(ROW, ONE, host_key=""), {}, "Booting"),
        (RAN, vm(ROW, ONE), PINNED, ""),
        (RAN, vm(ROW, ONE, host_key=""), PINNED, ""),
    ],
)
def test_from_a_row_to_a_running_vm(one: Any, found: Vm | None, known: Mapping[str, Any], wanted: str) -> None:
    """Clone, configure, grow, start, first contact; what is not ours is not touched."""
    assert wanted == said(provisioned(one, found, known))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (Vm(exists=False), "its VM 309 is gone"),
        (vm(ROW, options={"description": "", "smbios1": "uuid=1"}), "its VM 309 is gone, and another has its VMID"),
    ],
)
def test_of_a_vm_that_is_gone_it_is_said_whether_another_has_its_number(found: Vm, wanted: str) -> None:
    """Who looks there finds a VM that runs, and is to know that it is none of this machine."""
    plan = provisioned(RAN, found)

    assert [f"lab-cp-9: {wanted}"] == [one.message for one in plan.conditions if plan]


def test_the_configuration_is_written_against_the_digest_that_was_read() -> None:
    """A foreign change in between is refused by Proxmox (`failures.md` P30)."""
    decided = step(provisioned(ROW, clone_of(ROW, config={**clone_of(ROW).config, "digest": "d7"})))

    assert isinstance(decided, effects.Configure)
    assert ("d7", True) == (decided.digest, "smbios1" in decided.options)


def test_a_disk_is_grown_to_an_absolute_size() -> None:
    """Repeating it is a no-op (`failures.md` P04)."""
    decided = step(provisioned(ROW, vm(ROW, ONE, status="stopped", options=SMALL)))

    assert isinstance(decided, effects.Grow)
    assert ("scsi0", 20) == (decided.disk, decided.size_gb)


@pytest.mark.parametrize(
    ("disks", "changes", "wanted"),
    [
        ("scsi0", {}, "clone"),
        ("scsi0", {"boot_disk_gb": 3}, "BootDiskLarger"),
        ("scsi0", {"boot_disk": "scsi1"}, "BootDiskMissing"),
        ("", {"boot_disk": "scsi1"}, "clone"),
    ],
)
def test_a_boot_disk_that_the_template_cannot_give_is_not_cloned(
    disks: str, changes: dict[str, Any], wanted: str
) -> None:
    """Refused before anything is made; where the template's disks are unknown, its clone is looked at."""
    copy = Resource(
        TEMPLATE, "pve1", "u", "stopped", True, (), "", tuple((slot, "local:0,size=4G") for slot in disks.split())
    )
    now = cluster(group(CP, machine=spec(**changes)))
    bulk = {scopes.vm(ROW): seen(Vm(exists=False)), scopes.template(SITE, "ubuntu"): seen((copy,))}

    assert wanted == said(provision(case(ROW, view(now, rows=[ROW], bulk=bulk))))


def test_of_the_copies_of_a_template_the_one_that_is_cloned_is_judged() -> None:
    """Another of the same name may be of before an edit, with another disk."""
    copies = tuple(
        Resource(vmid, "pve1", "u", "stopped", True, (), "", (("scsi0", f"local:0,size={size}"),))
        for vmid, size in ((9001, "40G"), (TEMPLATE, "4G"))
    )
    bulk = {scopes.vm(ROW): seen(Vm(exists=False)), scopes.template(SITE, "ubuntu"): seen(copies)}
    first, second = (replace(ROW, template=vmid) for vmid in (TEMPLATE, 9001))

    assert ["clone", "BootDiskLarger"] == [
        said(provision(case(one, view(ONE, rows=[one], bulk=bulk)))) for one in (first, second)
    ]


def test_a_clone_without_the_boot_disk_is_not_started() -> None:
    """Its slots are named, so that the right one can be chosen; a cloud-init drive is none of them."""
    now = cluster(group(CP, machine=spec(boot_disk="scsi1")))
    config = {"virtio0": "local:1,size=20G", "ide2": "local:ci,media=cdrom,size=4M"}
    found = vm(ROW, now, status="stopped", options=config)
    decided = provision(case(ROW, view(now, rows=[ROW], bulk={scopes.vm(ROW): seen(found)})))

    assert decided is not None
    assert decided.refusal is not None
    assert "disks.bootVolume of lab-cp-9: VM 309 has no disk scsi1; it has scsi0, virtio0" == decided.refusal.sentence


def test_a_pinned_host_key_is_never_replaced_by_what_the_agent_says_later() -> None:
    """First contact only."""
    assert provisioned(RAN, vm(ROW, ONE, host_key="ssh-ed25519 OTHER"), PINNED) is None


@pytest.mark.parametrize(
    ("other", "machine_id", "wanted"),
    [
        ({"joined": True}, "a" * 32, "MachineIdShared"),
        ({"vmid": RAN.vmid - 1}, "a" * 32, "MachineIdShared"),
        ({"vmid": RAN.vmid + 1}, "a" * 32, "prepare"),
        ({"joined": True}, "b" * 32, "prepare"),
        ({"joined": True}, "", "prepare"),
    ],
)
def test_of_two_machines_with_one_machine_id_the_older_goes_on(
    other: dict[str, Any], machine_id: str, wanted: str
) -> None:
    """Its template's is not empty, and nothing is installed on the other before a person has mended that (G01)."""
    twin = replace(WORKER, **{"joined": False, **other})
    known = {RAN: "" if not machine_id else "a" * 32, twin: machine_id}
    bulk = {scopes.guest(one): seen(facts(one, prepared="", machine_id=text)) for one, text in known.items()}

    decided = prepare(case(RAN, view(ONE, rows=[RAN, twin], bulk=bulk)))

    assert wanted == said(decided)
    if wanted == "MachineIdShared":
        assert decided is not None
        assert decided.wait is not None
        assert decided.wait.sentence == (
            f"{RAN.name} has the machine-id of {twin.name}: empty /etc/machine-id in template ubuntu, then delete VM 309"
        )


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (None, "GuestSilent"),
        ({"hostname": "ubuntu"}, "HostnameWrong"),
        ({"hostname": "lab-cp-9.lab.example"}, ""),
        ({"cloud_init": "running"}, "CloudInit"),
        ({"clock_skew": 31.0}, "ClockSkew"),
        ({"clock_skew": -31.0}, "ClockSkew"),
        ({"clock_skew": 29.0}, ""),
        ({"prepared": ""}, "prepare"),
        ({"prepared": "1 v1.33.0 Etc/UTC"}, "prepare"),
        ({}, ""),
    ],
)
def test_from_a_running_vm_to_a_prepared_machine(changed: dict[str, Any] | None, wanted: str) -> None:
    """Each thing that is not yet right is a wait; the baseline is the one step."""
    found = unknown() if changed is None else seen(facts(ROW, **changed))

    decided = prepare(case(RAN, view(ONE, rows=[RAN], bulk={scopes.guest(RAN): found})))

    assert wanted == said(decided)


PEERS = [member_row("u1", CP, 1), member_row("u2", CP, 2)]


def joining(one: Any, bulk: Mapping[Scope, Any], *, known: Mapping[str, Any] | None = None) -> Plan | None:
    """Return what is decided for a machine that has not joined a cluster of two control planes."""
    rows = [*PEERS, one]
    known = identity() if known is None else known
    found = {**alive(PEERS, ONE), scopes.guest(one): seen(facts(one)), scopes.node(NAME, one.name): seen(None), **bulk}
    return member(case(one, view(ONE, rows=rows, known=known, bulk=found)))


def own_member(*, learner: bool = False, started: bool = True) -> dict[Scope, Any]:
    """Return the members with the row's own one among them."""
    found = members(*PEERS, RAN)
    own = replace(found.members[2], learner=learner, started=started)
    return {scopes.etcd(NAME): seen(replace(found, members=(*found.members[:2], own)))}


DIRTY = {scopes.guest(RAN): seen(facts(RAN, etcd_data=True))}
OWN_NODE = {scopes.node(NAME, RAN.name): seen(node(RAN))}
JOINED = {scopes.guest(RAN): seen(facts(RAN, kubelet_conf=True, etcd_data=True))}


def stale(one: Machine, **changes: Any) -> dict[Scope, Any]:
    """Return the Node that another machine has under a row's name."""
    return {scopes.node(NAME, one.name): seen(node(one, system_uuid="another", **changes))}


LEFT = {"ready": "Unknown", "since": NOW - 301.0}
OWN_WORKER = {scopes.node(NAME, WORKER.name): seen(node(WORKER))}
ETCD, API = scopes.etcd(NAME), scopes.api(NAME)


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({}, "join"),
        ({scopes.guest(RAN): unknown()}, "GuestSilent"),
        ({API: unknown()}, "ApiUnavailable"),
        ({API: seen(Api(ready=False, version=""))}, "ApiUnavailable"),
        ({ETCD: unknown()}, "EtcdUnknown"),
        ({ETCD: seen(members(*PEERS, sick=[PEERS[0]]))}, "EtcdUnhealthy"),
        ({ETCD: seen(members(*PEERS, sick=PEERS))}, "EtcdUnhealthy"),
        (stale(RAN), "NameTaken"),
        (stale(RAN, ready="Unknown", since=NOW - 299.0), "NameTaken"),
        (stale(RAN, **LEFT), "delete-node"),
        (DIRTY, "kubeadm-reset"),
        ({**DIRTY, **OWN_NODE}, "delete-node"),
        ({**DIRTY, **own_member(learner=True)}, "etcd-remove"),
        ({**DIRTY, **own_member(started=False)}, "etcd-remove"),
        ({**DIRTY, **own_member()}, "etcd-remove"),
        (own_member(learner=True), "etcd-remove"),
        ({**OWN_NODE, **own_member(learner=True)}, "etcd-remove"),
        ({**JOINED, **OWN_NODE, **own_member()}, "mark-joined"),
        ({**OWN_NODE, **own_member()}, "etcd-remove"),
        (OWN_NODE, "delete-node"),
    ],
)
def test_from_a_prepared_machine_to_a_control_plane(bulk: Mapping[Scope, Any], wanted: str) -> None:
    """The member goes before the reset, the stale Node before the join; every voter has to be healthy."""
    assert wanted == said(joining(RAN, bulk))


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({}, "join"),
        ({ETCD: unknown()}, "EtcdUnknown"),
        ({ETCD: seen(members(*PEERS, sick=[PEERS[0]]))}, "join"),
        ({scopes.guest(WORKER): seen(facts(WORKER, kubelet_conf=True))}, "kubeadm-reset"),
        ({scopes.node(NAME, WORKER.name): seen(node(WORKER))}, "delete-node"),
        ({**OWN_WORKER, scopes.guest(WORKER): seen(facts(WORKER, kubelet_conf=True))}, "mark-joined"),
        (stale(WORKER), "NameTaken"),
        (stale(WORKER, **LEFT), "delete-node"),
    ],
)
def test_from_a_prepared_machine_to_a_worker(bulk: Mapping[Scope, Any], wanted: str) -> None:
    """A worker needs one healthy peer that mints its token."""
    assert wanted == said(joining(WORKER, bulk))


@pytest.mark.parametrize("one", [RAN, WORKER])
def test_a_join_waits_for_etcds_members_and_says_why(one: Any) -> None:
    """With the words of whoever refused to list them (`failures.md` S07)."""
    plan = joining(one, {ETCD: unknown("the key is refused for root")})

    assert plan is not None
    assert plan.wait is not None
    assert plan.wait.sentence == f"{one.name} waits: etcd's members cannot be listed now: the key is refused for root"


def test_a_join_is_woken_by_the_first_member() -> None:
    """Until there is one nobody mints a token, and etcd's list has changed before it is remembered."""
    first = replace(PEERS[0], joined=False)
    found = {
        **alive([first], ONE),
        scopes.guest(WORKER): seen(facts(WORKER)),
        scopes.node(NAME, WORKER.name): seen(None),
    }
    plan = member(case(WORKER, view(ONE, rows=[first, WORKER], known=identity(), bulk=found)))

    assert said(plan) == "ControlPlaneInitializing"
    assert plan is not None
    assert plan.wait is not None
    assert (membership(NAME),) == plan.wait.on


def test_before_there_is_a_cluster_only_the_elected_machine_begins() -> None:
    """All others wait for the identity, which wakes them; a control plane that may be one already is waited for."""
    bare = {scopes.guest(one): seen(facts(one)) for one in PEERS}
    elected = joining(RAN, bare, known={f"elected/{NAME}": "u9"})
    silent = joining(RAN, {**bare, scopes.guest(PEERS[0]): unknown()}, known={f"elected/{NAME}": "u9"})
    traces = {scopes.guest(PEERS[0]): seen(facts(PEERS[0], etcd_data=True))}
    twice = joining(RAN, {**bare, **traces}, known={f"elected/{NAME}": "u9"})
    other = joining(WORKER, {}, known={f"elected/{NAME}": "u9"})

    assert ("init", "ControlPlaneInitializing") == (said(elected), said(other))
    assert ("ControlPlaneUnclear", "ControlPlaneUnclear") == (said(silent), said(twice))
    assert other is not None
    assert other.wait is not None
    assert (f"fact:identity/{NAME}",) == other.wait.on


BEGIN = {f"elected/{NAME}": "u9"}
ENDPOINT = scopes.endpoint(NAME)
ALONE = {scopes.guest(one): seen(facts(one)) for one in PEERS}
CLAIMS = scopes.claims(SITE)


@pytest.mark.parametrize(
    ("bulk", "wanted"),
    [
        ({}, "init"),
        ({ENDPOINT: unknown()}, "EndpointUnknown"),
        ({ENDPOINT: seen(value=True)}, "EndpointTaken"),
        ({ENDPOINT: seen(value=True), scopes.guest(RAN): seen(facts(RAN, admin_conf=True))}, "init"),
        ({CLAIMS: unknown()}, "ControlPlaneUnclear"),
        ({CLAIMS: seen((Claim("inst", NAME, Uid("x"), "pve1", 340, {}),))}, "ControlPlaneUnclear"),
        ({CLAIMS: seen((Claim("inst", "other", Uid("x"), "pve1", 340, {}),))}, "init"),
    ],
)
def test_a_cluster_is_begun_only_where_none_can_be(bulk: Mapping[Scope, Any], wanted: str) -> None:
    """Nobody at the endpoint but a half-made control plane of ours, and no machine with our marks that no row knows."""
    assert wanted == said(joining(RAN, {**ALONE, **bulk}, known=BEGIN))


def test_behind_a_load_balancer_the_endpoint_tells_nothing() -> None:
    """It takes connections whoever stands behind it."""
    endpoint = replace(ONE.endpoint, provider="external")
    one = replace(ONE, endpoint=endpoint)
    bulk = {ENDPOINT: seen(value=True), scopes.guest(RAN): seen(facts(RAN))}

    assert "init" == said(member(case(RAN, view(one, rows=[RAN], known=BEGIN, bulk=bulk))))


def tried(failed: int, **attempt: Any) -> Any:
    """Return what the elected machine does after so many failed inits."""
    kept = {"uid": "u9", "sans": ["first.example"], "failed": failed, **attempt}
    half = {scopes.guest(RAN): seen(facts(RAN, admin_conf=True))}
    return step(joining(RAN, {**ALONE, **half}, known={**BEGIN, f"init/{NAME}": kept}))


def test_a_repeated_init_is_given_the_names_of_the_first() -> None:
    """Rows come and go: kubeadm refuses a certificate that lacks a name of the new configuration, for ever."""
    again, another = tried(1), tried(1, uid="u1")

    assert isinstance(again, effects.Init)
    assert isinstance(another, effects.Init)
    assert "first.example" in again.given["config"]
    assert "first.example" not in another.given["config"]
    whole = view(ONE, rows=[RAN])
    kept = [whole.with_ledger(one.changes(whole)).facts[f"init/{NAME}"] for one in (again, another)]
    assert [("u9", 1, ["first.example"]), ("u9", 0, kubeadm.sans(view(ONE, rows=[*PEERS, RAN]), ONE))] == [
        (one["uid"], one["failed"], one["sans"]) for one in kept
    ]


def test_an_init_that_fails_over_what_it_left_is_begun_anew() -> None:
    """`design.md` 5: repeated over what is there, else reset; nobody can have joined what never was a cluster."""
    decided = [tried(failed) for failed in (0, 1, 2)]

    assert ["init", "init", "kubeadm-reset"] == [one.verb for one in decided]
    assert all(guard(decided[2], view(ONE, rows=[RAN], known=BEGIN)) is None for guard in GUARDS)


def test_who_has_joined_is_left_alone() -> None:
    """Even when nothing of the cluster can be seen."""
    one = member_row("u9", CP, 9)

    assert member(case(one, view(ONE, rows=[one], known=identity()))) is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "u1"),
        ({"u1": {"retire": "old"}}, "u2"),
        ({"u1": {"joined": False}}, "u2"),
        ({"u1": {"retire": "old"}, "u2": {"retire": "old"}}, "u1"),
        ({"u1": {"joined": False}, "u2": {"joined": False}}, None),
    ],
)
def test_the_peer_is_a_healthy_joined_control_plane_preferably_one_that_stays(
    changes: dict[str, dict[str, Any]], wanted: str | None
) -> None:
    """It speaks for the cluster; the machine itself never does."""
    rows = [replace(one, **changes.get(one.uid, {})) for one in PEERS]
    whole = view(ONE, rows=[*rows, RAN], known=identity(), bulk=alive(PEERS, ONE))

    found = peer(case(RAN, whole))

    assert wanted == (found.uid if found else None)


@pytest.mark.parametrize(("held", "wanted"), [([0], "u2"), ([0, 1], "u1")])
def test_a_peer_that_is_being_restarted_is_asked_only_where_there_is_no_other(held: list[int], wanted: str) -> None:
    """It would cut off the join that it mints the secrets for."""
    holds = [hold(PEERS[number], id_=f"hold-{number}") for number in held]
    whole = view(ONE, rows=[*PEERS, RAN], ops=holds, known=identity(), bulk=alive(PEERS, ONE))

    found = peer(case(RAN, whole))

    assert found is not None
    assert wanted == found.uid


def test_an_unhealthy_member_or_a_learner_is_no_peer() -> None:
    """It cannot answer linearizably."""
    listed = members(*PEERS, sick=[PEERS[0]])
    learner = replace(listed.members[1], learner=True)
    bulk = {**alive(PEERS, ONE), ETCD: seen(replace(listed, members=(listed.members[0], learner)))}

    assert peer(case(RAN, view(ONE, rows=[*PEERS, RAN], known=identity(), bulk=bulk))) is None
