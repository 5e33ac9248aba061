"""The lab over sockets: what a daemon, curl and kubectl meet, and that it follows its world."""

import asyncio
import json
import shutil
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncssh
import pytest
import yaml

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.kube import KubeApi
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.lab.path import critical_path
from cpcd.lab.servers.serve import Lab
from cpcd.lab.servers.settings import LabSettings, Template
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.guests import Host
from cpcd.ports.kube import GVK
from cpcd.spec.presets import flannel

ADDRESS = "127.68.0.11"
RATE = 100.0
SSH = 2268
INIT = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "InitConfiguration",
    "localAPIEndpoint": {"advertiseAddress": ADDRESS, "bindPort": 6443},
    "nodeRegistration": {"name": "m1", "taints": []},
}
CLUSTER = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "clusterName": "home",
    "kubernetesVersion": "v1.34.2",
    "controlPlaneEndpoint": f"{ADDRESS}:6443",
}


@dataclass
class Bench:
    """A lab, its control endpoint, and the adapters on it."""

    lab: Lab
    proxmox: ProxmoxApi
    guests: GuestsOverSsh
    web: aiohttp.ClientSession
    key: Path

    async def ask(self, path: str) -> Any:
        """GET from the control endpoint."""
        async with self.web.get(self.lab.about()["control"] + path) as answer:
            return await answer.json()

    async def do(self, verb: str, **args: object) -> tuple[int, Any]:
        """Intervene."""
        async with self.web.post(self.lab.about()["control"] + "/lab/do", json={"do": verb, "args": args}) as answer:
            return answer.status, await answer.json()

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait for a condition, 20 s at most."""
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.01)

    async def machine(self) -> Host:
        """Clone, configure and start one machine; returns it once its sshd answers."""
        done = [await self.proxmox.clone(
            "pve1", 9000, newid=300, name="m1", description="mark", pool="", full=False, target="pve1"
        )]  # fmt: skip
        await self.until(lambda: self.ended(done[-1]))
        public = self.key.with_suffix(".pub").read_text().strip()
        options = {"ciuser": "admin", "sshkeys": quote(public, safe=""), "ipconfig0": f"ip={ADDRESS}/16,gw=127.68.0.1"}
        await self.proxmox.configure("pve1", 300, options, digest="")
        await self.proxmox.power("pve1", 300, "start")
        await self.until(self.listening)
        pinned = await self.proxmox.agent_file_read("pve1", 300, "/etc/ssh/ssh_host_ed25519_key.pub")
        return Host("u1", "m1", ADDRESS, SSH, ("admin",), pinned.strip())

    async def ended(self, upid: str) -> bool:
        """Tell whether a task has ended well."""
        status = await self.proxmox.task_status("pve1", upid)
        return status is not None and status.get("exitstatus") == "OK"

    async def listening(self) -> bool:
        """Tell whether somebody listens at the machine's SSH port."""
        try:
            _, writer = await asyncio.open_connection(ADDRESS, SSH)
        except OSError:
            return False
        writer.close()
        return True

    async def run(self, host: Host, verb: str, given: dict[str, object]) -> None:
        """Submit a long verb and wait for its success."""
        await self.guests.submit(host, f"op-{verb}", verb, given)

        async def done() -> bool:
            found = await self.guests.poll(host, f"op-{verb}")
            assert found["state"] in {"running", "done"}, found
            return bool(found["state"] == "done")

        await self.until(done)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Return a running lab, 100 times as fast as real time."""
    key = tmp_path / "key"
    pair = asyncssh.generate_private_key("ssh-ed25519")
    pair.write_private_key(key)
    pair.write_public_key(key.with_suffix(".pub"))
    template = Template(9000, "pve1", "ubuntu", "cpcd-ubuntu", storage="local-lvm")
    async with Lab(LabSettings(rate=RATE, ssh_port=SSH, templates=(template,))).running() as lab:
        about = lab.about()
        transport = AiohttpTransport([about["proxmox"]], ca_file="", fingerprint=about["fingerprint"], scale=20)
        guests = GuestsOverSsh(key=key, scale=10)
        async with aiohttp.ClientSession() as web:
            yield Bench(lab, ProxmoxApi(transport, "home", lambda: about["token"]), guests, web, key)
        await guests.close()
        await transport.close()


async def test_a_cluster_comes_up_and_goes_down_with_its_machine(bench: Bench, tmp_path: Path) -> None:
    """Clone, SSH, kubeadm, flannel and kubectl's words on one world; listeners close when the power goes."""
    host = await bench.machine()
    facts = await bench.guests.call(host, "facts", {})
    await bench.run(host, "prepare", {"version": "v1.34.2", "packages": [], "timezone": "UTC", "profile": "p1"})
    text = json.dumps(INIT) + "\n---\n" + json.dumps(CLUSTER)
    await bench.run(host, "init", {"config": text, "manifests": {}})
    kubeconfig = (await bench.guests.call(host, "kubeconfig", {}))["kubeconfig"]
    kube = KubeApi(kubeconfig, endpoint="kube:home", cache_dir=tmp_path / "kube", scale=5)
    await bench.until(kube.readyz)
    for obj in flannel("10.244.0.0/16", "10.0.0.4", 6443):
        await kube.apply(dict(obj))

    async def ready() -> bool:
        node = await kube.get(GVK("v1", "Node"), "m1")
        conditions = node["status"].get("conditions", ()) if node else ()
        return ("Ready", "True") in [(each["type"], each["status"]) for each in conditions]

    await bench.until(ready)
    nodes, _ = await kube.list(GVK("v1", "Node"))
    shown = await table(kubeconfig, tmp_path, "/api/v1/nodes")
    state = await bench.ask("/lab/state")
    calls = await bench.ask("/lab/calls")
    path = await bench.ask("/lab/path?masters=1&workers=0")
    await bench.do("stop_vm", vmid=300)
    await bench.until(lambda: closed(bench))
    with pytest.raises(Unreachable):
        await kube.readyz()
    with pytest.raises(Unreachable):
        await bench.guests.call(host, "facts", {})
    await kube.close()

    assert ("m1", ["m1"]) == (facts["hostname"], [node["metadata"]["name"] for node in nodes])
    assert [["m1", "Ready"]] == [row["cells"][:2] for row in shown["rows"]]
    assert {"running"} == {vm["status"] for vm in state["vms"] if vm["vmid"] == 300}
    assert [("home", True, ["m1"])] == [
        (it["name"], it["healthy"], [m["name"] for m in it["members"]]) for it in state["clusters"]
    ]
    assert [f"{ADDRESS}:6443"] == state["apis"]
    assert {"ssh facts", "ssh submit init", "kube GET nodes"} <= set(calls["others"])
    assert calls["proxmox"]["POST /nodes/{node}/qemu/{vmid}/clone"] == 1
    assert path["seconds"] == critical_path(masters=1, workers=0)


async def closed(bench: Bench) -> bool:
    """Tell whether nobody listens any more."""
    return not await bench.listening()


async def table(kubeconfig: str, directory: Path, path: str) -> Any:
    """Return what `kubectl get` asks for: a Table, with the administrator's certificate."""
    config = yaml.safe_load(kubeconfig)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    pem = directory / "administrator.pem"
    pem.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
    trust = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    trust.load_cert_chain(pem)
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    async with aiohttp.ClientSession() as web, web.get(cluster["server"] + path, headers=accept, ssl=trust) as answer:
        return await answer.json()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_kubectl_lists_the_nodes(bench: Bench, tmp_path: Path) -> None:
    """The program itself, with its discovery, where there is one."""
    host = await bench.machine()
    await bench.run(host, "prepare", {"version": "v1.34.2", "packages": [], "timezone": "UTC", "profile": "p1"})
    text = json.dumps(INIT) + "\n---\n" + json.dumps(CLUSTER)
    await bench.run(host, "init", {"config": text, "manifests": {}})
    kubeconfig = (await bench.guests.call(host, "kubeconfig", {}))["kubeconfig"]
    printed = await kubectl(kubeconfig, tmp_path, "get", "nodes", "-o", "name")

    assert "node/m1\n" == printed


async def kubectl(kubeconfig: str, directory: Path, *arguments: str) -> str:
    """Return what kubectl prints."""
    path = directory / "kubeconfig"
    path.write_text(kubeconfig)
    process = await asyncio.create_subprocess_exec(
        "kubectl", "--kubeconfig", str(path), "--cache-dir", str(directory / "cache"), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_machine_knows_its_key_its_users_and_the_catalogue_only(bench: Bench) -> None:
    """Another user, another key, a shell and a foreign command are refused."""
    host = await bench.machine()
    pinned = ([asyncssh.import_public_key(host.host_key)], [], [])
    common: dict[str, Any] = {"port": SSH, "known_hosts": pinned, "config": None, "agent_path": None}
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(ADDRESS, username="mallory", client_keys=[str(bench.key)], **common)
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(ADDRESS, username="admin", client_keys=[stranger], **common)
    async with asyncssh.connect(ADDRESS, username="admin", client_keys=[str(bench.key)], **common) as connection:
        foreign = await connection.run("id")
        shell = await connection.run(None)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.start_sftp_client()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", 22)

    assert [127, 127] == [foreign.exit_status, shell.exit_status]
    assert "refused" in str(foreign.stderr)


async def test_kubernetes_wants_a_client_certificate(bench: Bench) -> None:
    """Without one everything is a 401, as on the real server."""
    host = await bench.machine()
    await bench.run(host, "prepare", {"version": "v1.34.2", "packages": [], "timezone": "UTC", "profile": "p1"})
    text = json.dumps(INIT) + "\n---\n" + json.dumps(CLUSTER)
    await bench.run(host, "init", {"config": text, "manifests": {}})
    trust = ssl.create_default_context(cadata=bench.lab.world.clusters[0].ca_pem)
    async with bench.web.get(f"https://{ADDRESS}:6443/api/v1/nodes", ssl=trust) as answer:
        refused = answer.status, (await answer.json())["reason"]

    assert (401, "Unauthorized") == refused


async def test_control_tells_where_everything_is(bench: Bench) -> None:
    """A client needs no other knowledge than this URL."""
    about = await bench.ask("/lab")

    assert (RATE, SSH, ["pve1", "pve2", "pve3"], {}) == (
        about["rate"], about["sshPort"], about["nodes"], about["troubles"],
    )  # fmt: skip
    assert about["proxmox"].startswith("https://127.0.0.1:")
    assert about["fingerprint"] == bench.lab.certificate.fingerprint
    assert about["time"] > 0


async def test_interventions_change_the_world_and_unknown_ones_are_refused(bench: Bench) -> None:
    """What is done behind everybody's back is seen by the next read."""
    silent = await bench.do("silence", on=True)
    with pytest.raises(Unreachable):
        await bench.proxmox.resources()
    await bench.do("silence", on=False)
    await bench.do("delete_vm", vmid=9000)
    unknown = await bench.do("format_disk", vmid=1)
    wrong = await bench.do("stop_vm", vmid=4711)

    assert 200 == silent[0]
    assert await bench.proxmox.config("pve1", 9000) is None
    assert (400, 400) == (unknown[0], wrong[0])
    assert "stop_vm" in unknown[1]["known"]


async def test_port_in_use_is_an_error_that_leaves_nothing_open(bench: Bench) -> None:
    """The second lab on the same port does not start."""
    taken = LabSettings(proxmox_port=bench.lab.proxmox_port)
    with pytest.raises(OSError, match="in use"):
        async with Lab(taken).running():
            pass


@pytest.mark.parametrize("wrong", [{"address": "0.0.0.0"}, {"address": "192.0.2.1"}, {"address": "x"}, {"rate": 0}])
def test_lab_refuses_what_is_not_loopback(wrong: dict[str, Any]) -> None:
    """It has no authentication worth the name, so nobody outside may reach it."""
    with pytest.raises(Failure) as caught:
        LabSettings(**wrong)

    assert caught.value.code is Code.INPUT
