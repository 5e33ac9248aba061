"""What a join is let in with: bootstrap tokens and the uploaded certificates, both short-lived Secrets.

A refusal is the text that kubeadm prints, from which the guest model makes its reason. Secrets live in the store and
nowhere else.
"""

import base64
import string
from typing import Any, Final

from cpcd.lab.events import Events
from cpcd.lab.kube.cluster import Cluster
from cpcd.lab.provenance import recorded, source

__all__ = ["CERTIFICATES", "key_refused", "mint", "token_refused", "upload"]

CERTIFICATES: Final = "kubeadm-certs"
_SYSTEM: Final = "kube-system"
_LETTERS: Final = string.ascii_lowercase + string.digits
_CERTIFICATES_LIFE: Final = 7200.0  # kubeadm certificate key, failures.md section 0


def _secret(name: str, kind: str, plain: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": _SYSTEM}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}


def _read(cluster: Cluster, name: str, key: str) -> str | None:
    found = cluster.store.objects.find("Secret", name, _SYSTEM)
    return base64.b64decode(found["data"][key]).decode() if found else None


def _keep(cluster: Cluster, events: Events, secret: dict[str, Any], life: float) -> None:
    """Store a Secret and drop it at its end, unless it was replaced meanwhile."""
    stored = cluster.store.objects.put(secret)

    def expire() -> None:
        # The same object and not only the same name: certificates are uploaded under one name again and again.
        now = cluster.store.objects.find("Secret", stored["metadata"]["name"], _SYSTEM)
        if now is stored:
            cluster.store.objects.drop(stored)

    events.at(life, expire)


@recorded(231, 281)
def mint(cluster: Cluster, events: Events, life: float) -> str:
    """Make a bootstrap token that ends by itself after `life` seconds."""
    identity, secret = ("".join(cluster.random.choices(_LETTERS, k=size)) for size in (6, 16))
    ends = {"expiration": cluster.stamp(life), "usage-bootstrap-authentication": "true"}
    plain = {"token-id": identity, "token-secret": secret, "usage-bootstrap-signing": "true", **ends}
    _keep(cluster, events, _secret(f"bootstrap-token-{identity}", "bootstrap.kubernetes.io/token", plain), life)
    return f"{identity}.{secret}"


@recorded(248, 249, 284)
def token_refused(cluster: Cluster, token: str) -> str:
    """Return why discovery refuses a token, empty when it takes it; unknown and expired are the same."""
    identity, _, secret = token.partition(".")
    known = _read(cluster, f"bootstrap-token-{identity}", "token-secret")
    if known is None:
        return f'could not find a JWS signature in the cluster-info ConfigMap for token ID "{identity}"'
    if known != secret:
        return "failed to verify JWS signature of received cluster info object, can't trust this API Server"
    return ""


@recorded(244, 245)
def upload(cluster: Cluster, events: Events) -> str:
    """Upload the control plane's certificates under a new key, which opens them for 2 h."""
    key = f"{cluster.random.getrandbits(256):064x}"
    _keep(cluster, events, _secret(CERTIFICATES, "Opaque", {"key": key}), _CERTIFICATES_LIFE)
    return key


@recorded(242, 246)
@source("K08")
def key_refused(cluster: Cluster, key: str) -> str:
    """Return why the uploaded certificates cannot be had with this key, empty when they can."""
    known = _read(cluster, CERTIFICATES, "key")
    if known is None:
        who = 'User "system:bootstrap:abcdef" cannot get resource "secrets" in API group "" in the namespace'
        return f'error downloading the secret: secrets "{CERTIFICATES}" is forbidden: {who} "{_SYSTEM}"'
    return "" if known == key else "error decoding secret data with provided key: cipher: message authentication failed"
