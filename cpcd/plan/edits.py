"""What an edit of the spec is about: of a thousand machines, those for which it means something.

A pass reads its machine afresh, so that looking at all of them would be thousands of calls in front of the edit's own
first one. Whom nobody looks at now is looked at as always: when its wait ends, or something about it changes.
"""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Final

from cpcd.model.keys import Key, Kind
from cpcd.model.plan import Plan
from cpcd.model.view import View

__all__ = ["concerned"]

_MANY: Final = {Kind.MACHINE, Kind.NODES}  # a key for each machine; of the other kinds there are few


def concerned(before: View, after: View, reconcilers: Sequence[ModuleType]) -> Iterator[Key]:
    """Yield the objects to look at in the order of the reconcilers, decisions first."""
    for module in reconcilers:
        yield from (key for key in module.keys(after) if key.kind not in _MANY or _touched(module, key, before, after))


def _touched(module: ModuleType, key: Key, before: View, after: View) -> bool:
    """Whether there is something to do, which guards may judge otherwise now, or something else to wait for."""
    try:
        plan: Plan = module.plan(key, after)
        return bool(plan.steps or plan.refusal) or plan != module.plan(key, before)
    except Exception:  # noqa: BLE001 - its own pass says what is wrong with it, and the others are looked at (promise 9)
        return True
