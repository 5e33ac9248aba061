"""Invariants of what is kept and said: no secret in any record, nothing that grows, no write when all is as wanted."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from cpcd.model.keys import Scope
from cpcd.model.ledger import Event
from cpcd.model.report import Pass
from cpcd.plan.fold import fold
from cpcd.plan.guards import FORESEEN
from cpcd.plan.resolve import resolve
from cpcd.reconcilers import RECONCILERS
from cpcd.status import document
from tests.sim.gate import Call, MemoryDisk
from tests.sim.growth import kept
from tests.sim.invariant import Invariant

if TYPE_CHECKING:
    from tests.sim.house import House  # which makes its own watch

__all__ = ["Bounded", "ConvergedIsQuiet", "NoSecrets"]


STALE: Final = 70  # dates an object: one that was overtaken lies until it is due, and a resync has 66 ticks at most
BULK: Final = "daemon.state._view.bulk"
ASKED: Final = "daemon.inside._asked"
INSIDE: Final = {"guest", "inside"}
DATES: Final = "daemon.queue._heap"
EVENTS: Final = "table events"
PENDING: Final = "daemon.journal._pending"


class NoSecrets(Invariant):
    """Tokens and keys are in no log line, event, status, metric, plan or ledger, nor where others can read them.

    Others read Proxmox and the API server, and a file that its mode opens to them. The kubeconfig is a secret itself.
    """

    name = "no-secrets"
    promise = "secrets are never in logs, plans, status, ledger or files that others can read (section 9)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
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

    def recorded(self, event: Event) -> None:
        self.look("an event", repr(event))

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
        self.look("a VM's configuration", repr([vm.config for vm in self.vms.values()]))
        for cluster in self.house.world.clusters:
            objects = cluster.store.objects
            self.look("an object of Kubernetes", repr([*objects.all("Node"), *objects.all("ConfigMap")]))
        for file in filter(Path.is_file, self.house.directory.rglob("*")):
            mode = file.stat().st_mode & 0o777
            if file.parent.name != "kubeconfigs":
                self.look(f"a file of mode {mode:o}", file.read_text(errors="replace"))
            elif mode & 0o007:
                self.breach(f"a kubeconfig has mode {mode:o}")


class Bounded(Invariant):
    """What is kept does not grow while nothing happens, and nothing is kept of what is gone."""

    name = "bounded"
    promise = "bounded memory, queue and history over any time (section 5; failures.md rule on growth)"

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._kept: Counter[str] = Counter()

    def settled(self) -> None:
        self._kept = Counter()

    def resynced(self) -> None:
        daemon, now = self.house.daemon, self.sizes()
        assert daemon is not None, "a settled house has a daemon"
        grown = {place: count for place, count in now.items() if self._kept and count > self._kept[place]}
        if grown:
            self.breach(f"grew while idle: {grown}, before {[self._kept[place] for place in grown]}")
        self._kept = self._kept or now
        stale, objects = len(daemon.queue._heap), len(daemon.board.objects)
        if stale > STALE * objects:
            self.breach(f"{stale} dates are kept for {objects} objects")

    def sizes(self) -> Counter[str]:
        """Return how much the daemon keeps, by place, as if every machine had been looked at from inside.

        The first of these looks may fall in here. Dates have a bound of their own.
        """
        daemon, disk = self.house.daemon, self.house.disk
        assert daemon is not None, "a settled house has a daemon"
        found = kept(daemon, disk.connection if isinstance(disk, MemoryDisk) else None)
        view = daemon.state.view
        looks = sum(scope.kind in INSIDE for scope in view.bulk)
        found[BULK] += max(0, len(INSIDE) * len(view.machines) - looks)
        found[ASKED] += max(0, len(view.machines) - len(daemon.inside._asked))
        found[EVENTS] += found.pop(PENDING, 0)  # what is queued is on its way there
        return Counter({place: count for place, count in found.items() if not place.startswith(DATES)})

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
            case "guest" | "inside":
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

    def __init__(self, house: "House", breach: Callable[[str], None]) -> None:
        super().__init__(house, breach)
        self._quiet = False

    def settled(self) -> None:
        self._quiet = True

    def over(self) -> None:
        self._quiet = False

    def calling(self, call: Call) -> None:
        if self._quiet and call.writes:
            self.breach(f"everything was as wanted; {call}")
