"""The engine: keys, passes, backoff, endpoints, tasks. It knows no domain word.

Reconcilers, guards, `resolve`, `read` and what wakes whom come in as arguments. `runner.py` is the loop on one screen.
"""
