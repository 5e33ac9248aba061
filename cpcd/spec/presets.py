"""Addons that cpcd brings along: published manifests, kept as they were published under `cpcd/vendor/`.

Nothing is fetched, and of a manifest only that is changed which has to fit the cluster. Where one comes from says the
`VENDORED.toml` beside it. Next: `compile.py`, which makes addons of them.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import yaml

__all__ = ["PRESETS", "flannel"]

Object = Mapping[str, Any]


@lru_cache(maxsize=8)
def flannel(pods: str) -> tuple[Object, ...]:
    """Return flannel's objects with `pods` (CIDR) as the `Network` of its net-conf.json, which is the pods' network."""
    from importlib.resources import files  # costs 10 ms, and most commands only ask which presets there are

    published = files("cpcd") / "vendor" / "flannel" / "kube-flannel.yml"
    return tuple(_networked(obj, pods) for obj in yaml.load_all(published.read_bytes(), Loader=yaml.CSafeLoader))


def _networked(obj: Object, pods: str) -> Object:
    if obj["kind"] != "ConfigMap":
        return obj
    network = {**json.loads(obj["data"]["net-conf.json"]), "Network": pods}
    return {**obj, "data": {**obj["data"], "net-conf.json": json.dumps(network, indent=2) + "\n"}}


PRESETS: Final[Mapping[str, Callable[[str], tuple[Object, ...]]]] = {"flannel": flannel}
"""Preset -> its objects, given the pods' network."""
