"""What addons tell only beside the objects of their files: no such file, a second pod network, an object in two places."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cpcd.spec.checks import Checked
from cpcd.spec.manifests import Object, named
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import Path
from cpcd.spec.presets import PRESETS
from cpcd.spec.references import matching
from cpcd.spec.schema import ClusterSpec

__all__ = ["check_addons"]

_CNI: Final = "/etc/cni/net.d"
_WAY_OUT: Final = (
    "call the addon `cni` if it makes it, or list {name: flannel, preset: flannel} too if it builds on one"
)


def check_addons(checked: Checked, manifests: Mapping[str, Sequence[Object]]) -> Iterator[Mistake]:
    """Yield the mistakes of one cluster's addons; `manifests` are all objects by file."""
    if not checked.sound("spec.addons"):
        return
    # Where no addon is called like a CNI, flannel is added: then there is one more than is written.
    defaulted = len(checked.model.spec.addons) > len(checked.document.value["spec"].get("addons") or ())
    for at, addon in enumerate(checked.model.spec.addons):
        for spot, source in enumerate(addon.manifests):
            path: Path = ("spec", "addons", at, "manifests", spot, "file")
            names = matching(source.file, manifests)
            if not names:
                yield checked.document.mistake(path, f"no file is called {source.file}", "is it committed?")
            for name in names if defaulted else ():
                yield from _second_network(checked, path, name, manifests[name])
    yield from _presets(checked)
    yield from _doubled(checked, manifests)


def _presets(checked: Checked) -> Iterator[Mistake]:
    """Two addons of one preset bring the same objects."""
    homes: dict[str, str] = {}
    for at, addon in enumerate(checked.model.spec.addons):
        if addon.preset and (home := homes.setdefault(addon.preset, addon.name)) != addon.name:
            path: Path = ("spec", "addons", at, "preset")
            yield checked.document.mistake(path, f"{addon.preset} is addon {home} already", "keep one of them")


def _doubled(checked: Checked, manifests: Mapping[str, Sequence[Object]]) -> Iterator[Mistake]:
    """An object of two addons would be applied by both for ever, and each would call itself ready.

    One mistake for two files, however much they share; within a file it is `read_manifest`'s.
    """
    homes = dict(_brought(checked.model.spec)) if manifests else {}
    for path, addon, name in _listed_files(checked, manifests):
        shared: dict[tuple[str, str], list[str]] = {}
        for key in dict.fromkeys(map(named, manifests[name])):
            if (home := homes.setdefault(key, (addon, name))) != (addon, name):
                shared.setdefault(home, []).append(key)
        for (other, file), keys in shared.items():
            more = f" and {len(keys) - 1} more" if keys[1:] else ""
            what = f"{keys[0]}{more} of {name} is in addon {other} too, in {file}"
            yield checked.document.mistake(path, what, "keep it in one of them")


def _brought(spec: ClusterSpec) -> Iterator[tuple[str, tuple[str, str]]]:
    for addon in spec.addons:
        # They are called the same wherever the API is.
        for found in PRESETS[addon.preset]("", "", 0) if addon.preset and addon.preset in PRESETS else ():
            yield named(found), (addon.name, f"preset {addon.preset}")


def _listed_files(checked: Checked, manifests: Mapping[str, Sequence[Object]]) -> Iterator[tuple[Path, str, str]]:
    """Yield each addon's files in their order, each once, with where it is listed."""
    for at, addon in enumerate(checked.model.spec.addons):
        known = set[str]()
        for spot, source in enumerate(addon.manifests):
            for name in matching(source.file, manifests):
                if name not in known:
                    yield ("spec", "addons", at, "manifests", spot, "file"), addon.name, name
                known.add(name)


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
