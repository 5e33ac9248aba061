"""Playbooks by ansible-runner: convergent work on machines, each run a process of its own (`runs.py`, `__main__.py`)."""

from cpcd.adapters.playbooks.runs import Playbooks

__all__ = ["Playbooks"]
