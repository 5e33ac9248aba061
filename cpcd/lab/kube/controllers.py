"""All controllers in the order in which one turn runs them.

A table of contents; nothing is decided here.
"""

from collections.abc import Callable
from typing import Final

from cpcd.lab.kube import bootstrap, csr, housekeeping, nodes, pods, workloads
from cpcd.lab.kube.turn import Turn

__all__ = ["ORDER"]

ORDER: Final[tuple[Callable[[Turn], None], ...]] = (
    housekeeping.namespaces,
    housekeeping.definitions,
    housekeeping.services,
    nodes.register,
    nodes.networks,
    nodes.conditions,
    nodes.lifecycle,
    nodes.tainted,
    csr.sign,
    bootstrap.clean,
    bootstrap.sign,
    workloads.deployments,
    workloads.replica_sets,
    workloads.daemon_sets,
    pods.schedule,
    pods.mirror,
    pods.run,
    pods.evict_lost,
    housekeeping.collect,
    housekeeping.budgets,
)
