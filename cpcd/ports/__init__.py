"""Ports: what the inside needs from the world, as Protocols.

Adapters and the lab implement them; nothing here opens a socket. One contract suite a port (`tests/contract`)
is run against every implementation.
"""
