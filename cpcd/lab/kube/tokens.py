"""What a join is let in with: bootstrap tokens and the uploaded certificates, both short-lived Secrets.

A refusal is the text that kubeadm prints, from which the guest model makes its reason. Secrets live in the store and
nowhere else, until the controllers of `bootstrap.py` and `housekeeping.py` take them away.
"""

import base64
import string
from collections.abc import Mapping
from typing import Any, Final

from cpcd.lab.kube.bootstrap import TYPE
from cpcd.lab.kube.cluster import Cluster
from cpcd.lab.kube.objects import Object
from cpcd.lab.provenance import recorded, source

__all__ = ["CERTIFICATES", "key_refused", "mint", "token_refused", "upload"]

CERTIFICATES: Final = "kubeadm-certs"
_SYSTEM: Final = "kube-system"
_LETTERS: Final = string.ascii_lowercase + string.digits
_USAGES: Final = dict.fromkeys(("usage-bootstrap-authentication", "usage-bootstrap-signing"), "true")
_CERTIFICATES_LIFE: Final = 7200.0  # kubeadm certificate key, failures.md section 0


def _secret(name: str, kind: str, plain: dict[str, str], **metadata: Any) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    named = {"name": name, "namespace": _SYSTEM, **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": named, "type": kind, "data": encoded}


def _read(cluster: Cluster, name: str, key: str) -> str | None:
    found = cluster.store.objects.find("Secret", name, _SYSTEM)
    return base64.b64decode(found["data"][key]).decode() if found else None


@recorded(231, 281)
def mint(cluster: Cluster, life: float) -> str:
    """Make a bootstrap token that ends after `life` seconds."""
    identity, secret = ("".join(cluster.random.choices(_LETTERS, k=size)) for size in (6, 16))
    _token(cluster, identity, secret, life, _USAGES)
    return f"{identity}.{secret}"


def _token(cluster: Cluster, identity: str, secret: str, life: float, usages: Mapping[str, str]) -> Object:
    plain = {"token-id": identity, "token-secret": secret, "expiration": cluster.stamp(life), **usages}
    return cluster.store.objects.put(_secret(f"bootstrap-token-{identity}", TYPE, plain))


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
@source("kubeadm: phases/copycerts")
def upload(cluster: Cluster) -> str:
    """Upload the control plane's certificates under a new key; they go with a token that is for nothing but their end."""
    key = f"{cluster.random.getrandbits(256):064x}"
    token = _token(cluster, key[:6], key[6:22], _CERTIFICATES_LIFE, {})
    owner = {"apiVersion": "v1", "kind": "Secret", "name": token["metadata"]["name"], "uid": token["metadata"]["uid"]}
    cluster.store.objects.put(_secret(CERTIFICATES, "Opaque", {"key": key}, ownerReferences=[owner]))
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
