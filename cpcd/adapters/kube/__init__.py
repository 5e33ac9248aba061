"""Kubernetes through kubernetes.aio's dynamic client on plain dicts; `api.py` has the verbs, `failures.py` the table.

It never loads a typed model, a process-wide configuration or a file of the user's; nothing is repeated behind our back.
"""

from cpcd.adapters.kube.api import KubeApi
from cpcd.adapters.kube.client import forget_keys

__all__ = ["KubeApi", "forget_keys"]
