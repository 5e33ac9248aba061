"""Bootstrap tokens as the controller manager sees them: signed into cluster-info, and taken away at their end.

Who makes one and who is let in by it is `tokens.py`'s business; what a token brought along goes as its dependent.
"""

import base64
import datetime as dt
import functools
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any, Final

from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import source

__all__ = ["TYPE", "clean", "sign"]

TYPE: Final = "bootstrap.kubernetes.io/token"
_SIGNED: Final = "jws-kubeconfig-"


@source("token-cleaner-controller; make test-kube, v1.35.4")
def clean(turn: Turn) -> None:
    """Delete each token at its expiration; one that has none stays."""
    for token in tuple(_tokens(turn)):
        ends = _plain(token).get("expiration")
        if ends and turn.reached(turn.now + _seconds(turn.stamp, ends)):
            turn.store.expel(token)


@source("bootstrap-signer-controller; make test-kube, v1.35.4")
def sign(turn: Turn) -> None:
    """Keep under cluster-info a signature of each token that may sign, and none of another."""
    info = turn.objects.find("ConfigMap", "cluster-info", "kube-public")
    if info is None or "kubeconfig" not in info.get("data", {}):
        return
    signers = [_plain(token) for token in _tokens(turn)]
    signed = {
        f"{_SIGNED}{one['token-id']}": _jws(one["token-id"], one["token-secret"], info["data"]["kubeconfig"])
        for one in signers
        if one.get("usage-bootstrap-signing") == "true"
    }
    turn.changed(info, data={key: text for key, text in info["data"].items() if not key.startswith(_SIGNED)} | signed)


def _tokens(turn: Turn) -> Iterator[Object]:
    return (one for one in turn.objects.all("Secret", "kube-system") if one.get("type") == TYPE)


def _plain(token: Object) -> dict[str, str]:
    found: dict[str, Any] = token.get("data") or {}
    return {key: _decoded(value) for key, value in found.items()}


@functools.lru_cache(1024)  # of the same few tokens in every turn
def _decoded(value: str) -> str:
    return base64.b64decode(value).decode()


def _seconds(now: str, then: str) -> float:
    return (dt.datetime.fromisoformat(then) - dt.datetime.fromisoformat(now)).total_seconds()


@functools.lru_cache(256)
@source("RFC 7515, appendix F")
def _jws(identity: str, secret: str, content: str) -> str:
    """Return a signature whose content stands elsewhere."""
    header = _base64url(json.dumps({"alg": "HS256", "kid": identity}, separators=(",", ":")).encode())
    signed = f"{header}.{_base64url(content.encode())}"
    return f"{header}..{_base64url(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _base64url(plain: bytes) -> str:
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")
