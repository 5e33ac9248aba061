"""The lab over real sockets, on loopback, in a process of its own. START HERE: `serve.py`.

Nothing is imported here, so that `cpcd --help` pays for no server; nothing in it decides what the world does.
"""
