"""Proxmox VE through proxmoxer's path API over the transport port; `api.py` has the verbs, `failures.py` the table.

It never waits for a Proxmox task and never repeats anything but a GET. The sockets are in `adapters/http.py`.
"""

from cpcd.adapters.proxmox.api import ProxmoxApi
from cpcd.adapters.proxmox.failures import task_failure

__all__ = ["ProxmoxApi", "task_failure"]
