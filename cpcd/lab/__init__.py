"""Proxmox VE, guests and Kubernetes without hardware: one world on one clock.

Start with `events.py` (what happens when) and `provenance.py` (where each behaviour comes from). Nothing here reads a
recording at run time, and nothing outside the lab, the wiring and the commands imports it.
"""
