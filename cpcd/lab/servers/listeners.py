"""Listeners that come and go with what is modelled: sshd of each machine, API servers at each address.

`follow` compares what should listen with what does; nothing else opens or closes one. An address that cannot be bound
is a sentence in `troubles` and tried again at the next look. Next: `ssh.py`, `kube.py`.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Protocol

from aiohttp import web

from cpcd.lab.guests import Guest
from cpcd.lab.kube import Cluster
from cpcd.lab.servers.clock import FastClock
from cpcd.lab.servers.https import Certificate, server_context
from cpcd.lab.servers.kube import Api, application
from cpcd.lab.servers.settings import loopback
from cpcd.lab.servers.ssh import Machine
from cpcd.lab.world import World

__all__ = ["Listeners"]

_BACKLOG: Final = 128
_LINGER: Final = 0.05  # seconds for open requests at a close; 0 would mean for ever to aiohttp


class Listener(Protocol):
    """Something that listens between `open` and `close`."""

    async def open(self) -> None:
        """Begin to listen; OSError where that is impossible."""
        ...

    async def close(self) -> None:
        """Stop, and cut what is connected."""
        ...


class ApiServer:
    """One kube-apiserver's address: TLS by the cluster's authority, made anew each time it comes up."""

    def __init__(self, cluster: Cluster, address: str, port: int, api: Api) -> None:
        self._cluster = cluster
        self._address = address
        self._port = port
        self._runner = web.AppRunner(
            application(api), access_log=None, handler_cancellation=True, shutdown_timeout=_LINGER
        )

    async def open(self) -> None:
        """See Listener."""
        certificate = Certificate(*self._cluster.authority.serving([self._address, "kubernetes", "localhost"]))
        tls = server_context(certificate, client_authority=self._cluster.ca_pem)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, self._port, ssl_context=tls, backlog=_BACKLOG).start()

    async def close(self) -> None:
        """See Listener."""
        await self._runner.cleanup()


class Listeners:
    """All listeners of one world."""

    def __init__(
        self, world: World, clock: FastClock, ssh_port: int, calls: Counter[str], *, api_port: int = 0
    ) -> None:
        self.troubles: dict[str, str] = {}
        self._world = world
        self._clock = clock
        self._ssh_port = ssh_port
        self._api_port = api_port
        self._calls = calls
        self._open: dict[Hashable, Listener] = {}

    async def follow(self) -> None:
        """Close what no longer answers in the world, open what now does."""
        wanted = {**self._machines(), **self._apis()}
        for key in [key for key in self._open if key not in wanted]:
            await self._open.pop(key).close()
        for key, make in wanted.items():
            if key not in self._open:
                await self._begin(key, make())

    async def close(self) -> None:
        """Close everything."""
        while self._open:
            await self._open.popitem()[1].close()

    async def _begin(self, key: Hashable, listener: Listener) -> None:
        try:
            await listener.open()
        except OSError as error:
            self.troubles[str(key)] = str(error)
            # What it had open by then; it is made anew at the next look.
            await listener.close()
            return
        self.troubles.pop(str(key), None)
        self._open[key] = listener

    def _machines(self) -> Mapping[Hashable, Callable[[], Listener]]:
        up = [guest for guest in self._world.guests.values() if guest.ssh_up and loopback(guest.address)]
        # With the machine itself: one that was rebuilt at the same address is another, with another host key.
        return {("ssh", guest.address, id(guest)): self._machine(guest) for guest in up}

    def _machine(self, guest: Guest) -> Callable[[], Listener]:
        return lambda: Machine(guest, self._ssh_port, self._clock.sleep, self._calls)

    def _apis(self) -> Mapping[Hashable, Callable[[], Listener]]:
        up = [(place, cluster) for place, cluster in self._world.apis().items() if loopback(place[0])]
        return {("kube", *place, id(cluster)): self._api(cluster, *place) for place, cluster in up}

    def _api(self, cluster: Cluster, address: str, port: int) -> Callable[[], Listener]:
        api = Api(cluster, address, port, self._clock.sleep, self._calls)
        return lambda: ApiServer(cluster, address, self._api_port or port, api)
