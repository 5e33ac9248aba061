"""What a lab over sockets is started with; loopback addresses only, anything else is refused.

Values only. The modelled installation itself is `lab/pve/settings.py`. Next: `serve.py`.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address

from cpcd.lab.pve import Settings
from cpcd.model.errors import Code, Failure

__all__ = ["LabSettings", "Template", "loopback"]


@dataclass(frozen=True, slots=True)
class Template:
    """A cloud-init template that is there from the start; `disk` in GiB, `memory` in MiB, `tags` as in Proxmox."""

    vmid: int
    node: str
    name: str
    tags: str = ""
    disk: str = "10"
    storage: str = "local-lvm"
    memory: int = 2048
    cores: int = 2


@dataclass(frozen=True, slots=True)
class LabSettings:
    """One lab: `rate` lab seconds in a real one; port 0 takes a free one, which `GET /lab` then tells.

    Machines listen on their own addresses (from the spec's pool, in 127.0.0.0/8) at `ssh_port`, API servers at theirs;
    `api_port` moves all API servers' listeners to another port, so that a proxy can stand where clients look for them.
    """

    rate: float = 30.0
    seed: int = 1
    address: str = "127.0.0.1"
    proxmox_port: int = 0
    control_port: int = 0
    ssh_port: int = 2222
    api_port: int = 0
    templates: tuple[Template, ...] = ()
    pve: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if not loopback(self.address):
            raise Failure(Code.INPUT, f"the lab listens on loopback addresses only, not on {self.address}")
        if not 0 < self.rate <= 1000:
            raise Failure(Code.INPUT, f"the lab's rate is {self.rate:g}, but must be between 0 and 1000")


def loopback(address: str) -> bool:
    """Tell whether an address is in 127.0.0.0/8; a lab machine outside of it gets no listener."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return found.version == 4 and found.is_loopback
