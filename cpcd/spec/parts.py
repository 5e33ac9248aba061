"""What the fields of one part tell together: pools, zones, names, limits. A mistake here is one of that part's shape.

Such a rule is no validator of its model, which would not run where another field of the part is wrong: each says which
fields it looks at. What is wrong counts as gone for the checks after it (`checks.py`), so that nothing is told twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Final

from cpcd.model.keys import HEALTHY
from cpcd.spec.checks import Checked
from cpcd.spec.mistakes import Mistake, few
from cpcd.spec.paths import MACHINES, Path
from cpcd.spec.quantities import MAX_ADDRESSES
from cpcd.spec.schema import ClusterSpec, IPv4Config
from cpcd.spec.schema.common import Finding

__all__ = ["check_parts"]

_PROXMOX: Path = ("spec", "infrastructure", "proxmox")
_POOL: Path = (*_PROXMOX, "ipv4Config", "addresses")
_ZONES: Path = (*_PROXMOX, "availabilityZones")
_DEPLOYMENTS: Path = ("spec", "workers", "machineDeployments")
_CONDITIONS: Path = ("spec", "healthCheck", "unhealthyNodeConditions")
_LIMIT: Path = ("rollout", "strategy", "rollingUpdate", "maxSurge")


def check_parts(checked: Checked) -> tuple[Checked, list[Mistake]]:
    """Return the mistakes of a document's parts, and the document with these parts as gone."""
    rules = (rule for rule, looks in _RULES if checked.sound(looks))
    found = few(finding for rule in rules for finding in rule(checked.model.spec))
    mistakes = [checked.document.mistake(*finding) for finding in found]
    return replace(checked, gone=(*checked.gone, *(finding.path for finding in found))), mistakes


def _range(spec: ClusterSpec) -> Iterator[Finding]:
    vmids = spec.infrastructure.proxmox.vm_id_range
    if vmids.end < vmids.start:
        why = f"must not be below start ({vmids.start}), it is {vmids.end}"
        yield Finding((*_PROXMOX, "vmIDRange", "end"), why)


def _held(spec: ClusterSpec) -> Iterator[Finding]:
    """Sorted, since a pool may be thousands of single addresses, each of which would be compared with each."""
    pool = spec.infrastructure.proxmox.ipv4_config.addresses
    furthest = 0
    for count, at in enumerate(sorted(range(len(pool)), key=lambda at: pool[at].first)):
        # With the one that reaches furthest, which need not be the last: a short range may lie inside of a long one.
        if count and pool[at].overlaps(pool[furthest]):
            before, after = sorted((at, furthest))
            yield Finding((*_POOL, after), f"{pool[after]} overlaps {pool[before]}")
        if not count or pool[at].last > pool[furthest].last:
            furthest = at
    # Each by itself may be below the limit.
    if (held := sum(map(len, pool))) > MAX_ADDRESSES:
        yield Finding(_POOL, f"hold {held:,} addresses, at most {MAX_ADDRESSES:,} are used")


def _outside(spec: ClusterSpec) -> Iterator[Finding]:
    ipv4 = spec.infrastructure.proxmox.ipv4_config
    network = ipv4.network
    if ipv4.gateway in (network.network_address, network.broadcast_address):
        what = _reserved(ipv4)[ipv4.gateway]
        yield Finding((*_PROXMOX, "ipv4Config", "gateway"), f"{ipv4.gateway} is {what}", f"write a host of {network}")
    for at, pool in enumerate(ipv4.addresses):
        if pool.first not in network or pool.last not in network:
            why = f"{pool} is not inside {network}, the network of gateway {ipv4.gateway} with prefix {ipv4.prefix}"
            yield Finding((*_POOL, at), why)
        for address, what in _reserved(ipv4).items():
            if address in pool:
                yield Finding((*_POOL, at), f"{pool} holds {address}, {what}")


def _reserved(ipv4: IPv4Config) -> dict[IPv4Address, str]:
    network = ipv4.network
    return {
        ipv4.gateway: "the gateway",
        network.network_address: "the network's own address",
        network.broadcast_address: "the broadcast address",
    }


def _zoned(spec: ClusterSpec) -> Iterator[Finding]:
    proxmox, home = spec.infrastructure.proxmox, dict[str, str]()
    for at, zone in enumerate(proxmox.availability_zones):
        for spot, node in enumerate(zone.nodes):
            if node in home:
                yield Finding((*_ZONES, at, "nodes", spot), f'node {node} is already in zone "{home[node]}"')
            home.setdefault(node, zone.name)


def _allowed(spec: ClusterSpec) -> Iterator[Finding]:
    allowed = spec.infrastructure.proxmox.allowed_nodes
    for at, zone in enumerate(spec.infrastructure.proxmox.availability_zones):
        for spot, node in enumerate(zone.nodes):
            if allowed and node not in allowed:
                why = f"node {node} is not one of allowedNodes"
                yield Finding((*_ZONES, at, "nodes", spot), why, ", ".join(allowed))


def _kept(spec: ClusterSpec) -> Iterator[Finding]:
    for at, group in enumerate(spec.workers.machine_deployments):
        if group.name in ("control-plane", "controlplane", "cp"):
            why = f"{group.name} is kept for the control planes"
            yield Finding((*_DEPLOYMENTS, at, "name"), why, "choose another name")


def _moves(spec: ClusterSpec) -> Iterator[Finding]:
    for at, group in enumerate(spec.workers.machine_deployments):
        limits = group.rollout.strategy.rolling_update
        if not limits.max_surge and not limits.max_unavailable:
            why = "must not be 0 while maxUnavailable is 0"
            yield Finding((*_DEPLOYMENTS, at, *_LIMIT), why, "nothing could ever be replaced")


def _quorum(spec: ClusterSpec) -> Iterator[Finding]:
    group = spec.control_plane
    if group.rollout.strategy.rolling_update.max_surge == 0 and group.replicas < 3:
        why = "must be 1 with fewer than 3 replicas"
        yield Finding(("spec", "controlPlane", *_LIMIT), why, "a replacement needs another member")


def _healthy(spec: ClusterSpec) -> Iterator[Finding]:
    """A rule for what each healthy Node says would have them all reset."""
    for at, rule in enumerate(spec.health_check.unhealthy_node_conditions):
        if HEALTHY.get(rule.type) == rule.status:
            why = f'must not be "{rule.status}" for {rule.type}, which healthy nodes say: each would be reset'
            other = '"True"' if rule.status == "False" else '"False" or "Unknown"'
            yield Finding((*_CONDITIONS, at, "status"), why, f"write {other}")


def _choices(spec: ClusterSpec) -> Iterator[Finding]:
    deployments = ((*_DEPLOYMENTS, at, "machine") for at in range(len(spec.workers.machine_deployments)))
    paths: tuple[Path, ...] = (("spec", "machineDefaults"), ("spec", "controlPlane", "machine"), *deployments)
    groups = (group.machine for group in spec.workers.machine_deployments)
    for path, machine in zip(paths, (spec.machine_defaults, spec.control_plane.machine, *groups), strict=True):
        if len(given := machine.choices()) > 1:
            yield Finding((*path, given[1]), f"{' and '.join(given)} choose the template twice", "keep one of them")


def _something(spec: ClusterSpec) -> Iterator[Finding]:
    for at, addon in enumerate(spec.addons):
        if not (addon.manifests or addon.chart or addon.preset):
            yield Finding(("spec", "addons", at), "names no manifests", "such as manifests: [{file: extras/*.yaml}]")


_PVE: Final = "spec.infrastructure.proxmox"
_GROUP: Final = "spec.workers.machineDeployments.*"
_TEMPLATES: Final = " ".join(
    f"{machine}.{word}" for machine in MACHINES for word in ("template", "templateID", "templateSelector")
)
_RULES: Final[tuple[tuple[Callable[[ClusterSpec], Iterator[Finding]], str], ...]] = (
    (_range, f"{_PVE}.vmIDRange"),
    (_held, f"{_PVE}.ipv4Config.addresses"),
    (_outside, f"{_PVE}.ipv4Config"),
    (_zoned, f"{_PVE}.availabilityZones"),
    (_allowed, f"{_PVE}.allowedNodes {_PVE}.availabilityZones.*.nodes"),
    (_kept, f"{_GROUP}.name"),
    (_moves, f"{_GROUP}.rollout.strategy"),
    (_quorum, "spec.controlPlane.replicas spec.controlPlane.rollout.strategy"),
    (_healthy, "spec.healthCheck.unhealthyNodeConditions"),
    (_choices, _TEMPLATES),
    (_something, "spec.addons.*.manifests spec.addons.*.preset spec.addons.*.chart"),
)
"""Each rule with the fields that it looks at."""
