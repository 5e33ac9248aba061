"""SSH host keys of modelled machines: real ed25519 keys that follow from a seed.

Cheap enough to be always real, and the same in each run, so that pins in a simulation repeat.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cpcd.lab.provenance import recorded

__all__ = ["HostKey"]


@dataclass(frozen=True)
class HostKey:
    """One machine's key pair, made when first asked for."""

    seed: str

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.seed.encode()).digest())

    @cached_property
    @recorded(1, 2, 54)
    def public(self) -> str:
        """`ssh-ed25519 AAAA…`; there is no key of another type."""
        form = serialization.PublicFormat.OpenSSH
        return self._key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()

    @cached_property
    def private(self) -> str:
        """The private key as OpenSSH PEM."""
        form, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        return self._key.private_bytes(serialization.Encoding.PEM, form, plain).decode()
