"""Addon: manifests applied server-side, kept from drifting, and pruned as an ApplySet when an object leaves the file.

The parent first, which remembers kinds and namespaces; then what is missing or drifted; only when all of that is there
is anything pruned, and only when all of that is gone does the parent forget it (KEP-3659). `mode: full` corrects and
prunes; `oneTime` only creates what is missing the first time. An addon's failure never stops anything else.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cpcd.model.desired import Addon, Risk
from cpcd.model.errors import Bug, Code
from cpcd.model.keys import Key, Kind, Scope
from cpcd.model.ledger import Change, DropFact, Op, PutFact
from cpcd.model.plan import Action, Condition, Plan, Refusal, Status, Wait
from cpcd.model.seen import AddonSeen, Reference
from cpcd.model.view import View
from cpcd.plan import applyset, scopes
from cpcd.plan.case import because
from cpcd.plan.effects import see
from cpcd.ports.bundle import Ports
from cpcd.ports.kube import GVK

__all__ = [
    "KIND", "Apply", "ForgetAddon", "MarkApplied", "Prune", "RemoveAddon", "apply", "keys", "plan", "reads", "watches",
]  # fmt: skip

KIND = Kind.ADDON
HEAVY = frozenset({"Namespace", "PersistentVolumeClaim", "PersistentVolume", "CustomResourceDefinition", "StatefulSet"})
REMOVED = "removed"  # in the place of the digest that was applied: an addon that is on its way out, with consent


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(Action):
    """Apply one object server-side with field manager `cpcd`."""

    verb: ClassVar[str] = "apply"

    obj: dict[str, Any]

    @property
    def sentence(self) -> str:
        return f"apply {self.obj['kind']} {applyset.display(self.obj)} of addon {self.key.name}"

    def changes(self, view: View) -> tuple[Change, ...]:
        """Remember an addon that begins; one that comes back while it is removed begins anew."""
        known = view.facts.get(_applied(self.key), REMOVED)
        return (PutFact(_applied(self.key), ""),) if known == REMOVED else ()

    def expect(self, view: View) -> View:
        seen, ref = _seen(self.key, view), applyset.ref(self.obj)
        missing, drifted = ((r for r in refs if r != ref) for refs in (seen.missing, seen.drifted))
        return _see(self.key, view, replace(seen, missing=tuple(missing), drifted=tuple(drifted)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Action):
    """Delete an object that was ours and is no longer in the file, uid as precondition; `whole` with all of its addon."""

    verb: ClassVar[str] = "prune"

    obj: Reference
    whole: bool = False

    @property
    def risk(self) -> Risk:  # type: ignore[override] # the class of a prune depends on what goes
        """Destroy for what takes data or other objects with it, but with a whole addon: consent was given to all of it."""
        return Risk.DESTROY if self.obj[1] in HEAVY and not self.whole else Risk.IN_PLACE

    @property
    def subject(self) -> str:
        version, kind, namespace, name, _ = self.obj
        return "/".join(part for part in (self.key.name, applyset.group_kind(version, kind), namespace, name) if part)

    @property
    def sentence(self) -> str:
        return f"prune {_named(self.obj)} of addon {self.key.name}"

    def changes(self, view: View) -> tuple[Change, ...]:
        """An approval is spent by what it allowed."""
        return _withdrawn(view, self.request)

    def expect(self, view: View) -> View:
        before = _seen(self.key, view)
        kept = None if self.obj == before.parent else before.parent
        after = replace(before, surplus=tuple(one for one in before.surplus if one != self.obj), parent=kept)
        addon = _wanted(self.key, view)
        if addon is not None and (parent := _objects(addon, after)[0]) != _objects(addon, before)[0]:
            # Its parent names the kinds that are left, so with the last of a kind it has to be applied again.
            after = replace(after, drifted=(*after.drifted, applyset.ref(parent)))
        return _see(self.key, view, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveAddon(Action):
    """Decide that an addon goes: with this the consent is spent, and its objects are pruned without another."""

    verb: ClassVar[str] = "remove-addon"
    local: ClassVar[bool] = True
    risk: ClassVar[Risk] = Risk.DESTROY

    objects: tuple[Reference, ...]

    @property
    def subject(self) -> str:
        return f"{self.key.name}/{applyset.digest(self.objects)}"

    @property
    def sentence(self) -> str:
        named = ", ".join(_named(one) for one in self.objects[:5])
        more = f" and {len(self.objects) - 5} more" if len(self.objects) > 5 else ""
        return f"remove addon {self.key.name}, which left the file, with {named}{more}"

    def changes(self, view: View) -> tuple[Change, ...]:
        """An approval is spent by what it allowed."""
        return (PutFact(_applied(self.key), REMOVED), *_withdrawn(view, self.request))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkApplied(Action):
    """Remember what was applied, and that consent which nothing has spent is for nothing any more."""

    verb: ClassVar[str] = "mark-applied"
    local: ClassVar[bool] = True

    digest: str

    @property
    def sentence(self) -> str:
        return f"remember that addon {self.key.name} was applied"

    def changes(self, view: View) -> tuple[Change, ...]:
        return (PutFact(_applied(self.key), self.digest), *_stale(self.key, view))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAddon(Action):
    """Forget an addon that left the file and whose objects are pruned."""

    verb: ClassVar[str] = "forget-addon"
    local: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"forget addon {self.key.name}, which is pruned"

    def changes(self, view: View) -> tuple[Change, ...]:
        return (DropFact(_applied(self.key)), *_stale(self.key, view))


def keys(view: View) -> tuple[Key, ...]:
    """Return a key for each addon in the file, and for each of which something was applied and that left it.

    What was applied in a cluster whose document is gone is left as it is, like its machines.
    """
    wanted = {(c.name, addon.name) for c in view.desired.clusters.values() for addon in c.addons}
    applied = {tuple(name.split("/")[1:]) for name in view.facts if name.startswith("applied/")}
    left = {(a[0], a[1]) for a in applied if view.cluster(a[0])}
    return tuple(Key(cluster, KIND, name) for cluster, name in sorted(wanted | left))


def reads(key: Key, view: View) -> tuple[Scope, ...]:
    """Return the addon's objects, once there is a cluster; nothing once it is forgotten, and so is no object any more."""
    known = f"identity/{key.cluster}" in view.facts and key in keys(view)
    return (scopes.addon(key.cluster, key.name), scopes.api(key.cluster)) if known else ()


def watches(key: Key, view: View) -> tuple[Scope, ...]:
    """Return what is read."""
    return reads(key, view)


def plan(key: Key, view: View) -> Plan:
    """Return the objects to apply in file order, then those to prune."""
    if view.cluster(key.cluster) is None or key not in keys(view):
        return Plan()
    if f"identity/{key.cluster}" not in view.facts:
        token = f"fact:identity/{key.cluster}"
        return Plan(
            wait=Wait("ControlPlaneInitializing", f"addon {key.name} waits for the control plane", 60, (token,))
        )
    scope = scopes.addon(key.cluster, key.name)
    seen: AddonSeen | None = view.known(scope)
    if seen is None:
        said = "cannot be read now" if scope in view.bulk else "is compared with its objects once there is an API"
        return Plan(wait=Wait("ApiUnavailable", f"addon {key.name} {said}{because(view, scope)}", 10))
    addon = _wanted(key, view)
    return _removal(key, view, seen) if addon is None else _upkeep(key, view, addon, seen)


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


def _upkeep(key: Key, view: View, addon: Addon, seen: AddonSeen) -> Plan:
    done = view.facts.get(_applied(key))
    # One that came back while it was being removed was not applied since.
    if addon.mode == "oneTime" and done not in {None, "", REMOVED}:
        return _ready(addon, "was applied once")
    if seen.doubled:
        return Plan(refusal=_refusal(addon, seen))
    steps = _applications(key, addon, seen) or _prunes(key, seen)
    if steps or seen.leaving:
        return Plan(steps=steps, wait=None if steps else _leaving(key, seen))
    if done != addon.digest or _stale(key, view):
        return Plan(steps=(MarkApplied(key=key, digest=addon.digest),))
    return _ready(addon, "is applied")


def _refusal(addon: Addon, seen: AddonSeen) -> Refusal:
    """Two that apply one object would do it over each other for ever, and each would call itself ready."""
    (named, home), *others = seen.doubled
    more = f" and {len(others)} more" if others else ""
    where = "there twice" if home == addon.name else f"in addon {home} too"
    sentence = f"addon {addon.name} is not applied: {named}{more} is {where}"
    return Refusal(Code.CONFIG, "ObjectDoubled", sentence, "Keep it in one place; its kind is in no namespace.")


def _applications(key: Key, addon: Addon, seen: AddonSeen) -> tuple[Action, ...]:
    """What is wrong of the parent, and when it is right of the others: what it does not name could not be pruned."""
    wrong = {*seen.missing, *seen.drifted}
    parent, *members = (Apply(key=key, obj=obj) for obj in _objects(addon, seen))
    # Alone, and the others in the next pass: until it is there, nothing would find them again.
    if applyset.ref(parent.obj) in wrong:
        return (parent,)
    return tuple(one for one in members if applyset.ref(one.obj) in wrong)


def _prunes(key: Key, seen: AddonSeen, *, whole: bool = False) -> tuple[Action, ...]:
    """What others live in or are of goes last."""
    ordered = sorted(seen.surplus, key=lambda one: one[1] in applyset.CLUSTER_SCOPED_FIRST)
    return tuple(Prune(key=key, obj=obj, whole=whole) for obj in ordered)


def _removal(key: Key, view: View, seen: AddonSeen) -> Plan:
    """Return the next steps of an addon that left the file: consent to all of it, its objects, its parent, the rest."""
    if view.facts[_applied(key)] != REMOVED and seen.surplus:
        return Plan(steps=(RemoveAddon(key=key, objects=seen.surplus),))
    if steps := _prunes(key, seen, whole=True):
        return Plan(steps=steps)
    if seen.leaving:
        return Plan(wait=_leaving(key, seen))
    if seen.parent is not None:
        return Plan(steps=(Prune(key=key, obj=seen.parent, whole=True),))
    return Plan(steps=(ForgetAddon(key=key),))


def _leaving(key: Key, seen: AddonSeen) -> Wait:
    named = _named(seen.leaving[0])
    more = f" and {len(seen.leaving) - 1} more" if len(seen.leaving) > 1 else ""
    return Wait("Terminating", f"addon {key.name} waits for {named}{more} to be gone, which is being deleted", 5)


def _objects(addon: Addon, seen: AddonSeen) -> tuple[dict[str, Any], ...]:
    """Return what is to be at the API, the parent first; it keeps what is not gone yet."""
    given = applyset.placed(addon.objects, dict(seen.placed))
    return applyset.objects(addon.name, given, (*seen.surplus, *seen.leaving))


def _wanted(key: Key, view: View) -> Addon | None:
    cluster = view.cluster(key.cluster)
    return next((addon for addon in cluster.addons if addon.name == key.name), None) if cluster else None


def _applied(key: Key) -> str:
    """The fact that an addon was begun (empty), applied (its digest) or is `REMOVED`."""
    return f"applied/{key.cluster}/{key.name}"


def _withdrawn(view: View, *names: str) -> tuple[Change, ...]:
    return tuple(DropFact(f"approval/{name}") for name in names if f"approval/{name}" in view.facts)


def _stale(key: Key, view: View) -> tuple[Change, ...]:
    """Return what drops all consent about an addon."""
    about = tuple(f"approval/{key.cluster}/{verb}/{key.name}/" for verb in (Prune.verb, RemoveAddon.verb))
    return tuple(DropFact(name) for name in view.facts if name.startswith(about))


def _seen(key: Key, view: View) -> AddonSeen:
    return view.known(scopes.addon(key.cluster, key.name)) or AddonSeen()


def _see(key: Key, view: View, seen: AddonSeen) -> View:
    return see(view, scopes.addon(key.cluster, key.name), seen)


def _named(obj: Reference) -> str:
    _, kind, namespace, name, _ = obj
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _ready(addon: Addon, how: str) -> Plan:
    sentence = f"addon {addon.name} {how} ({len(addon.objects)} objects)"
    return Plan(conditions=(Condition("Ready", Status.TRUE, "Ready", sentence),))
