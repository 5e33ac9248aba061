"""What an unknown key was probably meant to be: another word of this place, another tool's word, or another place.

Only fields that cpcd acts on are suggested; nothing here judges a file.
"""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, get_args, get_origin

from pydantic.fields import FieldInfo

from cpcd.spec.aliases import SPELLINGS
from cpcd.spec.paths import Path
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.schema.common import Model
from cpcd.spec.support import UNSUPPORTED

__all__ = ["FOREIGN", "fields_at", "meant", "nearest", "places_of"]

_FEW: Final = 3
_SHORT_LIST: Final = 14
_REFUSED: Final = frozenset(row.path for row in UNSUPPORTED)

_OWN_WORDS: Final[Mapping[str, str]] = {
    "controlPlane.replicas": "masters masterCount masterNodes controlPlanes controlPlaneCount controlPlaneNodes servers",
    "workers.machineDeployments": "nodes nodeGroups workerNodes workerPools workerGroups machinePools agents",
    "clusterNetwork": "network networking",
    "clusterNetwork.pods.cidrBlocks": "podCIDR podsCIDR podSubnet clusterCIDR podNetwork",
    "clusterNetwork.services.cidrBlocks": "serviceCIDR servicesCIDR serviceSubnet serviceClusterIPRange serviceNetwork",
    "clusterNetwork.serviceDomain": "dnsDomain clusterDomain",
    "controlPlaneEndpoint.host": "vip virtualIP loadBalancer apiEndpoint",
    "version": "k8sVersion kubeVersion kubernetes",
    "addons": "cni networkPlugin plugins helm charts",
    "memoryMiB": "ram mem memoryMB memoryGB",
    "numCores": "cpus vcpus vcpu cpuCores coreCount",
    "disks.bootVolume.sizeGb": "disk diskSize diskGb diskSizeGb rootDisk bootDisk",
    "ssh.keys": "sshKeys sshAuthorizedKeys authorizedKeys sshPublicKeys",
}
# Older spellings are read where they belong; elsewhere they are as foreign as these.
FOREIGN: Final[Mapping[str, str]] = {
    **{old.lower(): new for _, old, new in SPELLINGS},
    **{word.lower(): own for own, words in _OWN_WORDS.items() for word in words.split()},
}
"""What other tools call it, in lower case -> the words of `cluster.yaml`, below the place that has the first."""


def meant(path: Path) -> str:
    """Return a hint for the unknown key at the end of a path, or an empty text."""
    key, here = str(path[-1]), path[:-1]
    known = fields_at(here)
    word = next((word for word in known if word.lower() == key.lower()), FOREIGN.get(key.lower(), ""))
    head = word.partition(".")[0]
    if head in known:
        return f"did you mean {word}?"
    if head and (places := _holding(head, here)):
        return f"did you mean {places[0]}.{word}?"
    if places := _holding(key, here):
        return f"it belongs into {' or '.join(places)}"
    if near := nearest(key, known):
        return f"did you mean {near}?"
    if places := _holding(key, ()):
        return f"it belongs into {' or '.join(places)}"
    return f"known here: {', '.join(sorted(known))}" if len(known) <= _SHORT_LIST else ""


def places_of(path: Path) -> list[Path]:
    """Return where the value under an unknown key may have been meant to stand; `*` is any one key."""
    key, here = str(path[-1]), path[:-1]
    words = {key, FOREIGN.get(key.lower(), key).partition(".")[0]}
    elsewhere = [(*place, word) for word in sorted(words) for place in _places().get(word, ())]
    return [(*here, nearest(key, fields_at(here)) or key), *elsewhere]


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return the known word that was probably meant, or an empty text."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def fields_at(path: Path) -> dict[str, FieldInfo]:
    """Return the fields of the model at a path of the document, by the file's word; empty where there is no model."""
    return _fields(_model_at(path))


def _model_at(path: Path) -> Any:
    model: Any = ClusterDocument
    for key in path:
        fields = _fields(model)
        model = _model(fields[key].annotation) if isinstance(key, str) and key in fields else _model(model)
    return model


def _fields(model: Any) -> dict[str, FieldInfo]:
    if not (isinstance(model, type) and issubclass(model, Model)):
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model(annotation: Any) -> Any:
    """Return the model inside an annotation such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _holding(word: str, here: Path) -> list[str]:
    """Return the places below this one, nearest first, that have such a field; nothing when they are many."""
    at = tuple("*" if isinstance(key, int) else key for key in here)
    below = [place for place in _places().get(word, ()) if len(place) > len(at) and place[: len(at)] == at]
    nearest_ones = [place for place in below if len(place) == len(below[0])]
    shown = [".".join(key for key in place[len(at) :] if key != "*") for place in nearest_ones]
    return shown if len(shown) <= _FEW else []


@cache
def _places() -> dict[str, list[tuple[str, ...]]]:
    """Return field -> the places that have it and that cpcd acts on, the shallowest first; only a mistake asks."""
    found: dict[str, list[tuple[str, ...]]] = {}
    level: list[tuple[tuple[str, ...], Any]] = [((), ClusterDocument)]
    while level:
        for place, model in level:
            for word, _ in _acted_on(place, model):
                found.setdefault(word, []).append(place)
        level = [below for place, model in level for below in _below(place, model)]
    return found


def _acted_on(place: tuple[str, ...], model: Any) -> Iterator[tuple[str, FieldInfo]]:
    return ((word, field) for word, field in _fields(model).items() if ".".join((*place, word)) not in _REFUSED)


def _below(place: tuple[str, ...], model: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    for word, field in _acted_on(place, model):
        if (inner := _model(field.annotation)) is not None:
            many = ("*",) if get_origin(field.annotation) is tuple else ()
            yield (*place, word, *many), inner
