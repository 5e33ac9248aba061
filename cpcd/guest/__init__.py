"""What runs on a machine (`ops.py`, standard library only) and the wire to it (`wire.py`).

Nothing here imports anything of cpcd: `ops.py` travels alone, and the lab speaks the same wire.
"""
