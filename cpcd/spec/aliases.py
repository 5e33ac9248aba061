"""Older and neighbouring spellings of fields, in one table; the models know only the words of `schema`.

A document is rewritten before it is judged, its marks with it, so that a mistake still points at what was written.
"""

from typing import Any, Final

from cpcd.spec.load import Document
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import MACHINES, Path, fits, pattern

__all__ = ["SPELLINGS", "normalise"]

_PROXMOX: Final = "spec.infrastructure.proxmox"

# (where, what people also write, the field's word)
SPELLINGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("spec", "kubernetesVersion", "version"),
    ("spec.workers", "nodePools", "machineDeployments"),
    (_PROXMOX, "urls", "url"),
    (_PROXMOX, "nodes", "allowedNodes"),
    (_PROXMOX, "failureDomains", "availabilityZones"),
    (_PROXMOX, "vmidRange", "vmIDRange"),
    ("spec.templates.*", "templateId", "templateID"),
    ("spec.templates.*", "vmid", "templateID"),
    *((machine, "templateId", "templateID") for machine in MACHINES),
    *((machine, "sockets", "numSockets") for machine in MACHINES),
    *((machine, "cores", "numCores") for machine in MACHINES),
    *((machine, "cpu", "cpuType") for machine in MACHINES),
    *((machine, "memory", "memoryMiB") for machine in MACHINES),
    *((machine, "onboot", "onBoot") for machine in MACHINES),
    *((f"{machine}.disks.bootVolume", "sizeGB", "sizeGb") for machine in MACHINES),
    *((f"{machine}.disks.bootVolume", "size", "sizeGb") for machine in MACHINES),
)


def _index() -> dict[str, tuple[tuple[tuple[str, ...], str], ...]]:
    index: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {}
    for where, old, new in SPELLINGS:
        index[old] = (*index.get(old, ()), (pattern(where), new))
    return index


_BY_OLD: Final = _index()


def normalise(document: Document) -> tuple[Document, list[Mistake]]:
    """Return the document in the words of the models, and a mistake for each field that is there in two spellings."""
    # Nearly every file is in the words of the models already: of it nothing is copied.
    if all(_word(path) == path[-1] for path in document.keys):
        return document, []
    doubled: list[tuple[Path, str]] = []
    value = _renamed(document.value, (), doubled)
    values = {_spelled(path): mark for path, mark in document.values.items()}
    keys = {_spelled(path): mark for path, mark in document.keys.items()}
    renamed = Document(document.file, value, values, keys)
    return renamed, [
        document.mistake(path, f"is another spelling of {other}, which is there too", "keep one", key=True)
        for path, other in doubled
    ]


def _word(path: Path) -> str | int:
    """Return the field's word for the last part of a path; the parts before it are in those words already."""
    key = path[-1]
    known = _BY_OLD.get(key, ()) if isinstance(key, str) else ()
    return next((new for where, new in known if fits(where, path[:-1])), key)


def _spelled(path: Path) -> Path:
    done: Path = ()
    for key in path:
        done = (*done, _word((*done, key)))
    return done


def _renamed(value: Any, path: Path, doubled: list[tuple[Path, str]]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, (*path, at), doubled) for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    found: dict[str | int, Any] = {}
    written: dict[str | int, str] = {}
    for key, child in value.items():
        word = _word((*path, key))
        # The field in its own word is the one that is kept, whichever stands first.
        other = word if word != key and word in value else written.setdefault(word, key)
        if other != key:
            doubled.append(((*path, key), str(other)))
        else:
            found[word] = _renamed(child, (*path, word), doubled)
    return found
