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
def flannel(pods: str, host: str, port: int) -> tuple[Object, ...]:
    """Return flannel's objects: `pods` (CIDR) is the `Network` of its net-conf.json, and the API is asked at the endpoint.

    Else flanneld asks it at the service's address, where nothing answers on a machine that has just started until
    kube-proxy has written its rules: it ends itself, and is started anew at ever longer intervals, while pods wait.
    kube-proxy and the kubelets ask at the endpoint too.
    """
    from importlib.resources import files  # costs 10 ms, and most commands only ask which presets there are

    published = files("cpcd") / "vendor" / "flannel" / "kube-flannel.yml"
    loaded = yaml.load_all(published.read_bytes(), Loader=yaml.CSafeLoader)
    return tuple(
        _fitted(obj, pods, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}) for obj in loaded
    )


def _fitted(obj: Any, pods: str, environment: Mapping[str, str]) -> Object:
    if obj["kind"] == "ConfigMap":
        network = {**json.loads(obj["data"]["net-conf.json"]), "Network": pods}
        obj["data"]["net-conf.json"] = json.dumps(network, indent=2) + "\n"
    if obj["kind"] == "DaemonSet":
        for container in obj["spec"]["template"]["spec"]["containers"]:
            container["env"] += [{"name": name, "value": value} for name, value in environment.items()]
    found: Object = obj
    return found


PRESETS: Final[Mapping[str, Callable[[str, str, int], tuple[Object, ...]]]] = {"flannel": flannel}
"""Preset -> its objects, given the pods' network and where the API is reached."""
