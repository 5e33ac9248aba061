"""Addon: manifests applied server-side, kept from drifting, and pruned as an ApplySet when an object leaves the file.

`mode: full` corrects and prunes; `oneTime` only creates what is missing the first time. An addon's failure never
stops anything else.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from cpcd.model.desired import Addon, Risk
from cpcd.model.errors import Bug
from cpcd.model.keys import Instant, Key, Kind, Scope
from cpcd.model.ledger import Change, DropFact, Op, PutFact
from cpcd.model.plan import Action, Condition, Observations, Plan, Status, Wait
from cpcd.model.seen import AddonSeen
from cpcd.model.view import View
from cpcd.plan import applyset, scopes
from cpcd.plan.case import because
from cpcd.plan.effects import see
from cpcd.ports.bundle import Ports
from cpcd.ports.kube import GVK

__all__ = ["KIND", "Apply", "ForgetAddon", "MarkApplied", "Prune", "apply", "keys", "plan", "reads", "watches"]

KIND = Kind.ADDON
HEAVY = frozenset({"Namespace", "PersistentVolumeClaim", "PersistentVolume", "CustomResourceDefinition", "StatefulSet"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(Action):
    """Apply one object server-side with field manager `cpcd`."""

    verb: ClassVar[str] = "apply"

    obj: dict[str, Any]
    ref: str

    @property
    def sentence(self) -> str:
        return f"apply {self.obj['kind']} {applyset.display(self.obj)} of addon {self.key.name}"

    def changes(self, view: View) -> tuple[Change, ...]:
        """Remember the addon before its first object is there, so that one that is never whole can be pruned too."""
        fact = f"applied/{self.key.cluster}/{self.key.name}"
        return () if fact in view.facts else (PutFact(fact, ""),)

    def expect(self, view: View) -> View:
        scope = scopes.addon(self.key.cluster, self.key.name)
        seen: AddonSeen = view.known(scope) or AddonSeen((), (), ())
        missing = tuple(ref for ref in seen.missing if ref != self.ref)
        drifted = tuple(ref for ref in seen.drifted if ref != self.ref)
        return see(view, scope, AddonSeen(missing, drifted, seen.surplus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Action):
    """Delete an object that was ours and is no longer in the file, uid as precondition."""

    verb: ClassVar[str] = "prune"

    obj: tuple[str, str, str, str, str]
    whole: bool = False

    @property
    def risk(self) -> Risk:  # type: ignore[override] # the class of a prune depends on what goes
        """Destroy for what takes data or other objects with it, and for a whole addon; else InPlace."""
        return Risk.DESTROY if self.whole or self.obj[1] in HEAVY else Risk.IN_PLACE

    @property
    def sentence(self) -> str:
        _, kind, namespace, name, _ = self.obj
        return f"prune {kind} {f'{namespace}/' if namespace else ''}{name} of addon {self.key.name}"

    def expect(self, view: View) -> View:
        scope = scopes.addon(self.key.cluster, self.key.name)
        seen: AddonSeen = view.known(scope) or AddonSeen((), (), ())
        left = tuple(obj for obj in seen.surplus if obj != self.obj)
        return see(view, scope, AddonSeen(seen.missing, seen.drifted, left))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkApplied(Action):
    """Remember that a `oneTime` addon has been applied."""

    verb: ClassVar[str] = "mark-applied"
    local: ClassVar[bool] = True

    digest: str

    @property
    def sentence(self) -> str:
        return f"remember that addon {self.key.name} was applied"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (PutFact(f"applied/{self.key.cluster}/{self.key.name}", self.digest),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAddon(Action):
    """Forget an addon that left the file and whose objects are pruned."""

    verb: ClassVar[str] = "forget-addon"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"forget addon {self.key.name}, which is pruned"

    def changes(self, _view: View) -> tuple[Change, ...]:
        name = f"{self.key.cluster}/{self.key.name}"
        return (DropFact(f"applied/{name}"), DropFact(f"approval/{self.key.cluster}/prune/{self.key.name}"))


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each addon in the file, and for each of which something was applied and that left it."""
    wanted = {(c.name, addon.name) for c in view.desired.clusters.values() for addon in c.addons}
    applied = {tuple(name.split("/")[1:]) for name in view.facts if name.startswith("applied/")}
    return tuple(Key(cluster, KIND, name) for cluster, name in sorted(wanted | {(a[0], a[1]) for a in applied}))


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the addon's objects, once there is a cluster; nothing once it is forgotten, and so is no object any more."""
    known = f"identity/{key.cluster}" in view.facts and key in keys(view)
    return (scopes.addon(key.cluster, key.name), scopes.api(key.cluster)) if known else ()


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is read."""
    return reads(key, view)


def plan(key: Key, view: View, _seen: Observations, _now: Instant) -> Plan:
    """Return the objects to apply in file order, then those to prune."""
    cluster = view.cluster(key.cluster)
    if cluster is None or f"identity/{key.cluster}" not in view.facts:
        token = f"fact:identity/{key.cluster}"
        return Plan(
            wait=Wait("ControlPlaneInitializing", f"addon {key.name} waits for the control plane", 60, (token,))
        )
    addon = next((addon for addon in cluster.addons if addon.name == key.name), None)
    scope = scopes.addon(key.cluster, key.name)
    seen: AddonSeen | None = view.known(scope)
    if seen is None:
        said = "cannot be read now" if scope in view.bulk else "is compared with its objects once there is an API"
        return Plan(wait=Wait("ApiUnavailable", f"addon {key.name} {said}{because(view, scope)}", 10))
    done = view.facts.get(f"applied/{key.cluster}/{key.name}")
    if addon is not None and addon.mode == "oneTime" and done:
        return _ready(addon, "was applied once")
    steps = _steps(key, addon, seen)
    if steps:
        return Plan(steps=steps)
    if addon is not None and done != addon.digest:
        return Plan(steps=(MarkApplied(key=key, digest=addon.digest),))
    if addon is None:
        return Plan(steps=(ForgetAddon(key=key),)) if done is not None else Plan()
    return _ready(addon, "is applied")


async def apply(action: Action, ports: Ports, _op: Op | None) -> str | None:
    """Carry out one apply or prune."""
    kube = ports.kube(action.key.cluster)
    match action:
        case Apply():
            await kube.apply(action.obj)
        case Prune(obj=(version, kind, namespace, name, uid)):
            await kube.delete(GVK(version, kind), name, namespace=namespace, uid=uid)
        case other:
            raise Bug(f"an addon has no action {other.verb}")
    return None


def _steps(key: Key, addon: Addon | None, seen: AddonSeen) -> tuple[Action, ...]:
    wrong = {*seen.missing, *seen.drifted}
    objects = applyset.objects(key.name, addon.objects) if addon else ()
    applied = tuple(Apply(key=key, obj=obj, ref=applyset.ref(obj)) for obj in objects if applyset.ref(obj) in wrong)
    return (*applied, *(Prune(key=key, obj=obj, whole=addon is None) for obj in seen.surplus))


def _ready(addon: Addon, how: str) -> Plan:
    sentence = f"addon {addon.name} {how} ({len(addon.objects)} objects)"
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", sentence),))
