"""CNIs in virtual time: no Node is Ready without one, flannel comes by itself, and a file's own keeps it out."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cpcd.lab.simloop import SimLoop, simulate
from cpcd.ports.kube import GVK
from tests.sim.house import HELLO, House, spec
from tests.sim.test_stories import Tale, built, nodes, tell, uids

DAEMON_SETS = GVK("apps/v1", "DaemonSet")
OWN = spec().replace("addons: [", "addons: [{name: cilium, manifests: [{file: cilium.yaml}]}, ")


def agent(**pod: Any) -> dict[str, Any]:
    """Return a DaemonSet as other CNIs have it, of which no more matters than the directory that it mounts."""
    labels = {"k8s-app": "cilium"}
    mounted = [{"name": "etc-cni-netd", "hostPath": {"path": "/etc/cni/net.d", "type": "DirectoryOrCreate"}}]
    container = {"name": "cilium-agent", "image": "quay.io/cilium/cilium:v1.18.0"}
    made = {"hostNetwork": True, "tolerations": [{"operator": "Exists"}], "containers": [container], **pod}
    template = {"metadata": {"labels": labels}, "spec": {**made, "volumes": mounted}}
    metadata = {"name": "cilium", "namespace": "kube-system"}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}


def with_own(directory: Path, tale: Tale, own: Mapping[str, Any]) -> House:
    """Play a tale in a house whose file has a CNI of its own."""
    houses: list[House] = []

    async def main(loop: SimLoop) -> None:
        house = House(loop, directory, OWN)
        house.file.referred = {"hello.yaml": HELLO, "cilium.yaml": yaml.safe_dump(own).encode()}
        houses.append(house)
        await house.start()
        await tale(house)

    simulate(main, seed=1)
    return houses[0]


def daemon_sets(house: House) -> list[str]:
    """Return the names of all DaemonSets but kubeadm's own."""
    listed, _ = house.world.clusters[0].store.list(DAEMON_SETS)
    return [one["metadata"]["name"] for one in listed if one["metadata"]["name"] != "kube-proxy"]


def ready(house: House) -> list[str]:
    """Return the Ready condition of every Node."""
    listed = (node["status"]["conditions"] for node in nodes(house).values())
    return [one["status"] for conditions in listed for one in conditions if one["type"] == "Ready"]


def test_a_cluster_without_a_cni_of_its_own_is_built_with_flannel(tmp_path: Path) -> None:
    """Its pods run on every node, and its network is the cluster's."""
    house = tell(tmp_path, built)
    store = house.world.clusters[0].store
    flannel = store.get(DAEMON_SETS, "kube-flannel-ds", "kube-flannel")
    config = store.get(GVK("v1", "ConfigMap"), "kube-flannel-cfg", "kube-flannel")["data"]["net-conf.json"]

    assert (["kube-flannel-ds"], 5, ["True"] * 5) == (
        daemon_sets(house), flannel["status"]["numberReady"], ready(house),
    )  # fmt: skip
    assert f'"Network": "{house.world.clusters[0].plan.pods}"' in config


def test_flannel_comes_back_and_reaches_new_machines(tmp_path: Path) -> None:
    """Deleted behind cpcd's back it is applied again, and the successor of a lost worker gets a pod of it."""

    async def tale(house: House) -> None:
        await built(house)
        store = house.world.clusters[0].store
        store.delete(DAEMON_SETS, "kube-flannel-ds", namespace="kube-flannel")
        house.world.pve.delete_vm(next(vmid for vmid, name in house.vms().items() if name == "demo-general-1"))
        await asyncio.sleep(60)
        await house.converged(limit=3000)

    house = tell(tmp_path, tale)

    assert (["kube-flannel-ds"], ["True"] * 5) == (daemon_sets(house), ready(house))


def test_a_cni_of_the_files_own_is_the_only_one(tmp_path: Path) -> None:
    """Two on one node would be worse than none."""
    house = with_own(tmp_path, built, agent())

    assert (["cilium"], ["True"] * 5) == (daemon_sets(house), ready(house))


def test_machines_that_only_wait_for_their_cni_are_left_alone(tmp_path: Path) -> None:
    """An hour in which only control planes have one: no worker is reset or replaced; then all is well (K22)."""
    before: list[Any] = []

    async def tale(house: House) -> None:
        await asyncio.sleep(3600)
        assert house.daemon is not None
        reasons = [report.last.reason for report in house.daemon.board.objects.values()]
        before.extend((uids(house), sorted(ready(house)), reasons.count("NetworkNotReady")))
        house.file.referred = {**house.file.referred, "cilium.yaml": yaml.safe_dump(agent()).encode()}
        house.file.commit(OWN)
        await asyncio.sleep(60)
        await house.converged(limit=600)

    house = with_own(tmp_path, tale, agent(nodeSelector={"node-role.kubernetes.io/control-plane": ""}))

    assert [] == [call.verb for call in house.world.pve.history]
    assert [uids(house), ["False"] * 2 + ["True"] * 3, 2] == before
    assert ["True"] * 5 == ready(house)


def test_flannel_goes_when_the_file_gets_a_cni_of_its_own(tmp_path: Path) -> None:
    """The new one is applied at once; taking the whole of an addon away is destruction, which asks first."""
    waiting: list[str] = []

    async def tale(house: House) -> None:
        await built(house)
        house.file.referred = {**house.file.referred, "cilium.yaml": yaml.safe_dump(agent()).encode()}
        house.file.commit(OWN)
        await asyncio.sleep(120)
        waiting.extend(daemon_sets(house))
        house.file.commit(OWN.replace("Destroy: Approve", "Destroy: Auto"))
        await asyncio.sleep(60)
        await house.converged(limit=600)

    house = tell(tmp_path, tale)

    assert (["cilium", "kube-flannel-ds"], ["cilium"]) == (sorted(waiting), daemon_sets(house))
    assert ["True"] * 5 == ready(house)
