"""The commands. START at `app.py` (the list of them); each is one thin file of the same name.

A command imports what it needs when it runs, so that `cpcd --help` stays quick; it decides nothing about clusters.
"""

from cpcd.cli.app import main

__all__ = ["main"]
