"""Certificate requests in virtual time: one that nobody can read stops no other."""

import asyncio
import base64
from pathlib import Path

from cpcd.ports.kube import GVK
from tests.sim.house import House, spec
from tests.sim.test_stories import tell
from tests.unit.adapters.test_requests import NODE, X400, made, raw

CSR = GVK("certificates.k8s.io/v1", "CertificateSigningRequest")


def pending(house: House) -> list[str]:
    """Return the names of the requests that nobody decided."""
    listed = house.world.clusters[0].store.list(CSR)[0]
    return [one["metadata"]["name"] for one in listed if not one.get("status", {}).get("conditions")]


def ask(house: House, name: str, username: str, request: str) -> None:
    """Make a request as a kubelet would."""
    usages = ["digital signature", "server auth"]
    spec_of = {
        "signerName": "kubernetes.io/kubelet-serving",
        "username": username,
        "request": request,
        "usages": usages,
    }
    obj = {"apiVersion": CSR.api_version, "kind": CSR.kind, "metadata": {"name": name}, "spec": spec_of}
    house.world.clusters[0].store.create(obj, manager="kubelet")


def test_a_request_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    """A machine's own and a stranger's: new machines get their certificates, and the one's Node says what waits."""

    async def tale(house: House) -> None:
        await house.converged(limit=1500)
        ask(house, "stranger", "system:node:x", base64.b64encode(b"nothing").decode())
        ask(house, "own", "system:node:demo-general-1", made(*NODE, alternatives=raw(X400)))
        house.file.commit(spec(masters=1, workers=2))
        await asyncio.sleep(5)
        await house.converged(limit=1500)

    house = tell(tmp_path, tale, text=spec(masters=1, workers=1))
    assert house.daemon is not None
    said = {str(key): report.last.sentence for key, report in house.daemon.board.objects.items()}

    assert ["own", "stranger"] == pending(house)
    assert "its request own is not approved: it cannot be read" in said["demo/nodes/demo-general-1"]
    assert "Node demo-general-2 has its labels and taints" == said["demo/nodes/demo-general-2"]
