"""Kubeconfigs under the state directory: 0640, replaced by rename, so that a reader never sees half of one."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cpcd.model.errors import Code, Failure
from cpcd.ports.bundle import WrittenKubeconfig

__all__ = ["KubeconfigFiles"]

_WAY: Final = "Move away what lies there, and let the user that cpcd runs as write in its directory."
_BLOCKED: Final = (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


class KubeconfigFiles:
    """Implements `ports.bundle.Kubeconfigs`, one file a cluster."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def text(self, cluster: str) -> str:
        """Return the kubeconfig, "" when there is none; raises Failure(STATE) when it cannot be read."""
        path = self._path(cluster)
        try:
            # What is no text is no kubeconfig either, and is written anew.
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            what, hint = f"the kubeconfig cannot be read: {error.strerror}", "Move it away: it is made anew."
            raise Failure(Code.STATE, what, target=str(path), hint=hint) from error

    def describe(self, cluster: str) -> WrittenKubeconfig | None:
        """Return what is written without its keys; None when there is none or it is none. Raises as `text` does."""
        try:
            found = yaml.safe_load(self.text(cluster))
            cluster_entry, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
            authority = x509.load_pem_x509_certificate(base64.b64decode(cluster_entry["certificate-authority-data"]))
            client = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
        except (TypeError, KeyError, IndexError, ValueError, yaml.YAMLError):
            return None
        return WrittenKubeconfig(
            server=cluster_entry["server"], context=found["current-context"], ca_hash=ca_hash(authority),
            expires=client.not_valid_after_utc.timestamp(),
        )  # fmt: skip

    def write(self, cluster: str, admin_conf: str, *, server: str, context: str) -> None:
        """Store admin.conf with that server and context; raises Failure(STATE) when the disk refuses."""
        text = yaml.safe_dump(_renamed(cluster, admin_conf, server=server, context=context), sort_keys=False)
        path = self._path(cluster)
        draft = path.with_suffix(".new")
        try:
            # 0750 and 0640: the group of the daemon's user may read them, and nobody else.
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # One that a run as root left may be removed, and not be written.
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            # The second name is a rename's target.
            target = Path(error.filename2 or error.filename or path)
            what = f"the kubeconfig cannot be written: {error.strerror}"
            hint = _WAY if isinstance(error, _BLOCKED) else ""
            raise Failure(Code.STATE, what, target=str(target), hint=hint) from error

    def _path(self, cluster: str) -> Path:
        return self._directory / f"{cluster}.yaml"


def ca_hash(certificate: x509.Certificate) -> str:
    """Return kubeadm's hash of a CA: sha256 of its public key (SubjectPublicKeyInfo)."""
    key = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(key).hexdigest()}"


def _renamed(cluster: str, admin_conf: str, *, server: str, context: str) -> dict[str, Any]:
    found = yaml.safe_load(admin_conf)
    entry, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    name = f"{cluster}-admin"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {**entry, "server": server}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": name}}],
        "current-context": context,
    }
