"""What addons tell only beside the objects of their files: files that are not there, and a second pod network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cpcd.spec.checks import Checked
from cpcd.spec.manifests import Object
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import Path
from cpcd.spec.references import matching

__all__ = ["check_addons"]

_CNI: Final = "/etc/cni/net.d"
_WAY_OUT: Final = (
    "call the addon `cni` if it makes it, or list {name: flannel, preset: flannel} too if it builds on one"
)


def check_addons(checked: Checked, manifests: Mapping[str, Sequence[Object]]) -> Iterator[Mistake]:
    """Yield the mistakes of one cluster's addons; `manifests` are all objects by file."""
    if not checked.sound("spec.addons"):
        return
    defaulted = len(checked.model.spec.addons) > len(checked.document.value["spec"].get("addons") or ())
    for at, addon in enumerate(checked.model.spec.addons):
        for spot, source in enumerate(addon.manifests):
            path: Path = ("spec", "addons", at, "manifests", spot, "file")
            names = matching(source.file, manifests)
            if not names:
                yield checked.document.mistake(path, f"no file is called {source.file}", "is it committed?")
            for name in names if defaulted else ():
                yield from _second_network(checked, path, name, manifests[name])


def _second_network(checked: Checked, path: Path, name: str, objects: Sequence[Object]) -> Iterator[Mistake]:
    """Flannel was added because no addon is called like a CNI; one that is a CNI all the same would run beside it.

    What extends another CNI writes its configuration there too and cannot be told from one, so that a person says
    which it is.
    """
    for found in objects:
        if found["kind"] == "DaemonSet" and _writes_cni(_within(found, "spec", "template", "spec")):
            daemon = f"DaemonSet {found['metadata']['name']} of {name}"
            what = f"{daemon} writes {_CNI}, and flannel, which is added, makes the pods' network already"
            yield checked.document.mistake(path, what, _WAY_OUT)


def _writes_cni(pod: Any) -> bool:
    """Whether a pod mounts the host's CNI configuration, and not only to read it."""
    hosts = [
        _within(volume, "name") for volume in _listed(pod, "volumes") if _is_cni(_within(volume, "hostPath", "path"))
    ]
    containers = (*_listed(pod, "containers"), *_listed(pod, "initContainers"))
    mounts = (mount for container in containers for mount in _listed(container, "volumeMounts"))
    return any(_within(mount, "name") in hosts and _within(mount, "readOnly") is not True for mount in mounts)


def _is_cni(path: Any) -> bool:
    return isinstance(path, str) and (path.rstrip("/") in {_CNI, "/etc/cni"} or path.startswith(f"{_CNI}/"))


def _listed(value: Any, key: str) -> list[Any]:
    found = _within(value, key)
    return found if isinstance(found, list) else []


def _within(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
