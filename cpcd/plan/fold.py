"""The plan to its end: the daemon's own functions, folded over what each action says the world looks like after it.

Without time passing and without failures, every guard and every `resolve` included; so on a faultless Proxmox the
steps applied are the steps printed: the same set, in the same order for each key. Consent that is waited for, and the
hour of the blast radius, are folded over once nothing else is left: what is behind them is marked so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final

from cpcd.model.errors import Bug
from cpcd.model.keys import Key, Kind, OpId, Scope
from cpcd.model.ledger import CloseOp, Op, OpenOp
from cpcd.model.plan import Action, Done, Guard, Plan, Refusal, Resolve, Unknown, Wait
from cpcd.model.seen import Members, Task
from cpcd.model.view import View
from cpcd.plan import scopes
from cpcd.plan.effects import OPS, Write, see
from cpcd.plan.foresight import arrived, succeeded
from cpcd.plan.guards import quorum_left
from cpcd.plan.resolve import evidence

__all__ = ["Fold", "Held", "Step", "fold"]

LIMIT: Final = 20_000
_APPROVAL: Final = "fact:approval/"

# What a step waits for that no other step brings, and what is said of the steps behind it.
BEHIND: Final = {"AwaitingApproval": "after approval", "BlastRadius": "after the wait for the blast radius"}
# As far as nothing else is left to fold: nothing, consent, and then, each time anew, the blast radius.
OVERCOME: Final = (frozenset[str](), frozenset({"AwaitingApproval"}), frozenset(BEHIND))


@dataclass(frozen=True, slots=True)
class Step:
    """One step as printed; `name` is the object's for people, `quorum` what is left of etcd while it is taken.

    `wait` says why it is not taken now: what it waits for itself, or that it comes behind what waits. `consent` is the
    id of the consent that it waits for, which several steps may need.
    """

    key: Key
    name: str
    verb: str
    target: str
    risk: str
    sentence: str
    disrupts: str = ""
    quorum: str = ""
    wait: str = ""
    consent: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """An object whose steps cannot be told: what it waits for, or why it is refused (then with a code)."""

    key: Key
    name: str
    reason: str
    sentence: str
    code: str = ""


class Fold:
    """Folds one view; `reconcilers`, `guards` and `resolve` are those of the daemon."""

    def __init__(
        self, view: View, *, reconcilers: Sequence[ModuleType], guards: Sequence[Guard], resolve: Resolve
    ) -> None:
        self.view = view
        self._reconcilers, self._guards, self._resolve = reconcilers, guards, resolve
        self._minted = self._taken = 0
        self._overcome = 0
        self._behind = ""
        self._hung: frozenset[OpId] = frozenset()
        self.blocked: dict[Key, list[Step]] = {}
        self.held: dict[Key, Held] = {}
        """By key, once the steps are all taken: what keeps an object from being as wanted and is no step."""

    def steps(self) -> Iterator[Step]:
        """Yield steps until none is left: first what is done by itself; what stays blocked comes last, with its reason."""
        self._hung = frozenset(op.id for op in self.view.ops.values() if self._ends(op))
        for op in list(self.view.ops.values()):
            self.view = self.view if op.id in self._hung else succeeded(op, self.view)
        while self._overcome < len(OVERCOME):
            before = self._taken
            yield from self._round()
            self._overcome = min(self._overcome, 1) if self._taken > before else self._overcome + 1
            if self._minted > LIMIT:
                raise Bug("the plan does not end")
        for steps in self.blocked.values():
            yield from steps

    def _ends(self, op: Op) -> bool:
        """Whether its own key ends an operation that nobody answers for: it is not awaited any more."""
        match self._resolve(op, self.view, self.view.wall):
            case Unknown(late=True):
                module = next(one for one in self._reconcilers if op.key.kind is one.KIND)
                plan: Plan = module.plan(op.key, self._view())
                return any(CloseOp(op.id) in step.changes(self.view) for step in plan.steps)
            case _:
                return False

    def _round(self) -> Iterator[Step]:
        for module in self._reconcilers:
            for key in module.keys(self._view()):
                yield from self._key(module, key)

    def all_steps(self) -> tuple[Step, ...]:
        """Return them all; consecutive repetitions of one step (a drain's sweeps) count as one."""
        steps: list[Step] = []
        for step in self.steps():
            if not steps or steps[-1] != step:
                steps.append(step)
        return tuple(steps)

    def _view(self) -> View:
        self._minted += 1
        return replace(self.view, fresh=(f"new-{self._minted}",))

    def _key(self, module: ModuleType, key: Key) -> Iterator[Step]:
        self.blocked.pop(key, None)
        self.held.pop(key, None)
        self._settle(key)
        # On what is settled, as in a pass: what is decided beside an open operation would be another plan.
        plan: Plan = module.plan(key, self._view())
        while (
            plan.wait is not None and not plan.steps and (later := arrived(key, plan.wait, self.view)) is not self.view
        ):
            # What is waited for has come already and is waited for all the same: more cannot be foreseen.
            if later == self.view:
                break
            self.view = later
            plan = module.plan(key, self._view())
        self._hold(key, plan)
        for action in plan.steps:
            verdicts = [verdict for guard in self._guards if (verdict := guard(action, self.view)) is not None]
            if any(verdict.reason not in OVERCOME[self._overcome] for verdict in verdicts):
                # The loop tells the first that objects, too.
                self.blocked.setdefault(key, []).append(self._step(action, verdicts[:1]))
                continue
            self._behind = BEHIND[verdicts[0].reason] if verdicts else self._behind
            yield self._step(action, verdicts)
            self._take(action)

    def _hold(self, key: Key, plan: Plan) -> None:
        why = plan.refusal or plan.wait
        if why is not None and not plan.steps:
            row = self.view.row(key) if key.kind is Kind.MACHINE else None
            code = str(why.code) if isinstance(why, Refusal) else ""
            self.held[key] = Held(key, row.name if row else key.name, why.reason, why.sentence, code)

    def _take(self, action: Action) -> None:
        self._taken += 1
        view = self.view
        changes = action.changes(view)
        self._minted += 1  # a plan may open two ops
        if action.once:
            op = Op(
                id=OpId(f"op-{self._minted}"), key=action.owner, verb=action.verb, target=action.target,
                opened=view.wall, before=action.before(view), disrupts=action.disrupts,
                slots=tuple(action.slots(view)), handle="expected",
            )  # fmt: skip
            changes = (*changes, OpenOp(op))
        self.view = action.expect(view.with_ledger(changes))
        self._settle(action.owner)

    def _settle(self, key: Key) -> None:
        """Close what the expected evidence closes."""
        for op in self.view.open_ops(key):
            if op.id in self._hung:
                continue
            for scope in evidence(op, self.view):
                self.view = self._expected(scope, op)
            match self._resolve(op, self.view, self.view.wall):
                case Done(changes):
                    self.view = self.view.with_ledger((*changes, CloseOp(op.id)))
                case _:
                    pass

    def _expected(self, scope: Scope, op: Op) -> View:
        """The evidence of a success."""
        value: Any = None
        match scope.kind:
            case "tasks":
                kind = OPS[op.verb]
                value = (Task(op.handle or "expected", kind.task if issubclass(kind, Write) else "", 0, "OK"),)
            case "guestop":
                made = {"ca_hash": "expected", "voters": 1, "config_maps": ["kubeadm-config", "cluster-info"]}
                value = {"state": "done", "output": made}
            case _:
                return self.view
        return see(self.view, scope, value)

    def _step(self, action: Action, verdicts: Sequence[Refusal | Wait]) -> Step:
        own = "; ".join(_why(action, verdict) for verdict in verdicts)
        row = getattr(action, "row", None)
        return Step(
            key=action.key,
            name=row.name if row is not None and action.key.kind is Kind.MACHINE else action.key.name, verb=action.verb, target=str(action.target), risk=action.risk.value,
            sentence=action.sentence, disrupts=action.disrupts.value if action.disrupts else "",
            quorum=self._quorum(action), wait=own or self._behind, consent=_consent(verdicts),
        )  # fmt: skip

    def _quorum(self, action: Action) -> str:
        row = getattr(action, "row", None)
        members: Members | None = self.view.known(scopes.etcd(action.key.cluster))
        if action.disrupts != "control-plane" or row is None or members is None:
            return ""
        left = [m for m in members.voters if m.healthy and m != members.at(row.address)]
        kept = quorum_left(members, row.address, removal=action.verb == "retire")
        return f"{len(left)} of {len(members.voters)} voters left{'' if kept else ', an outage of the API'}"


def _why(action: Action, verdict: Refusal | Wait) -> str:
    """Return what a step waits for; the id of a consent is with the step that spends it."""
    if action.asks is not action and verdict.reason == "AwaitingApproval":
        return f"waits for the consent to {action.asks.sentence}"
    return verdict.sentence.removeprefix(f"{action.sentence}: ")


def _consent(verdicts: Sequence[Refusal | Wait]) -> str:
    facts = (fact for verdict in verdicts if isinstance(verdict, Wait) for fact in verdict.on)
    return next((fact.removeprefix(_APPROVAL) for fact in facts if fact.startswith(_APPROVAL)), "")


def fold(
    view: View, *, reconcilers: Sequence[ModuleType], guards: Sequence[Guard], resolve: Resolve
) -> tuple[Step, ...]:
    """Return all remaining steps of a view, in the order in which they would be taken one at a time."""
    return Fold(view, reconcilers=reconcilers, guards=guards, resolve=resolve).all_steps()
