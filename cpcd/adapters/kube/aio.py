"""The parts of `kubernetes.aio` that cpcd uses, and the only place that imports the library.

Its own front door imports the synchronous half with requests, urllib3's pools, oauthlib and websocket, which nothing
here calls: 8 MB of the daemon and half of the library's import. The package is entered beside that door.
"""

import sys
from importlib.util import find_spec, module_from_spec


def _enter(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None, f"{package} is a dependency"
    sys.modules.setdefault(package, module_from_spec(spec))  # never executed: submodules are found by its path


_enter("kubernetes")

from kubernetes.aio.client.api_client import ApiClient  # noqa: E402 - after the way in
from kubernetes.aio.client.configuration import Configuration  # noqa: E402
from kubernetes.aio.client.exceptions import ApiException  # noqa: E402
from kubernetes.aio.dynamic.client import DynamicClient  # noqa: E402
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError  # noqa: E402

__all__ = [
    "ApiClient",
    "ApiException",
    "Configuration",
    "DynamicClient",
    "ResourceNotFoundError",
]
