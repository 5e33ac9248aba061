"""The table of contents of the world: every kind and its reconciler, in the order in which they are planned.

A new kind is one file with `KIND, keys, reads, watches, plan, apply`, one line here and one scenario in `tests/sim`.
"""

from types import ModuleType
from typing import Final

from cpcd.reconcilers import addon, cluster, kubeconfig, machine, nodes, template

__all__ = ["RECONCILERS"]

RECONCILERS: Final[tuple[ModuleType, ...]] = (template, cluster, machine, kubeconfig, nodes, addon)
