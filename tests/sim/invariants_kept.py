"""Invariants of what is kept and said: no secret in any record, nothing that grows, no write when all is as wanted."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

from cpcd.model.keys import Scope
from cpcd.model.report import Pass
from cpcd.plan.fold import fold
from cpcd.plan.guards import FORESEEN
from cpcd.plan.resolve import resolve
from cpcd.reconcilers import RECONCILERS
from cpcd.status import document
from tests.sim.gate import Call, MemoryDisk
from tests.sim.house import House
from tests.sim.invariant import Invariant

__all__ = ["Bounded", "ConvergedIsQuiet", "NoSecrets"]


STALE: Final = 70  # dates an object: one that was overtaken lies until it is due, and a resync has 66 ticks at most


class NoSecrets(Invariant):
    """Tokens and keys are in no log line, event, status, metric, plan or ledger."""

    name = "no-secrets"
    promise = "secrets are never in logs, plans, status or ledger (section 9)"

    def __init__(self, house: House, breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self.secrets: set[str] = {house.token.partition("=")[2]}

    def called(self, call: Call, answer: Any) -> None:
        if call.verb == "join_secrets" and isinstance(answer, Mapping):
            self.secrets |= {str(answer[name]) for name in ("token", "certificate_key") if answer.get(name)}
        elif call.verb == "kubeconfig" and isinstance(answer, Mapping):
            key = yaml.safe_load(answer["kubeconfig"])["users"][0]["user"]["client-key-data"]
            self.secrets |= {key, *base64.b64decode(key).decode().splitlines()[1:2]}
        elif call.port == "journal" and call.verb == "commit":
            self.look("the ledger", repr(call.given["changes"]))

    def passed(self, done: Pass) -> None:
        self.look("a pass", f"{done.sentence} {done.steps} {done.failure} {done.conditions}")

    def look(self, where: str, text: str) -> None:
        """Search a text for every secret that is known by now."""
        for secret in self.secrets:
            if secret in text:
                self.breach(f"{where} has a secret: {text[:60]!r}…")

    def over(self) -> None:
        daemon = self.house.daemon
        if daemon is None:
            return
        view = daemon.state.view
        self.look("status", f"{daemon.sentence()} {document(view, daemon.board, daemon.clock.wall())}")
        self.look("metrics", daemon.scrape().decode())
        self.look("the plan", repr(fold(view, reconcilers=RECONCILERS, guards=FORESEEN, resolve=resolve)))
        if isinstance(self.house.disk, MemoryDisk):
            self.look("the ledger's file", self.house.disk.connection.serialize().decode("latin-1"))


class Bounded(Invariant):
    """What is kept does not grow while nothing happens, and nothing is kept of what is gone."""

    name = "bounded"
    promise = "bounded memory, queue and history over any time (section 5; failures.md rule on growth)"

    def __init__(self, house: House, breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._sizes: dict[str, int] = {}

    def sizes(self) -> dict[str, int]:
        """Return how much the daemon keeps, by what."""
        daemon = self.house.daemon
        assert daemon is not None, "a settled house has a daemon"
        view, interest = daemon.state.view, daemon.state.interest
        assert interest is not None
        return {
            "queue": daemon.queue.depth(),
            "dates": daemon.queue.waiting(),
            "ops": len(view.ops),
            "rows": len(view.machines),
            "facts": len(view.facts),
            # A guest is looked at for its certificates' sake once in hours: the first look may fall in here.
            "scopes": sum(scope.kind != "guest" for scope in view.bulk),
            "guests": max(len(view.machines), sum(scope.kind == "guest" for scope in view.bulk)),
            "board": len(daemon.board.objects),
            "tokens": len(interest._keys),
            "waits": len(daemon.state._since),
            "ages": len(daemon.state._known),
            "backoffs": len(daemon.dispatcher._backoff),
            "events": len(daemon.journal._pending),  # type: ignore[attr-defined]
            "services": len(daemon.supervisor.running()),
        }

    def settled(self) -> None:
        self._sizes = {}

    def resynced(self) -> None:
        now = self.sizes()
        grown = {name: size for name, size in now.items() if size > self._sizes.get(name, size)}
        if grown:
            self.breach(f"grew while idle: {grown}, before {self._sizes}")
        self._sizes = self._sizes or now
        daemon = self.house.daemon
        stale = len(daemon.queue._heap) if daemon is not None else 0
        if stale > STALE * now["board"]:
            self.breach(f"{stale} dates are kept for {now['board']} objects")

    def over(self) -> None:
        if self.house.daemon is None:
            return
        view = self.house.daemon.state.view
        gone = [scope for scope in view.bulk if self._stale(scope)]
        if gone:
            self.breach(f"observations are kept of what is gone: {len(gone)}, such as {gone[0]}")

    def _stale(self, scope: Scope) -> bool:
        uid, _, op = scope.name.partition("/")
        match scope.kind:
            case "guestop":
                return op not in self.house.gate.ledger.ops
            case "guest":
                return uid not in self.rows
            case "vm":
                return all(str(row.vmid) != scope.name for row in self.rows.values())
            case "node" | "pods" | "attachments":
                return all(row.name != scope.name for row in self.rows.values())
            case _:
                return False


class ConvergedIsQuiet(Invariant):
    """Once everything is as wanted, three resyncs write nothing and commit nothing."""

    name = "converged-is-quiet"
    promise = "no drift, no work: converged means zero writes (section 6)"

    def __init__(self, house: House, breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._quiet = False

    def settled(self) -> None:
        self._quiet = True

    def over(self) -> None:
        self._quiet = False

    def calling(self, call: Call) -> None:
        if self._quiet and call.writes:
            self.breach(f"everything was as wanted; {call}")
