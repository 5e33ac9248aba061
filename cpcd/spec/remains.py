"""What is left of a document whose shape is wrong in places: the wrong parts taken out, so that the rest is checked too.

A part that may be missing goes; one that must be there is stood in for. Each check says which fields it looks at
(`checks.py`) and is left out where one of them is gone, so that no mistake is told that only follows from another.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import ValidationError

from cpcd.spec.paths import Path, fits, pattern
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.suggestions import fields_at, places_of

__all__ = ["remains"]

_MOST: Final = 1_000  # wrong parts; a file with more is no slip of the pen, and looking on would take seconds
_ROUNDS: Final = 8  # what is taken out or stood in for can leave something wrong behind
_IPV4: Final = ("spec", "infrastructure", "proxmox", "ipv4Config")
# TEST-NET-1 (RFC 5737), which nobody has: what stands in overlaps nothing that is real.
_NETWORK: Final = {"addresses": ["192.0.2.2-192.0.2.254"], "prefix": 24, "gateway": "192.0.2.1"}
_STAND_INS: Final[dict[Path, Any]] = {
    ("spec",): {}, ("spec", "infrastructure"): {}, ("spec", "infrastructure", "proxmox"): {},
    ("apiVersion",): "cpcd.dev/v1alpha1",
    ("kind",): "Cluster",
    ("metadata",): {"name": "unnamed"},
    # The oldest that is read (`quantities.py`).
    ("spec", "version"): "v1.31.0",
    ("spec", "infrastructure", "proxmox", "url"): "https://unnamed:8006",
    ("spec", "infrastructure", "proxmox", "credentialsRef"): {"env": "UNNAMED"},
    _IPV4: _NETWORK,
    **{(*_IPV4, key): value for key, value in _NETWORK.items()},
}  # fmt: skip
_PVE: Final = "spec.infrastructure.proxmox"
_NAMED: Final = (f"{_PVE}.availabilityZones", "spec.templates", "spec.addons", "spec.workers.machineDeployments")
_TAINTED: Final = ("spec.controlPlane", "spec.workers.machineDeployments.*")
_ITEMS: Final[tuple[tuple[tuple[str, ...], Callable[[str], Any]], ...]] = (
    *((pattern(f"{place}.*.name"), lambda name: name) for place in _NAMED),
    *((pattern(f"{place}.taints.*"), lambda name: {"key": name, "effect": "NoSchedule"}) for place in _TAINTED),
    (pattern(f"{_PVE}.allowedNodes.*"), lambda name: name),
    (pattern(f"{_PVE}.availabilityZones.*.nodes"), lambda name: [name]),
)
"""What is stood in for item by item, under a name that no other item has, so that the others stay."""


def remains(value: Any, error: ValidationError) -> tuple[ClusterDocument, tuple[Path, ...]] | None:
    """Return what is left and the paths of what is gone; None when too little is left to be checked.

    `value` is the document that `error` was raised for; it is not changed. Lists keep all their items or go whole, so
    that what is left stands where it stood.
    """
    if error.error_count() > _MOST:
        return None
    left, gone = _copied(value), list[Path]()
    for _ in range(_ROUNDS):
        for path, unknown in _wrong(error):
            # It may be a known key misspelt: a check of that one would tell of a default that nobody wants.
            gone.extend(places_of(path) if unknown else ())
            gone.append(_taken_out(left, path))
        try:
            return ClusterDocument.model_validate(left), tuple(gone)
        except ValidationError as again:
            error = again
    return None


def _wrong(error: ValidationError) -> Iterator[tuple[Path, bool]]:
    for detail in error.errors(include_url=False):
        path: Path = tuple(key for key in detail["loc"] if key != "[key]")
        tails = detail["ctx"]["findings"] if detail["type"] == "cpcd_findings" else (((),),)
        for tail, *_ in tails:
            yield (*path, *tail), detail["type"] == "extra_forbidden"


def _taken_out(left: Any, path: Path) -> Path:
    """Take the smallest field at or around a path out of the document; return which one it was."""
    for place in (path[:length] for length in range(len(path), 0, -1)):
        *above, key = place
        around = _at(left, tuple(above))
        if around is not None and (stand_in := _stand_in(place)) is not None:
            around[key] = stand_in
            return place
        if not isinstance(around, dict) or not isinstance(key, str):
            continue
        field = fields_at(tuple(above)).get(key)
        if field is None or not field.is_required():
            around.pop(key, None)
            return place
    return path


def _stand_in(place: Path) -> Any:
    for where, made in _ITEMS:
        if fits(where, place):
            return made(f"unnamed-{next(key for key in reversed(place) if isinstance(key, int))}")
    return _copied(_STAND_INS.get(place))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _copied(value: Any) -> Any:
    """Copy without sharing: what aliases repeat is taken out in one place and stays in the others."""
    match value:
        case dict():
            return {key: _copied(child) for key, child in value.items()}
        case list():
            return [_copied(child) for child in value]
        case _:
            return value
