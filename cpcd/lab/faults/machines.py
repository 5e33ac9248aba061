"""Faults on the way to machines, and of the programs that run on them. Next: `mechanisms.py` for what each means."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cpcd.lab.faults import mechanisms as does
from cpcd.lab.faults.injector import Armed
from cpcd.lab.faults.proxmox import altered
from cpcd.lab.guests.failed import said
from cpcd.model.errors import Failure, Unreachable
from cpcd.ports.guests import Guests, Host

__all__ = ["FaultyGuests"]


class FaultyGuests:
    """`ports.guests.Guests` with faults."""

    def __init__(self, faults: Armed, inner: Guests) -> None:
        self._faults, self._inner = faults, inner

    async def listens(self, host: Host) -> bool:
        """Look at the SSH port, which has no faults of its own."""
        return await self._inner.listens(host)

    async def call(self, host: Host, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a short verb."""
        mechanism = await self._struck(host, verb, lambda: self._inner.call(host, verb, given))
        output = await self._inner.call(host, verb, given)
        match mechanism:
            case does.Alter(fields):
                return altered(output, fields)
            case does.ClockStep(seconds):
                return {**output, "clock": output["clock"] + seconds}
        return output

    async def submit(self, host: Host, op: str, verb: str, given: Mapping[str, Any]) -> None:
        """Start a long verb."""
        mechanism = await self._struck(host, f"submit {verb}", lambda: self._inner.submit(host, op, verb, given))
        guest = self._faults.world.guest_at(host.address)
        if isinstance(mechanism, does.Fails) and guest is not None:
            guest.jobs.faults[verb, mechanism.stage] = said(verb, mechanism.text)
        await self._inner.submit(host, op, verb, given)

    async def poll(self, host: Host, op: str, *, patience: float = 0) -> Mapping[str, Any]:
        """Return the state of an op."""
        await self._struck(host, "poll", lambda: self._inner.poll(host, op, patience=patience))
        return await self._inner.poll(host, op, patience=patience)

    async def close(self) -> None:
        """Close what is inside."""
        await self._inner.close()

    async def _struck(self, host: Host, words: str, effect: Callable[[], Awaitable[Any]]) -> does.Mechanism | None:
        """Let happen what comes before the call, or instead of it; return what strikes its answer."""
        mechanism = self._faults.due("guests", f"{host.name} {words}")
        match mechanism:
            case does.Refuse(code, said_):
                raise Failure(code, said_, target=f"guest:{host.uid}")
            case does.DropBefore(timeout) | does.DropAfter(timeout):
                if isinstance(mechanism, does.DropAfter):
                    await effect()
                await self._faults.sleep(timeout)
                raise Unreachable(f"guest:{host.uid}", f"the connection to {host.name} was lost")
            case does.Delay(seconds):
                await self._faults.sleep(seconds)
            case does.Reboot(after) | does.KillWorker(after) | does.Hang(after):
                self._later(mechanism, host, after)
            case None:
                pass
            case _:
                self._faults.befall(mechanism)
        return mechanism

    def _later(self, mechanism: does.Mechanism, host: Host, after: float) -> None:
        guest = self._faults.world.guest_at(host.address)
        if guest is None:
            return
        match mechanism:
            case does.Reboot():
                befalls: Callable[[], None] = guest.reset
            case does.Hang(broken=broken):
                befalls = lambda: guest.hang(broken=broken)  # noqa: E731
            case _:
                befalls = guest.kill_job
        self._faults.world.events.at(after, befalls)
