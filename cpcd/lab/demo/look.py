"""What is true now: asked of the lab's control endpoint, the daemon's socket, its metrics page and its ledger's file."""

import asyncio
import base64
import contextlib
import json
import re
import sqlite3
import ssl
import tempfile
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import yaml

from cpcd.lab.demo.alert import Metrics, samples
from cpcd.lab.demo.proofs import Ledger
from cpcd.lab.demo.stage import Stage

__all__ = ["Look"]

FAILED = re.compile(r'"run": "(\w+)".*"outcome": "failed"')


class Look:
    """Asks; every answer is fresh. A daemon that does not answer gives None."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lab = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        self._daemon: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
        found: dict[str, Any] = await self._ask("/lab/state")
        return found

    async def history(self, since: float) -> list[dict[str, Any]]:
        """Return what the lab wrote down at every change since a time."""
        found: list[dict[str, Any]] = await self._ask("/lab/history", since=since)
        return found

    async def calls(self) -> dict[str, Any]:
        """Return the calls counted by the lab."""
        found: dict[str, Any] = await self._ask("/lab/calls")
        return found

    async def critical_path(self, *, masters: int, workers: int, gib: int) -> float:
        """Return the least lab time in which the lab itself could build such a cluster."""
        return float((await self._ask("/lab/path", masters=masters, workers=workers, gib=gib))["seconds"])

    async def _ask(self, path: str, **query: float) -> Any:
        async with self._lab.get(f"{self._stage.about['control']}{path}", params=query) as answer:
            return await answer.json()

    def ledger(self) -> Ledger:
        """Return what the daemon has on disk; this reads beside it and writes nothing."""
        place = f"{(self._stage.state / 'ledger.db').as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True)) as db:
            rows = {uid: json.loads(row)["vmid"] for uid, row in db.execute("SELECT id, row FROM machines")}
            (ops,) = db.execute("SELECT count(*) FROM ops").fetchone()
            held = db.execute("SELECT id FROM facts WHERE id LIKE 'vmid/%' AND row = 'null'")
            return Ledger(rows, ops, tuple(name.rpartition("/")[2] for (name,) in held))

    def failed(self) -> set[str]:
        """Return the runs of all passes that failed, by the daemon's log: history tells an endpoint's silence once."""
        lines = (self._stage.directory / "cpcd.log").read_text(encoding="utf-8").splitlines()
        return {found[1] for line in lines if (found := FAILED.search(line))}

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
                return samples(await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}

    async def kubernetes(self, path: str) -> dict[str, Any]:
        """GET a path of the cluster's API with the written kubeconfig."""
        written = yaml.safe_load((self._stage.state / "kubeconfigs" / "demo.yaml").read_text(encoding="utf-8"))
        cluster, user = written["clusters"][0]["cluster"], written["users"][0]["user"]
        context = ssl.create_default_context(cadata=_text(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(_text(user["client-certificate-data"]) + _text(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        limit = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(cluster["server"] + path, ssl=context) as got,
        ):
            found: dict[str, Any] = await got.json(content_type=None)
            return found

    async def sleep(self, lab_seconds: float) -> None:
        """Let lab time pass."""
        await asyncio.sleep(lab_seconds / float(self._stage.about["rate"]))


def _text(data: str) -> str:
    return base64.b64decode(data).decode()
