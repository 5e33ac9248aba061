"""The way into `kubernetes.aio`, beside the library's own front door.

That door imports the synchronous half with requests, urllib3's pools, oauthlib and websocket, which nothing here calls:
8 MB of the daemon and half of the library's import. Python runs this file before any other of the package, so that what
`parts.py` imports finds the package entered already.
"""

import sys
from importlib.util import find_spec, module_from_spec

__all__: list[str] = []


def _enter(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None, f"{package} is a dependency"
    sys.modules.setdefault(package, module_from_spec(spec))  # never executed: submodules are found by its path


_enter("kubernetes")
