"""What is true now: asked of the daemon's control socket, the lab's control endpoint and the metrics page."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from cpcd.lab.demo.stage import Stage

__all__ = ["Look", "Metrics", "metric"]

Metrics = Mapping[str, float]


class Look:
    """Asks; every answer is fresh. A daemon that does not answer gives None."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lab = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self._daemon: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the sessions."""
        await self._lab.close()
        if self._daemon:
            await self._daemon.close()

    async def daemon(self, path: str, **params: str) -> Any:
        """GET a path of the control socket; None while nobody answers there."""
        if self._daemon is None:
            connector = aiohttp.UnixConnector(str(self._stage.socket))
            limit = aiohttp.ClientTimeout(total=30)
            self._daemon = aiohttp.ClientSession("http://cpcd", connector=connector, timeout=limit)
        try:
            async with self._daemon.get(path, params=params) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def tell(self, path: str, body: Mapping[str, str]) -> None:
        """POST to the control socket."""
        assert self._daemon is not None, "the daemon was never asked anything"
        async with self._daemon.post(path, json=dict(body)) as answer:
            assert answer.status == 200, await answer.text()

    async def status(self) -> dict[str, Any]:
        """Return the daemon's status, empty while it does not answer."""
        return await self.daemon("/status") or {}

    async def world(self) -> dict[str, Any]:
        """Return the lab's state."""
        async with self._lab.get(f"{self._stage.about['control']}/lab/state") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    async def calls(self) -> dict[str, Any]:
        """Return the calls counted by the lab."""
        async with self._lab.get(f"{self._stage.about['control']}/lab/calls") as answer:
            found: dict[str, Any] = await answer.json()
        return found

    async def critical_path(self, *, masters: int, workers: int, gib: int) -> float:
        """Return the least lab time in which the lab itself could build such a cluster."""
        query = f"masters={masters}&workers={workers}&gib={gib}"
        async with self._lab.get(f"{self._stage.about['control']}/lab/path?{query}") as answer:
            return float((await answer.json())["seconds"])

    async def do(self, what: str, **arguments: Any) -> float:
        """Do something behind cpcd's back; return the lab's time."""
        body = {"do": what, "args": arguments}
        async with self._lab.post(f"{self._stage.about['control']}/lab/do", json=body) as answer:
            done = await answer.json()
        assert "error" not in done, done
        return float(done["time"])

    async def metrics(self) -> Metrics:
        """Scrape the metrics page; empty while it does not answer."""
        try:
            async with self._lab.get(f"http://{self._stage.metrics}/metrics") as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError):
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def machines(self) -> dict[str, dict[str, Any]]:
        """Return the lab's VMs that are no templates, by name."""
        world = await self.world()
        return {vm["name"]: vm for vm in world["vms"] if not vm["template"] and vm["name"] != "theirs"}

    async def sleep(self, lab_seconds: float) -> None:
        """Let lab time pass."""
        await asyncio.sleep(lab_seconds / float(self._stage.about["rate"]))


def metric(metrics: Metrics, name: str, **labels: str) -> float:
    """Return the sum of a metric's series that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value for series, value in metrics.items() if series.split("{")[0] == name and all(w in series for w in wanted)
    )
