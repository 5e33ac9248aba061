"""Calls over the lab's port of machines, by the names that `deserved.Rule.lab` gives them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from cpcd.lab.inprocess import LabGuests
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.guests import Host
from tests.contract.guest_replay.deserved import OK
from tests.contract.guest_replay.states import Place, one_voter, rebooted

__all__ = ["LOGINS"]


def _reached(place: Place, name: str = "cp1", *, address: str = "", host_key: str = "") -> str:
    """Return how a call over the lab's port ends."""
    rack, machines = place
    guest = machines[name]
    host = Host("m", name, address or guest.address, 22, ("root",), host_key or guest.host_key)

    async def sleep(_seconds: float) -> None:
        """Time stands still."""

    try:
        asyncio.run(LabGuests(rack.world, sleep).call(host, "facts", {}))
    except Unreachable:
        return "Unreachable"
    except Failure as failure:
        return "AuthFailed" if failure.code is Code.AUTH else str(failure.code)
    return OK


def _other_key() -> str:
    rack, machines = one_voter()
    other = rack.machine(302, "w1")
    return _reached((rack, machines), host_key=other.host_key)


LOGINS: Final[Mapping[str, Callable[[], str]]] = {
    "ssh": lambda: _reached(one_voter()),
    "ssh: no machine": lambda: _reached(one_voter(), address="10.0.0.99"),
    "ssh: other host key": _other_key,
    "ssh: rebooting": lambda: _reached(rebooted(15)),
    "ssh: rebooted": lambda: _reached(rebooted()),
}
