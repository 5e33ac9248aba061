"""Proxmox VE without hardware: its API as one synchronous function over an injected clock.

The lab's transports, in process and over HTTPS, call `handle`; guests stand behind `Backend`. Every behaviour says where
it comes from (`cpcd.lab.provenance`). It opens no socket and never sleeps. Start reading at `pve.py`.
"""

from cpcd.lab.pve.cluster import Destructive
from cpcd.lab.pve.errors import Silent
from cpcd.lab.pve.http import SECONDS
from cpcd.lab.pve.profiles import PROFILES, RECORDED
from cpcd.lab.pve.pve import Pve, handle
from cpcd.lab.pve.settings import ADMINISTRATOR, AUDITOR, PROVISIONER, Durations, Node, Settings, Storage, Token
from cpcd.lab.pve.statistics import broadcast
from cpcd.lab.pve.vm import Backend, Vm

__all__ = [
    "ADMINISTRATOR",
    "AUDITOR",
    "PROFILES",
    "PROVISIONER",
    "RECORDED",
    "SECONDS",
    "Backend",
    "Destructive",
    "Durations",
    "Node",
    "Pve",
    "Settings",
    "Silent",
    "Storage",
    "Token",
    "Vm",
    "broadcast",
    "handle",
]
