"""Allocation against a naive model: two clusters on one Proxmox, a third on another, and everything that can be taken."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cpcd.model.desired import Cluster, Desired
from cpcd.model.ledger import Machine
from cpcd.model.seen import Resource
from cpcd.model.view import View
from cpcd.plan import alloc, scopes
from tests.unit.plan import build
from tests.unit.plan.build import NOW, SITE, cluster, row, seen, view

VMIDS = range(300, 308)
ADDRESSES = tuple(f"10.0.0.{n}" for n in (12, 10, 11, 13, 5, 14))  # in the order of the file, the endpoint's among them
POOL = build.infrastructure(vmid_start=VMIDS[0], vmid_end=VMIDS[-1], addresses=ADDRESSES)
MINE = cluster(infrastructure=POOL)
BESIDE = cluster(name="beside", infrastructure=POOL, endpoint=replace(MINE.endpoint, host="10.0.0.13"))
AWAY = cluster(
    name="away", infrastructure=replace(POOL, site="elsewhere"), endpoint=replace(MINE.endpoint, host="10.9.9.9")
)
OWNERS = {"lab": MINE, "beside": BESIDE, "away": AWAY}

ROWS = st.lists(
    st.tuples(st.sampled_from(list(OWNERS)), st.sampled_from(VMIDS), st.sampled_from(ADDRESSES), st.sampled_from(("", "old"))),
    max_size=6,
)  # fmt: skip
FOREIGN = st.sets(st.sampled_from(VMIDS), max_size=4)
UNTIL = st.sampled_from((None, NOW - 1, NOW, NOW + 1))  # quarantined, cooled down, just so, cooling down
COOLING = st.dictionaries(
    st.tuples(st.sampled_from((SITE, "elsewhere")), st.sampled_from((*VMIDS, *ADDRESSES))), UNTIL, max_size=6
)


def world(
    rows: list[tuple[str, int, str, str]], foreign: set[int], cooling: dict[tuple[str, object], float | None]
) -> View:
    """Return the view of these rows, other people's VMs and retired numbers."""
    known = {
        f"{'vmid' if isinstance(number, int) else 'address'}/{site}/{number}": until
        for (site, number), until in cooling.items()
    }
    theirs = {n: Resource(n, "pve1", "theirs", "running", template=False, tags=(), lock="") for n in foreign}
    made = [machine(number, *one) for number, one in enumerate(rows)]
    whole = view(MINE, rows=made, known=known, bulk={scopes.resources(SITE): seen(theirs)})
    return replace(whole, desired=Desired(dict(OWNERS)))


def machine(number: int, owner: str, vmid: int, address: str, retire: str) -> Machine:
    """Return a row of one of the clusters."""
    site = OWNERS[owner].infrastructure.site
    return row(f"m{number}", cluster=owner, site=site, vmid=vmid, address=address, retire=retire)


def retired(cooling: dict[tuple[str, object], float | None], site: str) -> set[object]:
    """Return the numbers of a Proxmox that are quarantined or still cool down."""
    return {number for (where, number), until in cooling.items() if where == site and (until is None or until > NOW)}


@given(ROWS, FOREIGN, COOLING)
def test_vmids_are_the_lowest_that_nobody_on_the_proxmox_has_had_lately(
    rows: list[tuple[str, int, str, str]], foreign: set[int], cooling: dict[tuple[str, object], float | None]
) -> None:
    """Whichever of its clusters asks, the answer is the same; another Proxmox has numbers of its own."""
    whole = world(rows, foreign, cooling)

    used = {vmid for owner, vmid, _, _ in rows if owner != "away"} | foreign | retired(cooling, SITE)
    lowest = min(set(VMIDS) - used, default=None)
    away = {vmid for owner, vmid, _, _ in rows if owner == "away"} | retired(cooling, "elsewhere")
    assert [lowest, lowest] == [alloc.vmid(whole, MINE), alloc.vmid(whole, BESIDE)]
    assert min(set(VMIDS) - away, default=None) == alloc.vmid(whole, AWAY)


@given(ROWS, COOLING)
def test_addresses_are_the_first_of_the_pool_that_nobody_on_the_proxmox_has(
    rows: list[tuple[str, int, str, str]], cooling: dict[tuple[str, object], float | None]
) -> None:
    """No cluster's endpoint, no machine's, none that cools down; in the order of the file."""
    whole = world(rows, set(), cooling)

    for one in (MINE, BESIDE):
        used = {address for owner, _, address, _ in rows if owner != "away"} | retired(cooling, SITE)
        used |= {"10.0.0.5", "10.0.0.13"}
        assert next((ip for ip in ADDRESSES if ip not in used), None) == alloc.address(whole, one)


@given(st.sets(st.integers(1, 9), max_size=8), st.sets(st.integers(1, 9), max_size=3))
def test_indexes_are_the_lowest_that_no_row_of_the_group_has(own: set[int], others: set[int]) -> None:
    """Those on their way out count, those of other groups and clusters do not."""
    wanted: Cluster = cluster(build.group(build.CP, 1), build.group(build.WORKERS, 3))
    rows = [row(f"w{n}", build.WORKERS, n, retire="old" if n % 2 else "") for n in own]
    rows += [row(f"c{n}", build.CP, n) for n in others] + [
        row(f"o{n}", build.WORKERS, n, cluster="beside") for n in others
    ]

    assert min(set(range(1, 11)) - own) == alloc.index(view(wanted, rows=rows), wanted, wanted.groups[1])
