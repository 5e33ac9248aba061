"""What goes wrong outside, as data: rows of `failures.md` as named faults, and the hand that lets them happen.

A fault is a row, a matcher and a mechanism (`mechanisms.py`); `catalogue.py` has them all, `injector.py` what is armed.
Nothing here knows cpcd: what is expected of it stands in `tests/sim`.
"""

from cpcd.lab.faults.catalogue import FAULTS, named
from cpcd.lab.faults.files import Desk
from cpcd.lab.faults.injector import Armed
from cpcd.lab.faults.kubernetes import FaultyKube
from cpcd.lab.faults.machines import FaultyGuests
from cpcd.lab.faults.mechanisms import Fault, Mechanism
from cpcd.lab.faults.proxmox import FaultyTransport
from cpcd.ports.guests import Guests
from cpcd.ports.kube import Kube
from cpcd.ports.proxmox import Transport

__all__ = ["FAULTS", "Desk", "Fault", "Faults", "Mechanism", "named"]


class Faults(Armed):
    """What is armed on one world, laid around its ports; with nothing armed every call passes as it is."""

    def transport(self, inner: Transport) -> Transport:
        """Lay the faults around a way to Proxmox."""
        return FaultyTransport(self, inner)

    def guests(self, inner: Guests) -> Guests:
        """Lay the faults around the machines."""
        return FaultyGuests(self, inner)

    def kube(self, inner: Kube) -> Kube:
        """Lay the faults around a Kubernetes API."""
        return FaultyKube(self, inner)
