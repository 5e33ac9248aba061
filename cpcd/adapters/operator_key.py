"""cpcd's own SSH key: made once in the state directory, readable by nobody else.

It must never be replaced while machines know another: they would be out of reach for good.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from cpcd.model.errors import Code, Failure

__all__ = ["NAME", "operator_key"]

NAME: Final = "id_ed25519"


def operator_key(directory: Path, *, used_by: Callable[[], int]) -> tuple[Path, str]:
    """Return (private key's path, public key line), making the pair if there never was one.

    `used_by` counts the machines that let cpcd in by it and is asked only when there is none: with any, Failure
    (StateUnusable) is raised. Raises OSError or ValueError when the file cannot be read or is no private key.
    """
    private = directory / NAME
    if not private.exists():
        if machines := used_by():
            raise _lost(private, machines)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(private)
    key = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, f"{public.decode()} cpcd"


def _lost(private: Path, machines: int) -> Failure:
    known = "1 machine of the ledger lets" if machines == 1 else f"{machines} machines of the ledger let"
    return Failure(
        Code.STATE,
        f"cpcd's SSH key is gone, and {known} cpcd in by no other; no new one is made",
        target=str(private),
        hint="Restore the file from a backup. Without one make another key, `sudo -u cpcd ssh-keygen -t ed25519 -N '' "
        f"-f {private}`, and add {private.name}.pub to the authorized_keys of each machine: with a key of "
        "`machineDefaults.ssh.keys`, or at its console in Proxmox.",
    )


def _make(private: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    draft = private.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(private)
