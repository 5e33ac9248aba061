"""cpcd keeps Kubernetes clusters on Proxmox VE equal to a file.

Start reading at `cpcd/daemon.py`; `cpcd/reconcilers/__init__.py` is the table of contents of the world.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
