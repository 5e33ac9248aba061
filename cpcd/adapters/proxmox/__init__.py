"""Proxmox VE through proxmoxer's path API over the transport port; `api.py` has the verbs, `failures.py` the errors.

It never waits for a Proxmox task and never repeats anything but a GET. The sockets are in `adapters/http.py`, the
meaning of texts in `model/texts.py`.
"""

from cpcd.adapters.proxmox.api import ProxmoxApi

__all__ = ["ProxmoxApi"]
