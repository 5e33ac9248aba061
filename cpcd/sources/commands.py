"""What operators ask of a running daemon: each command changes an input or wakes a key; the loop does the rest."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from cpcd.loop.dispatcher import Dispatcher
from cpcd.loop.state import State
from cpcd.model.errors import Code, Failure
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.ledger import DropFact, Event, PutFact
from cpcd.model.seen import Seen
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.case import machine_key
from cpcd.plan.edits import renamed
from cpcd.plan.fold import Fold, Held, Step
from cpcd.plan.guards import FORESEEN
from cpcd.plan.resolve import resolve
from cpcd.ports.clock import Clock
from cpcd.ports.journal import Journal
from cpcd.reconcilers import RECONCILERS
from cpcd.sources.doctor import Doctor
from cpcd.sources.specs import Specs
from cpcd.status import Board, called, document, joined, outage, stamp

__all__ = ["KUBECONFIG_AWAITED", "Commands", "foreseen"]

KUBECONFIG_AWAITED: Final = "It is written when the first control plane is made; `cpcd status` says how far that is."
RETAINED = 10_000  # events that the journal keeps


class Commands:
    """Implements `ports.control.Control` on the parts of the daemon."""

    def __init__(  # noqa: PLR0913 - the parts that commands speak to
        self,
        *,
        state: State,
        board: Board,
        dispatcher: Dispatcher,
        journal: Journal,
        clock: Clock,
        read: Callable[[Scope], Awaitable[Seen[Any]]],
        kubeconfig: Callable[[str], str],
        doctor: Doctor,
        specs: Specs,
        settings: Mapping[str, Any],
        troubles: Callable[[], list[str]],
    ) -> None:
        self._state, self._board, self._dispatcher, self._journal = state, board, dispatcher, journal
        self._clock, self._read, self._text, self._doctor, self._specs = clock, read, kubeconfig, doctor, specs
        self._troubles, self._settings = troubles, settings

    async def status(self) -> dict[str, Any]:
        """Return `status.document`, with what is wrong with cpcd itself before its other troubles and in its sentence."""
        found = document(self._state.view, self._board, self._clock.wall())  # type: ignore[arg-type] # Wall is a float
        troubles = self._troubles()
        whole = joined([*troubles, found["sentence"]])
        return {**found, "sentence": whole, "troubles": [*troubles, *found["troubles"]]}

    async def plan(self) -> dict[str, Any]:
        """Return all remaining steps, folded from the view with pods and members read afresh.

        The generation is that of `status`: the commit, where there is one.
        """
        await self._refresh()
        silent = [outage(one) for one in self._board.endpoints.values() if not one.up]
        return {**foreseen(self._state.view), "generation": self._board.spec.generation, "silent": silent}

    async def events(self, key: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest events first: of all, of a cluster, of an object, or of what had that name and is no more."""
        if not key or key in {one.cluster for one in self._keys()}:
            return await self._history(key, limit)
        found = self._named(key)
        if len(found) > 1:
            view = self._state.view
            raise _several(key, [f"{one.cluster}/{one.kind.value}/{called(view, one)}" for one in found])
        if found:
            return await self._history(str(found[0]), limit)
        # All of them, since what is gone is in no view that could tell its key.
        past = [one for one in await self._history("", RETAINED) if key in {one["key"], one["key"].partition("/")[2]}]
        if not past:
            raise _unknown(key)
        if len(names := sorted({one["key"] for one in past})) > 1:
            raise _several(key, names)
        return past[:limit]

    async def approve(self, request: str) -> dict[str, Any]:
        """Give consent to what awaits approval under this id; to give it again before it is spent changes nothing."""
        # Before the plan, in which what has its consent waits for none.
        if request in self._state.view.ledger.consents:
            return {"message": f"{request} was approved already"}
        waiting = {step["consent"] for step in (await self.plan())["steps"]} - {""}
        if request not in waiting:
            hint = f"Waiting are: {', '.join(sorted(waiting))}" if waiting else "Nothing awaits approval now."
            raise Failure(Code.INPUT, f"nothing awaits approval as {request}", hint=hint)
        await self._state.commit((PutFact(f"approval/{request}", self._clock.wall()),))
        return {"message": f"{request} is approved"}

    async def pause(self, cluster: str) -> dict[str, Any]:
        """Stop changing a cluster until `resume`."""
        name = self._cluster(cluster)
        await self._state.commit((PutFact(f"paused/{name}", self._clock.wall()),))
        return {"message": f"{name} is paused: observed and reported, not changed"}

    async def resume(self, cluster: str) -> dict[str, Any]:
        """Undo `pause`; `spec.paused` stays in force."""
        name = self._cluster(cluster)
        await self._state.commit((DropFact(f"paused/{name}"),))
        for key in self._keys():
            if key.cluster == name:
                self._dispatcher.reset(key)
        # The word of whoever wrote the file is not undone by that of whoever is at the keyboard.
        held = self._state.view.desired.clusters[name].paused
        told = "stays paused: the file itself says so (spec.paused)" if held else "is kept equal to the file again"
        return {"message": f"{name} {told}"}

    async def reconcile(self, key: str) -> dict[str, Any]:
        """Look at an object, or a whole cluster, now; what needs an endpoint that is down still waits for it."""
        found = self._find(key)
        for one in found:
            self._dispatcher.reset(one)
        queued = f"{len(found)} object{'' if len(found) == 1 else 's'} to be looked at now"
        down = [outage(one) for one in self._board.endpoints.values() if not one.up and self._needed(one.name, found)]
        return {"message": joined([queued, *down])}

    async def kubeconfig(self, cluster: str) -> str:
        """Return a cluster's kubeconfig as YAML; raises Failure (DependencyMissing) while there is none."""
        name = self._cluster(cluster)
        text = self._text(name)
        if not text:
            raise Failure(Code.DEPENDENCY, f"there is no kubeconfig of {name} yet", hint=KUBECONFIG_AWAITED)
        return text

    async def check(self, place: str) -> dict[str, Any]:
        """Return what stands already against the spec as it lies at `place`."""
        return await self._specs.check(place)

    async def doctor(self) -> dict[str, Any]:
        """Return the checks of everything that cpcd needs, and the settings under which it runs."""
        checks = [asdict(check) for check in await self._doctor.checks(self._state.view)]
        return {"settings": dict(self._settings), "checks": checks}

    async def _history(self, key: str, limit: int) -> list[dict[str, Any]]:
        names = {str(machine_key(row)): row.name for row in self._state.view.machines.values()}
        return [_told(event, names) for event in await self._journal.history(key=key, limit=limit)]

    async def _refresh(self) -> None:
        view = self._state.view
        wanted = [scopes.pods(row.cluster, row.name) for row in view.machines.values() if row.joined]
        wanted += [scopes.etcd(name) for name in view.desired.clusters if f"identity/{name}" in view.facts]
        self._state.observe({scope: await self._read(scope) for scope in wanted})

    def _keys(self) -> list[Key]:
        view = self._state.view
        return [key for module in RECONCILERS for key in module.keys(view)]

    def _needed(self, endpoint: str, keys: list[Key]) -> bool:
        """Whether one of the keys has to do with an endpoint: its cluster's API, or its Proxmox."""
        view, owners = self._state.view, {key.cluster for key in keys}
        clusters = [one for name, one in view.desired.clusters.items() if name in owners]
        sites = {one.infrastructure.site for one in clusters} | owners
        return endpoint.partition(":")[2] in sites

    def _cluster(self, name: str) -> str:
        known = list(self._state.view.desired.clusters)
        if not name and len(known) == 1:
            return known[0]
        if name not in known:
            hint = f"There are: {', '.join(known)}" if known else "No spec is in force."
            raise Failure(Code.INPUT, f"there is no cluster {name or '(none named)'}", hint=hint)
        return name

    def _find(self, text: str) -> list[Key]:
        """Return the keys that `KIND/NAME`, `CLUSTER/KIND/NAME` or a cluster's name means; raises when there are none."""
        keys = self._named(text)
        if not keys:
            raise _unknown(text)
        return keys

    def _named(self, text: str) -> list[Key]:
        view, parts = self._state.view, text.split("/")
        return [key for key in self._keys() if _means(key, called(view, key), parts)]


def foreseen(view: View) -> dict[str, Any]:
    """Return a view's plan as `ports.control.Control.plan` shapes it."""
    folding = Fold(view, reconcilers=RECONCILERS, guards=FORESEEN, resolve=resolve)
    steps = folding.all_steps()
    return {
        "generation": view.desired.generation,
        "silent": [],
        "warnings": [*renamed(view.desired, view.ledger)],
        "steps": [_shown(step) for step in steps],
        "held": [_held(one) for one in folding.held.values()],
    }


def _unknown(text: str) -> Failure:
    return Failure(Code.INPUT, f"there is no object {text}", hint="`cpcd status` lists them as KIND/NAME.")


def _several(text: str, names: list[str]) -> Failure:
    return Failure(Code.INPUT, f"{text} could be any of {', '.join(names)}", hint="Write it as CLUSTER/KIND/NAME.")


def _means(key: Key, name: str, parts: list[str]) -> bool:
    match parts:
        case [cluster]:
            return key.cluster == cluster
        case [kind, wanted]:
            return key.kind == kind and wanted in {name, key.name}
        case [cluster, kind, wanted]:
            return (key.cluster, key.kind) == (cluster, Kind(kind) if kind in set(Kind) else "") and wanted in {
                name,
                key.name,
            }
        case _:
            return False


def _told(event: Event, names: dict[str, str]) -> dict[str, Any]:
    """Return an event under the name that people know; `names` are those of machines, for what is older than names."""
    cluster, kind, uid = event.key.split("/", maxsplit=2)
    name = event.name or names.get(event.key, uid)
    return {**asdict(event), "at": stamp(event.at), "key": f"{cluster}/{kind}/{name}", "name": name}


def _held(one: Held) -> dict[str, Any]:
    key = f"{one.key.kind.value}/{one.name}"
    return {"cluster": one.key.cluster, "key": key, "reason": one.reason, "sentence": one.sentence, "code": one.code}


def _shown(step: Step) -> dict[str, Any]:
    return {
        "cluster": step.key.cluster, "key": f"{step.key.kind.value}/{step.name}", "verb": step.verb, "target": step.target,
        "risk": step.risk, "sentence": step.sentence, "disrupts": step.disrupts, "quorum": step.quorum,
        "wait": step.wait, "consent": step.consent,
    }  # fmt: skip
