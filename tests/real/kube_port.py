"""The contract suite of the Kubernetes port on a real Kubernetes: the very tests that the lab has to pass.

Whatever differs here is mended in the lab, or in the adapter.
"""

import asyncio
import base64
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cpcd.adapters.kube import KubeApi
from cpcd.model.errors import Code
from tests.contract.kube_site import SPACE, Site, config, eventually, failure
from tests.contract.test_kube_addons import *  # noqa: F403 - the suite is what this module is
from tests.contract.test_kube_observer import *  # noqa: F403 - as above
from tests.contract.test_kube_port import *  # noqa: F403 - as above
from tests.contract.test_kube_tokens import *  # noqa: F403 - as above
from tests.contract.test_kube_wire import *  # noqa: F403 - as above
from tests.real.conftest import NODES
from tests.real.plane import ADDRESS, PORT, Plane

QUICK = 0.1  # real seconds for one of the suite's: these controllers act at once


@asynccontextmanager
async def outage(plane: Plane) -> AsyncIterator[None]:
    """Kill the API server and start another, which begins with an empty watch cache."""
    plane.kill("kube-apiserver")
    try:
        yield
    finally:
        plane.run("kube-apiserver")
        await asyncio.to_thread(plane.wait_ready)


@pytest.fixture
async def site(kube: KubeApi, plane: Plane) -> AsyncIterator[Site]:
    """Return the real thing, with the namespace that tests use."""
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})

    async def refuses(token: str) -> str:
        status, answer = await asyncio.to_thread(plane.ask, "GET", "/api/v1/nodes", token=token)
        return str(answer["message"]) if status == 401 else ""  # known, it is refused for want of rights: 403

    yield Site(
        kube, lambda seconds: asyncio.sleep(seconds * QUICK), lambda: outage(plane),
        lambda: asyncio.to_thread(plane.compact), refuses, NODES[0], (ADDRESS, PORT), plane.kubeconfig(),
    )  # fmt: skip
    for _ in range(300):
        if not (left := leave(plane)):
            return
        await asyncio.sleep(QUICK)
    raise AssertionError(left)


async def test_missing_right_is_a_matter_of_credentials(plane: Plane, site: Site, tmp_path: Path) -> None:
    """It is told from what the API forbids to everybody; the lab knows no rights."""
    scheduler = KubeApi(plane.kubeconfig("scheduler"), endpoint="kube:real", cache_dir=tmp_path)
    error = await failure(scheduler.apply(config(a="1")))
    await scheduler.close()

    assert Code.AUTH is error.code
    assert "loading RBAC" in error.what


async def test_api_that_is_silent_is_unreachable_in_time(plane: Plane, site: Site, tmp_path: Path) -> None:
    """A process that hangs accepts connections and says nothing: the client's limit ends that, here a tenth of it."""
    hasty = KubeApi(plane.kubeconfig(), endpoint="kube:real", cache_dir=tmp_path, scale=10)
    plane.running["kube-apiserver"].send_signal(signal.SIGSTOP)
    try:
        error = await failure(hasty.version())
    finally:
        plane.running["kube-apiserver"].send_signal(signal.SIGCONT)
        await hasty.close()

    assert Code.NETWORK is error.code
    assert (await site.kube.version()).startswith("v1.")


async def test_token_is_enough_for_a_kubelets_certificate(plane: Plane, site: Site) -> None:
    """With what kubeadm binds to tokens a machine asks with one alone, and nobody has to approve; in the lab, `join`."""
    identity, password = secrets.token_hex(3), secrets.token_hex(8)
    for name, role in {"contract:ask": "system:node-bootstrapper", "contract:approve": APPROVER}.items():
        await site.kube.apply(bound(name, role))
    plain = {
        "token-id": identity, "token-secret": password, "usage-bootstrap-authentication": "true",
        "auth-extra-groups": JOINERS,
    }  # fmt: skip
    await site.kube.apply({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "stringData": plain,
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
    })  # fmt: skip
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    status, made = plane.ask("POST", path, asked("contract-joining"), token=f"{identity}.{password}")
    assert status == 201, made

    async def signed() -> str | None:
        _, found = await asyncio.to_thread(plane.ask, "GET", f"{path}/{made['metadata']['name']}")
        certificate: str | None = found["status"].get("certificate")
        return certificate

    pem = base64.b64decode(await eventually(site, signed))
    plane.ask("DELETE", f"/api/v1/namespaces/kube-system/secrets/bootstrap-token-{identity}")

    assert f"system:bootstrap:{identity}" == made["spec"]["username"]
    subject = x509.load_pem_x509_certificate(pem).subject
    assert ["system:node:contract-joining"] == [
        one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]


JOINERS = "system:bootstrappers:kubeadm:default-node-token"
APPROVER = "system:certificates.k8s.io:certificatesigningrequests:nodeclient"


def bound(name: str, role: str) -> dict[str, Any]:
    """Return a binding of a role to those who join, as kubeadm makes it."""
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": JOINERS}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": reference, "subjects": [group],
    }  # fmt: skip


def asked(node: str) -> dict[str, Any]:
    """Return a kubelet's request for its client certificate."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes")]
    names.append(x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"))
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"],
    }  # fmt: skip
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return {**kind, "metadata": {"generateName": "contract-"}, "spec": spec}


def leave(plane: Plane) -> list[str]:
    """Take away what a test left, and return what is still there; the namespace goes on, since its end takes seconds."""
    core, group = f"/api/v1/namespaces/{SPACE}", "/apis/{}/namespaces/" + SPACE
    left = []
    for path in (
        f"{group.format('apps/v1')}/deployments", f"{group.format('apps/v1')}/replicasets", f"{core}/pods",
        f"{group.format('policy/v1')}/poddisruptionbudgets", f"{core}/configmaps",
        f"{core}/events",
    ):  # fmt: skip
        plane.ask("DELETE", path)
        left += [item["metadata"]["name"] for item in plane.ask("GET", path)[1]["items"]]
    return [name for name in left if name != "kube-root-ca.crt"]  # every namespace gets it anew
