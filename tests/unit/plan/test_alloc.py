"""Allocation: lowest free first, nothing used twice, spread over failure domains."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import Desired, TemplateRef
from cpcd.model.keys import Wall
from cpcd.model.ledger import DropMachine, Machine, PutFact, PutMachine
from cpcd.model.seen import Resource
from cpcd.model.view import View
from cpcd.plan import alloc, effects, scopes
from cpcd.plan.case import machine_key
from cpcd.plan.fleet import AddMachine, fleet
from tests.unit.plan import build
from tests.unit.plan.build import CP, KEY, NAME, NOW, SITE, WORKERS, cluster, group, row, seen, view

ONE = cluster(group(CP, 3), group(WORKERS, 3))


def other_vm(vmid: int) -> Resource:
    """Return somebody's VM."""
    return Resource(vmid, "pve1", "theirs", "running", template=False, tags=(), lock="")


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (view(ONE), 300),
        (view(ONE, rows=[row("u1", number=1)]), 300),
        (view(ONE, rows=[row("u1", vmid=300), row("u2", vmid=302)]), 301),
        (view(ONE, bulk={scopes.resources(SITE): seen({300: other_vm(300)})}), 301),
        (view(ONE, known={f"vmid/{SITE}/300": NOW + 1}), 301),
        (view(ONE, known={f"vmid/{SITE}/300": NOW - 1}), 300),
        (view(ONE, known={f"vmid/{SITE}/300": None}), 301),
        (view(ONE, known={"vmid/elsewhere/300": None}), 300),
        (view(ONE, rows=[row("u1", vmid=300, cluster="another")]), 301),
        (view(ONE, rows=[row("u1", vmid=300, site="elsewhere")]), 300),
    ],
)
def test_the_lowest_vmid_that_nobody_has_is_taken(whole: View, wanted: int) -> None:
    """Rows of every cluster, anybody's VMs, cool-downs and quarantine of this Proxmox count."""
    assert wanted == alloc.vmid(whole, ONE)


def test_a_full_range_gives_no_vmid() -> None:
    """None, never one outside of the range; its last one is in it."""
    narrow = cluster(infrastructure=build.infrastructure(vmid_start=300, vmid_end=301))

    assert 301 == alloc.vmid(view(narrow, rows=[row("u1", vmid=300)]), narrow)
    assert alloc.vmid(view(narrow, rows=[row("u1", vmid=300), row("u2", vmid=301)]), narrow) is None


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (view(ONE), "10.0.0.10"),
        (view(ONE, rows=[row("u1", address="10.0.0.10"), row("u2", address="10.0.0.12")]), "10.0.0.11"),
        (view(ONE, rows=[row("u1", address="10.0.0.10", cluster="another")]), "10.0.0.11"),
        (view(ONE, known={f"address/{SITE}/10.0.0.10": NOW + 1}), "10.0.0.11"),
        (view(ONE, known={f"address/{SITE}/10.0.0.10": NOW - 1}), "10.0.0.10"),
    ],
)
def test_the_lowest_address_that_nobody_has_is_taken(whole: View, wanted: str) -> None:
    """Like VMIDs, by Proxmox."""
    assert wanted == alloc.address(whole, ONE)


@pytest.mark.parametrize(
    ("whole", "wanted"),
    [
        (view(ONE, rows=[row("u1")]), False),
        (view(ONE, rows=[row("u1", retire="old")]), True),
        (view(ONE, rows=[row("u1", retire="old", cluster="another")]), True),
        (view(ONE, rows=[row("u1", retire="old", site="elsewhere")]), False),
        (view(ONE, known={f"address/{SITE}/10.0.0.10": NOW + 1}), True),
        (view(ONE, known={f"vmid/{SITE}/300": NOW + 1}), True),
        (view(ONE, known={f"vmid/{SITE}/300": NOW}), False),
        (view(ONE, known={f"vmid/{SITE}/300": None}), False),
        (view(ONE, known={"vmid/elsewhere/300": NOW + 1}), False),
    ],
)
def test_who_finds_no_number_waits_for_what_comes_free_by_itself(whole: View, wanted: bool) -> None:
    """A machine that leaves, or one that has left and cools down, of this Proxmox; a quarantine never ends so."""
    assert wanted == alloc.freeing(whole, ONE)


def test_endpoints_and_the_gateway_are_never_given_to_a_machine() -> None:
    """Of no cluster: the pool may hold them."""
    pool = build.infrastructure(addresses=("10.0.0.1", "10.0.0.5", "10.0.0.6", "10.0.0.7"))
    mine = cluster(infrastructure=pool)
    theirs = cluster(name="theirs", endpoint=replace(mine.endpoint, host="10.0.0.6"))
    whole = replace(view(mine), desired=Desired({NAME: mine, "theirs": theirs}))

    assert "10.0.0.7" == alloc.address(whole, mine)


def test_the_endpoint_of_a_cluster_without_a_document_is_given_to_no_machine() -> None:
    """Its machines are kept and serve it; one that never had any has no endpoint either."""
    mine = cluster(infrastructure=build.infrastructure(addresses=("10.0.0.6", "10.0.0.7")))
    fixed = {f"fixed/{name}": {"controlPlaneEndpoint": f"{host}:6443 (kube-vip)"}
             for name, host in (("gone", "10.0.0.6"), ("dreamt", "10.0.0.7"))}  # fmt: skip
    kept = view(mine, rows=[row("u9", cluster="gone", address="10.0.0.99")], known=fixed)

    assert "10.0.0.7" == alloc.address(kept, mine)
    assert "10.0.0.6" == alloc.address(view(mine, known=fixed), mine)


def test_indexes_fill_the_gaps_of_their_group() -> None:
    """A machine on its way out still has its index, and so its name."""
    rows = [row("u1", WORKERS, 1), row("u2", WORKERS, 3), row("u3", CP, 2), row("u4", WORKERS, 2, retire="old")]

    assert 4 == alloc.index(view(ONE, rows=rows), ONE, ONE.groups[1])


@pytest.mark.parametrize(
    ("name", "pattern", "wanted"),
    [
        (CP, "{cluster}-{role}-{index}", "lab-cp-7"),
        (WORKERS, "{cluster}-{role}-{index}", "lab-general-7"),
        (WORKERS, "{role}{index}.{cluster}", "general7.lab"),
    ],
)
def test_host_names_follow_the_pattern(name: str, pattern: str, wanted: str) -> None:
    """`naming.hostname` with its three fields."""
    assert wanted == alloc.hostname(cluster(hostname=pattern), group(name), 7)


def placed(*nodes: str, name: str = WORKERS, **changes: str) -> list[Machine]:
    """Return rows of a group on these nodes."""
    return [row(f"p{n}", name, n + 1, node=node, **changes) for n, node in enumerate(nodes)]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([], "pve1"),
        (placed("pve1"), "pve2"),
        (placed("pve1", "pve2"), "pve3"),
        (placed("pve1", "pve2", "pve3"), "pve1"),
        (placed("pve1", retire="old"), "pve1"),
        (placed("pve1", name=CP), "pve2"),
        (placed("pve2", "pve3", "pve3", name=CP), "pve1"),
    ],
)
def test_machines_go_to_the_emptiest_failure_domain(rows: list[Machine], wanted: str) -> None:
    """Its own group counts first, then everybody; what is to go does not count."""
    assert wanted == alloc.node(view(ONE, rows=rows), ONE, ONE.groups[1])


def test_offline_nodes_get_nothing() -> None:
    """Their domain is skipped."""
    whole = view(ONE, bulk=build.site(online=["pve2", "pve3"]))

    assert "pve2" == alloc.node(whole, ONE, ONE.groups[1])


def test_a_pinned_group_stays_in_its_domain() -> None:
    """Even when that is fuller, and not at all when it is offline."""
    pinned = group(WORKERS, 3, failure_domain="b")
    full = view(ONE, rows=placed("pve2", "pve2"))

    assert "pve2" == alloc.node(full, ONE, pinned)
    assert alloc.node(view(ONE, bulk=build.site(online=["pve1"])), ONE, pinned) is None


def test_without_domains_the_emptiest_online_node_is_taken() -> None:
    """All online nodes, or those that are allowed."""
    free = cluster(infrastructure=build.infrastructure(zones={}))
    strict = cluster(infrastructure=build.infrastructure(zones={}, allowed_nodes=("pve3", "pve2")))

    assert "pve3" == alloc.node(view(free, rows=placed("pve1", "pve2", name=CP)), free, group(WORKERS))
    assert "pve2" == alloc.node(view(strict), strict, group(WORKERS))


def test_nothing_is_placed_while_the_site_is_unknown() -> None:
    """Unknown is not an empty Proxmox."""
    whole = view(ONE, bulk={scopes.quorum(SITE): build.unknown()})

    assert alloc.node(whole, ONE, ONE.groups[1]) is None


def copy(vmid: int, node: str, *, shared: bool = False) -> Resource:
    """Return one copy of the template."""
    return Resource(vmid, node, "ubuntu", "stopped", template=True, tags=("gold",), lock="", shared=shared)


@pytest.mark.parametrize(
    ("copies", "wanted"),
    [
        ((copy(9000, "pve1"), copy(9002, "pve2")), 9002),
        ((copy(9000, "pve1"),), None),
        ((copy(9000, "pve1", shared=True),), 9000),
        ((copy(9000, "pve1", shared=True), copy(9002, "pve2")), 9002),
        ((), None),
    ],
)
def test_a_machine_is_cloned_from_its_nodes_own_copy_or_a_shared_one(
    copies: tuple[Resource, ...], wanted: int | None
) -> None:
    """Local disks cannot be cloned to another node (`failures.md` P12)."""
    tagged = cluster(group(CP, 3, machine=build.spec(template=TemplateRef("ubuntu", tags=("gold",)))))
    whole = view(tagged, bulk={scopes.template(SITE, "ubuntu"): seen(copies)})

    found = alloc.template_copy(whole, tagged, tagged.groups[0], "pve2")

    assert wanted == (found.vmid if found else None)


def test_what_was_read_of_another_reference_is_not_cloned() -> None:
    """An edit that names another template may come between the look at the old one and the decision."""
    edited = cluster(group(CP, 3, machine=build.spec(template=TemplateRef("ubuntu", vmid=9005))))

    assert alloc.template_copy(view(edited), edited, edited.groups[0], "pve1") is None


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 6)),
        st.tuples(st.just("forget"), st.integers(0, 10)),
        st.tuples(st.just("time"), st.sampled_from((1.0, 300.0, 700.0))),
        st.tuples(st.just("quarantine"), st.integers(300, 310)),
        st.tuples(st.just("stranger"), st.integers(300, 310)),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(MOVES)
def test_no_two_rows_ever_share_a_vmid_an_address_or_a_name(moves: list[tuple[str, float]]) -> None:
    """However machines come and go; and what was used cools down or stays retired."""
    whole = view(cluster(group(CP, 1), group(WORKERS, 3)))
    used: dict[object, float] = {}
    for turn, (what, number) in enumerate(moves):
        whole = _move(whole, what, number, used)
        for _ in range(8):
            whole = _grow(whole, turn, used)
        _check(whole)


def _move(whole: View, what: str, number: float, used: dict[object, float]) -> View:
    match what:
        case "scale":
            wanted = cluster(group(CP, 1), group(WORKERS, int(number)))
            return replace(whole, desired=Desired({NAME: wanted}))
        case "time":
            return replace(whole, wall=Wall(whole.wall + number))
        case "quarantine":
            used[int(number)] = float("inf")
            return whole.with_ledger((PutFact(f"vmid/{SITE}/{int(number)}", None),))
        case "stranger":
            strangers = {**whole.known(scopes.resources(SITE)), int(number): other_vm(int(number))}
            return effects.see(whole, scopes.resources(SITE), strangers)
    rows = whole.rows(NAME)
    if not rows:
        return whole
    gone = rows[int(number) % len(rows)]
    used |= {gone.vmid: whole.wall + effects.COOL_DOWN, gone.address: whole.wall + effects.COOL_DOWN}
    return whole.with_ledger(effects.Forget(key=machine_key(gone), row=gone).changes(whole))


def _grow(whole: View, turn: int, used: dict[object, float]) -> View:
    """Add the next machine, if one is wanted; surplus ones just go."""
    wanted = whole.desired.clusters[NAME]
    number = len(whole.machines)
    decided = fleet(KEY, replace(whole, fresh=(f"t{turn}-{number}",)), wanted)
    for action in decided.steps:
        if not isinstance(action, AddMachine):
            surplus = getattr(action, "row", None)
            return (
                whole if surplus is None or action.verb != "retire" else whole.with_ledger((DropMachine(surplus.uid),))
            )
        assert (True, True) == (
            used.get(action.row.vmid, 0) <= whole.wall, used.get(action.row.address, 0) <= whole.wall,
        )  # fmt: skip
        assert action.row.vmid not in whole.known(scopes.resources(SITE))
        return whole.with_ledger((PutMachine(action.row),))
    return whole


def _check(whole: View) -> None:
    rows = list(whole.machines.values())
    for values in ([r.vmid for r in rows], [r.address for r in rows], [r.name for r in rows]):
        assert len(values) == len(set(values))
