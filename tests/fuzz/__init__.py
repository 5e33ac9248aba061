"""Fuzzing of everything that reads what others wrote: the spec, Proxmox, Kubernetes, machines, the ledger's file.

`make fuzz CASES=n SEED=s` runs it, `run.py` is the loop, a module each is a target. A case is made from its seed and
number alone, so that each one can be played again; nothing here reaches a network or a file but its own.
"""
