"""Adapters: the only place with sockets, files, subprocesses and third-party clients.

Each implements one port and maps foreign errors to `model.errors` in one place. Adapters do not know each other.
"""
