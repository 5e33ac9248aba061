"""Options on their way into a configuration: set at once, or kept until the VM has been off.

The only place that moves a value from the pending section into the configuration. Next: `config.py`, `power.py`.
"""

from cpcd.lab.provenance import recorded
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.drives import detach
from cpcd.lab.pve.properties import is_drive
from cpcd.lab.pve.vm import Vm

__all__ = ["apply_pending", "set_option"]

Value = str | int


def set_option(cluster: Cluster, vm: Vm, name: str, value: Value | None, *, force: bool = False) -> None:
    """Set an option, or remove it (None); a disk that goes is put aside, by `force` removed."""
    vm.pending.pop(name, None)
    if is_drive(name) or name.startswith("unused"):
        detach(cluster, vm, name, keep=value, force=force)
    if value is None:
        vm.config.pop(name, None)
    else:
        vm.config[name] = value


@recorded(594, 600)
def apply_pending(cluster: Cluster, vm: Vm) -> None:
    """Move pending values into the configuration, as a cold restart does; what waited to be removed goes first."""
    for name, value in sorted(vm.pending.items(), key=lambda item: item[1] is not None):
        set_option(cluster, vm, name, value)
