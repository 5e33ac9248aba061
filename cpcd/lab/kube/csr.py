"""Certificate signing requests of kubelets: asked for at start, signed once somebody approves.

Client certificates are approved by the controller manager itself, serving ones only by an administrator.
"""

import base64
from typing import Any, Final

from cpcd.lab.kube.kubelet import Kubelet
from cpcd.lab.kube.objects import Object
from cpcd.lab.kube.pki import request
from cpcd.lab.kube.turn import Turn
from cpcd.lab.provenance import source

__all__ = ["SERVING", "ask", "sign"]

SERVING: Final = "kubernetes.io/kubelet-serving"
_KIND: Final = "CertificateSigningRequest"


@source("K21", "kubelet: certificate/kubelet.go")
def ask(turn: Turn, kubelet: Kubelet) -> None:
    """Ask for a kubelet's serving certificate; an older pending request of the node stays, as on the real server."""
    suffix = "".join(turn.random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
    spec: dict[str, Any] = {
        "request": _base64(request(kubelet.node, kubelet.address)),
        "signerName": SERVING,
        "usages": ["digital signature", "server auth"],
        "username": f"system:node:{kubelet.node}",
        "groups": ["system:nodes", "system:authenticated"],
    }
    name = {"name": f"csr-{suffix}"}
    turn.objects.put({"apiVersion": "certificates.k8s.io/v1", "kind": _KIND, "metadata": name, "spec": spec})


@source("real.md 2: approve -> signed by kcm in 20 ms")
def sign(turn: Turn) -> None:
    """Sign every approved request; the kubelet takes its certificate."""
    for each in turn.objects.all(_KIND):
        status = each.get("status", {})
        approved = any(condition["type"] == "Approved" for condition in status.get("conditions", ()))
        if approved and "certificate" not in status:
            pem = turn.authority.sign(base64.b64decode(each["spec"]["request"]).decode())
            turn.changed(each, status={**status, "certificate": _base64(pem)})
            _install(turn, each, pem)


def _install(turn: Turn, signed: Object, pem: str) -> None:
    for kubelet in turn.kubelets:
        if kubelet.alive and signed["spec"].get("username") == f"system:node:{kubelet.node}":
            kubelet.certificate = pem


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
