"""Proxmox VE through proxmoxer's path API over the transport port; `api.py` has the verbs, `failures.py` the errors.

`slots.py` keeps the limits of a node. It never waits for a Proxmox task and never repeats anything but a GET. The sockets are in `adapters/http.py`, the
meaning of texts in `model/texts.py`.
"""

from cpcd.adapters.proxmox.api import ProxmoxApi
from cpcd.adapters.proxmox.slots import Slots

__all__ = ["ProxmoxApi", "Slots"]
