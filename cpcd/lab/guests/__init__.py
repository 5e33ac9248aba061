"""Machines without hardware: boot, disk, kubeadm and etcd as one small model behind the guest catalogue.

START HERE: `guest.py`. What a machine does to its cluster goes through `lab/kube`.
"""

from cpcd.lab.guests.durations import Durations
from cpcd.lab.guests.failed import VerbFailed
from cpcd.lab.guests.guest import Guest

__all__ = ["Durations", "Guest", "VerbFailed"]
