"""A daemon for the commands to talk to: the real control server around a small world of values."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpcd.adapters.control import ControlServer
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Key, Kind, Role, Wall
from cpcd.model.report import Outcome
from cpcd.model.view import View
from cpcd.status import Board, SpecState, document
from tests.unit.status import scene

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: home, cluster: {server: 'https://10.10.10.110:6443'}}]
users: [{name: home-admin, user: {}}]
contexts: [{name: home, context: {cluster: home, user: home-admin}}]
current-context: home
"""

STEPS = [
    {
        "cluster": "home", "key": "machine/home-general-1", "verb": "configure", "target": "vm:pve/302",
        "risk": "InPlace", "sentence": "configure home-general-1: memory 12288 MiB", "disrupts": "", "quorum": "",
        "wait": "",
    },
    {
        "cluster": "home", "key": "machine/home-cp-1", "verb": "reboot", "target": "vm:pve/301", "risk": "Reboot",
        "sentence": "reboot home-cp-1 so that its memory becomes 12288 MiB", "disrupts": "control-plane",
        "quorum": "2 of 3 voters left", "wait": "waits until every etcd member is healthy",
    },
    {
        "cluster": "home", "key": "machine/home-general-2", "verb": "retire", "target": "vm:pve/303",
        "risk": "Destroy", "sentence": "remove home-general-2", "disrupts": "worker", "quorum": "",
        "wait": "waits for `cpcd approve d4f1`",
    },
]  # fmt: skip

HELD = [
    {
        "cluster": "home", "key": "addon/extras", "reason": "ApiUnavailable", "code": "",
        "sentence": "addon extras cannot be read now: no answer from https://10.10.10.110:6443",
    },
]  # fmt: skip


@dataclass
class Daemon:
    """`ports.control.Control` over a view and a board; what was asked of it is in `inputs`."""

    view: View
    board: Board
    steps: list[dict[str, Any]] = field(default_factory=list)
    held: list[dict[str, Any]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    spec: str = ""
    against: list[dict[str, Any]] = field(default_factory=list)

    async def status(self) -> dict[str, Any]:
        return document(self.view, self.board, scene.NOW)

    async def plan(self) -> dict[str, Any]:
        return {
            "generation": "abc123", "steps": self.steps, "held": self.held, "silent": self.silent, "warnings": self.warnings,
        }  # fmt: skip

    async def events(self, key: str, limit: int) -> list[dict[str, Any]]:
        at, run = "2027-01-15T07:59:00Z", "r-0001"
        told = [("Normal", "Start", "start home-general-2"), ("Normal", "Clone", "clone template 9000 to 303")]
        rows = [
            {
                "at": at, "key": "home/machine/home-general-2", "name": "home-general-2", "run": run, "severity": s,
                "reason": r, "message": m, "code": "",
            }
            for s, r, m in told
        ]  # fmt: skip
        selected = key.replace("uid-", "")
        return [row for row in rows if row["key"].startswith(selected)][:limit]

    async def approve(self, request: str) -> dict[str, Any]:
        if request != "d4f1":
            raise Failure(Code.INPUT, f"nothing waits for approval under {request}", hint="See `cpcd plan`.")
        return self._input("approve", request)

    async def pause(self, cluster: str) -> dict[str, Any]:
        return self._input("pause", cluster)

    async def resume(self, cluster: str) -> dict[str, Any]:
        return self._input("resume", cluster)

    async def reconcile(self, key: str) -> dict[str, Any]:
        return self._input("reconcile", key)

    async def kubeconfig(self, cluster: str) -> str:
        if cluster not in {"", "home"}:
            raise Failure(Code.INPUT, f"there is no cluster called {cluster}")
        return KUBECONFIG

    async def check(self, place: str) -> dict[str, Any]:
        return {"compared": place == self.spec, "mistakes": self.against, "warnings": self.warnings}

    async def doctor(self) -> dict[str, Any]:
        if not self.settings:
            raise KeyError("a bug of the daemon's")
        return {"settings": self.settings, "checks": []}

    def _input(self, verb: str, value: str) -> dict[str, Any]:
        self.inputs[verb] = value
        return {"message": f"{verb} {value}: done"}


def well() -> Daemon:
    """A daemon with nothing to do."""
    return Daemon(scene.view(), scene.settled())


def troubled() -> Daemon:
    """A daemon in the midst of it: one machine booting, one refused, one unreachable, a mistake in the file."""
    young = scene.row("home-general-3", Role.WORKER, "general", 4)
    board, rows = scene.settled(), (scene.CP, scene.W1, young)
    board.spec = SpecState(
        "abc123", ("CPCD-102 cluster.yaml:6:13: spec.controlPlane.replicas: must be odd (1, 3 or 5), not 2",)
    )
    board.endpoints |= scene.down("kube:home", "no answer from https://10.10.10.110:6443 within 30 s")
    board.note(
        scene.done(
            scene.key(young), Outcome.WAITING, "home-general-3 is booting: sshd or its guest agent does not answer yet",
            reason="Booting", next_in=3.0,
        ),
        Wall(scene.NOW - 40),
    )  # fmt: skip
    refused = Failure(Code.AUTH, "token cpcd@pve!d lacks VM.Clone on /vms/9000")
    for failures in (1, 2, 3):
        done = scene.done(
            scene.key(scene.W1), Outcome.FAILED, refused.what, failure=refused, failures=failures,
            degraded=failures == 3, next_in=300.0,
        )  # fmt: skip
        board.note(done, Wall(scene.NOW - 10))
    silent = Unreachable("kube:home", "no answer from https://10.10.10.110:6443 within 30 s")
    where = Key("home", Kind.KUBECONFIG, "admin")
    board.note(
        scene.done(where, Outcome.FAILED, silent.what, failure=silent, failures=1, next_in=14.0), Wall(scene.NOW - 10)
    )
    nodes = {scene.CP.name: scene.node(scene.CP), scene.W1.name: scene.node(scene.W1, "Unknown")}
    board.forget(scene.key(scene.W2))
    return Daemon(scene.with_op(scene.view(*rows, nodes=nodes), young, "start"), board, STEPS, HELD)


@contextmanager
def serving(daemon: Daemon, path: Path) -> Iterator[Path]:
    """Serve the daemon on a socket, on a thread of its own, until the block ends."""
    opened, server = threading.Event(), ControlServer(daemon, path)
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        await server.start()
        opened.set()
        await ended.wait()
        await server.close()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert opened.wait(10), "the control socket was not opened"
        yield path
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
