"""What stands already holds the next spec: fields that cannot change, the reserved endpoint, and names."""

from dataclasses import replace

import pytest

from cpcd.model.desired import Desired
from cpcd.model.keys import Key, Kind, OpId, Role, Scope, Uid, Wall
from cpcd.model.ledger import Ledger, Machine, Op, PutFact
from cpcd.spec import read_spec
from cpcd.spec.standing import compile_beside, remembered

POOL = "10.10.10.110-10.10.10.139"
ROW = Machine(
    uid=Uid("u1"), cluster="home", role=Role.CONTROL_PLANE, group="control-plane", index=1, name="home-cp-1",
    site="pve.home.arpa", node="pve1", vmid=10_000, address="10.10.10.111", template=9000, template_node="pve1",
    revision="r", created=Wall(0),
)  # fmt: skip


def compiled(text: str, ledger: Ledger) -> tuple[Desired, list[str]]:
    """Return what a file wants beside a ledger, and what stands against it."""
    reading = read_spec({"c.yaml": text.encode()})
    assert reading.mistakes == ()
    desired, mistakes = compile_beside(reading, ledger, operator_key="ssh-ed25519 AAAA")
    return desired, [str(mistake) for mistake in mistakes]


def begun(text: str, *rows: Machine, identity: bool = False) -> Ledger:
    """Return a ledger in which the file's cluster has been put in force and has these machines."""
    facts = {fact.name: fact.value for fact in remembered(compiled(text, Ledger())[0], Ledger())}
    facts |= {"identity/home": {"ca_hash": "x"}} if identity else {}
    return Ledger({row.uid: row for row in rows}, {}, facts)


def another(valid: str, pool: str = "10.10.10.150-10.10.10.169", more: str = "") -> str:
    """Return the file under another name, with a pool."""
    return valid.replace("{name: home}", "{name: prod}").replace(POOL, pool) + more


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("v1.34.2", "v1.34.3", "5:12: spec.version: is v1.34.2 and cannot become v1.34.3: upgrades are not supported yet"),
        (
            "pve.home.arpa:8006", "other:8006",
            "8:7: spec.infrastructure.proxmox: is pve.home.arpa and cannot become other: it cannot change after creation",
        ),
        (
            "prefix: 24", "prefix: 25",
            "10:68: spec.infrastructure.proxmox.ipv4Config.prefix: is 24 and cannot become 25: it cannot change after creation",
        ),
        (
            "controlPlane:", "controlPlaneEndpoint: {port: 7443}\n  controlPlane:",
            ("11:25: spec.controlPlaneEndpoint: is 10.10.10.110:6443 (kube-vip) and cannot become 10.10.10.110:7443 "
            "(kube-vip): it cannot change after creation"),
        ),
    ],
)  # fmt: skip
def test_what_cannot_change_is_a_mistake_with_its_place(valid: str, old: str, new: str, said: str) -> None:
    """Old and new value, where the new one stands; and only once there are machines."""
    edited = valid.replace(old, new).replace(POOL, "10.10.10.110-10.10.10.119")

    assert [f"c.yaml:{said}"] == compiled(edited, begun(valid, ROW))[1]
    assert [f"c.yaml:{said}"] == compiled(edited, begun(valid, identity=True))[1]
    assert [] == compiled(edited, begun(valid))[1]


def test_what_kubeadm_is_told_more_is_held_from_the_init_on_and_never_shown(valid: str) -> None:
    """Until then a mistake in it can be mended; and arguments may hold secrets."""
    added = "kubeadmConfigSpec: {clusterConfiguration: {apiServer: {extraArgs: [{name: v, value: hunter2}]}}}"
    edited = valid.replace("controlPlane: {", f"controlPlane: {{{added}, ")
    before, _ = compiled(edited, Ledger())
    machines, recovered = begun(valid, ROW), begun(valid, ROW, identity=True)
    made = replace(recovered, facts={**recovered.facts, "kubeadm/home": {}})
    known = replace(made, facts={**made.facts, "kubeadm/home": before.clusters["home"].additions})
    init = Op(OpId("o1"), Key("home", Kind.MACHINE, "u1"), "init", Scope("guest", "home", "u1"), Wall(0))
    runs = replace(machines, facts={**machines.facts, "kubeadm/home": {}}, ops={init.id: init})

    place = "c.yaml:11:72: spec.controlPlane.kubeadmConfigSpec.clusterConfiguration.apiServer:"
    other = f"{place} cannot change: the cluster was initialised with another"
    assert [] == compiled(edited, machines)[1] == compiled(edited, recovered)[1] == compiled(edited, known)[1]
    assert [other] == compiled(edited, made)[1]
    assert [other] == [one.replace("11:3:", "11:72:") for one in compiled(valid, known)[1]]
    assert [f"{place} is read by an init that runs: wait for its end"] == compiled(edited, runs)[1]


@pytest.mark.parametrize(
    "pool", ["10.10.10.100-10.10.10.139", "10.10.10.120-10.10.10.139, 10.10.10.110-10.10.10.119", "10.10.10.112-10.10.10.139"]
)  # fmt: skip
def test_a_reserved_endpoint_outlives_every_edit_of_the_pool(valid: str, pool: str) -> None:
    """Re-ordered, lengthened at its beginning, or without it: the file does not write it, so it is no edit of it."""
    desired, mistakes = compiled(valid.replace(POOL, pool), begun(valid, ROW))

    assert ("10.10.10.110", []) == (desired.clusters["home"].endpoint.host, mistakes)
    assert "10.10.10.110" == compiled(valid, begun(valid, ROW))[0].clusters["home"].endpoint.host
    assert (
        compiled(valid.replace(POOL, pool), Ledger())[0].clusters["home"].endpoint.host
        == pool.split("-", maxsplit=1)[0]
    )


def test_what_cannot_change_is_remembered_as_it_was_at_the_first_machine(valid: str) -> None:
    """Until then the file may say something else, and what it says last counts."""
    desired, _ = compiled(valid, Ledger())

    assert ["fixed/home"] == [fact.name for fact in remembered(desired, begun(valid))]
    assert () == remembered(desired, begun(valid, ROW))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ({"pool": POOL}, "the endpoint 10.10.10.110"),
        ({"more": "  controlPlaneEndpoint: {host: 10.10.10.110}\n"}, "the endpoint 10.10.10.110"),
        ({"pool": "10.10.10.111-10.10.10.139"}, "10.10.10.111 (home-cp-1)"),
        ({"more": "  controlPlaneEndpoint: {host: 10.10.10.111}\n"}, "10.10.10.111 (home-cp-1)"),
    ],
)
def test_a_rename_is_never_a_delete_and_a_create(valid: str, text: dict[str, str], taken: str) -> None:
    """Whatever the new name would take of the old one's machines; a second cluster on one address breaks the first."""
    (said,) = compiled(another(valid, **text), begun(valid, ROW))[1]

    assert said == (
        f"c.yaml:3:18: metadata.name: home became prod: a name cannot change; home has {taken}, which prod would take; "
        "call it home, or give prod an endpoint, addresses and VMIDs of its own"
    )


def test_a_rename_is_known_by_a_written_range_of_vmids_too(valid: str) -> None:
    """The default range may be shared: there, what is used is left out."""
    written = another(valid).replace("url:", "vmIDRange: {start: 10000, end: 10099}\n      url:")

    assert [] == compiled(another(valid), begun(valid, ROW))[1]
    assert "VMID 10000 (home-cp-1)" in compiled(written, begun(valid, ROW))[1][0]


def test_a_rename_is_known_by_the_endpoint_alone(valid: str) -> None:
    """While no machine has a row any more, the cluster's identity says that there was one."""
    assert "the endpoint 10.10.10.110" in compiled(another(valid, POOL), begun(valid, identity=True))[1][0]


def test_a_new_cluster_beside_a_kept_one_is_welcome(valid: str) -> None:
    """With addresses of its own, on another Proxmox, beside its document, or where nothing was made yet."""
    elsewhere = another(valid, POOL).replace("pve.home", "pve.work")
    beside = f"{valid}---\n{another(valid)}"

    assert [[]] * 4 == [
        compiled(another(valid), begun(valid, ROW))[1],
        compiled(elsewhere, begun(valid, ROW))[1],
        compiled(beside, begun(valid, ROW))[1],
        compiled(another(valid, POOL), begun(valid))[1],
    ]


def test_a_kept_cluster_may_come_back(valid: str) -> None:
    """Its name is its own, and what it was made with still counts."""
    ledger = begun(valid, ROW).after((PutFact("paused/home", 1.0),))

    assert [] == compiled(valid, ledger)[1]
    assert 1 == len(compiled(valid.replace("v1.34.2", "v1.35.0"), ledger)[1])
    assert {"home"} == ledger.begun == begun(valid, replace(ROW, retire="gone")).begun
