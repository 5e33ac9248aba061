"""One Proxmox, two transports: whatever carries the request, the verbs say and do the same.

Runs over the lab in process and over HTTPS; a real Proxmox VE can be added as a third site with a template of its own.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.lab.guests import Durations
from cpcd.lab.inprocess import LabTransport
from cpcd.lab.pve import Pve, Settings
from cpcd.lab.servers.serve import Lab
from cpcd.lab.servers.settings import LabSettings, Template
from cpcd.lab.world import World
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.proxmox import Request, Response, Transport

TEMPLATE = Template(9000, "pve1", "ubuntu", "cpcd-ubuntu", storage="local-lvm")
TOKEN = "{0.id}={0.secret}".format(Settings().tokens[-1])
MARK = "cpcd/1 house home 0f7a 01J"


@dataclass
class Site:
    """A modelled Proxmox and a way to it; `wait` lets lab time pass."""

    pve: Pve
    transport: Transport
    wait: Callable[[float], Awaitable[None]]

    @property
    def proxmox(self) -> ProxmoxApi:
        """The verbs."""
        return ProxmoxApi(self.transport, "home", lambda: TOKEN)

    async def ended(self, node: str, upid: str) -> str:
        """Return a task's exit."""
        for _ in range(100):
            status = await self.proxmox.task_status(node, upid)
            if status and status["status"] == "stopped":
                return str(status["exitstatus"])
            await self.wait(0.5)
        raise AssertionError(upid)

    async def cloned(self, newid: int = 300) -> None:
        """Clone the template to its end."""
        upid = await self.proxmox.clone(
            "pve1", 9000, newid=newid, name="m1", description=MARK, pool="", full=False, target="pve1"
        )
        assert await self.ended("pve1", upid) == "OK"


class Hours:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds


async def in_process() -> AsyncIterator[Site]:
    """Call the lab directly."""
    hours = Hours()
    world = World(now=lambda: hours.now, seed=1, settings=Settings(), durations=Durations())
    world.pve.add_template(TEMPLATE.vmid, TEMPLATE.node, TEMPLATE.name, TEMPLATE.tags, storage=TEMPLATE.storage)
    yield Site(world.pve, LabTransport(world, hours.sleep), hours.sleep)


async def over_https() -> AsyncIterator[Site]:
    """Call the lab's server, whose clock runs 200 times as fast."""
    async with Lab(LabSettings(rate=200, templates=(TEMPLATE,))).running() as lab:
        about = lab.about()
        transport = AiohttpTransport([about["proxmox"]], ca_file="", fingerprint=about["fingerprint"], scale=40)
        yield Site(lab.world.pve, transport, lab.clock.sleep)
        await transport.close()


@pytest.fixture(params=[in_process, over_https], ids=["in process", "https"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Return each site in turn."""
    async for opened in request.param():
        yield opened


async def failure(call: Awaitable[object]) -> Failure:
    """Return the Failure that a call ends in."""
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


async def test_clone_configure_grow_start_and_destroy(site: Site) -> None:
    """The life of a machine, each step seen by the next read."""
    proxmox = site.proxmox
    await site.cloned()
    cloned = await proxmox.config("pve1", 300)
    assert cloned is not None
    await proxmox.configure("pve1", 300, {"memory": 4096, "agent": True, "tags": "b;a"}, digest=cloned["digest"])
    grown = await site.ended("pve1", await proxmox.resize("pve1", 300, "scsi0", "20G"))
    started = await site.ended("pve1", await proxmox.power("pve1", 300, "start"))
    running, config = await proxmox.status("pve1", 300), await proxmox.config("pve1", 300)
    stopped = await site.ended("pve1", await proxmox.power("pve1", 300, "stop"))
    destroyed = await site.ended("pve1", await proxmox.destroy("pve1", 300))

    assert ("OK", "OK", "OK", "OK") == (grown, started, stopped, destroyed)
    assert running is not None
    assert config is not None
    assert ("running", MARK, "4096", "a;b") == (
        running["status"], config["description"].strip(), config["memory"], config["tags"],
    )  # fmt: skip
    assert "size=20G" in config["scsi0"]
    assert await proxmox.config("pve1", 300) is None


async def test_reads_say_what_is_there(site: Site) -> None:
    """Lists, VMIDs, permissions, tasks and logs have the shapes that the port promises."""
    proxmox = site.proxmox
    await site.cloned()
    tasks = await proxmox.tasks("pve1", vmid=9000, typefilter="qmclone")
    log = await proxmox.task_log("pve1", tasks[0]["upid"])

    assert {9000, 300} == {row["vmid"] for row in await proxmox.resources() if row["type"] == "qemu"}
    assert not [row for row in await proxmox.resources() if {"cpu", "mem", "maxdisk", "uptime"} & row.keys()]
    assert {"pve1", "pve2", "pve3"} == {row["name"] for row in await proxmox.cluster_status() if row["type"] == "node"}
    assert (False, True) == (await proxmox.vmid_free(300), await proxmox.vmid_free(301))
    assert "VM.Clone" in (await proxmox.permissions())["/"]
    assert ["qmclone"] == [task["type"] for task in tasks]
    assert any("300" in line for line in log)
    assert [] == [row for row in await proxmox.pending("pve1", 300) if "pending" in row]


async def test_what_is_not_here_is_none(site: Site) -> None:
    """A VM that never was, one that another node has, and an unknown task."""
    proxmox = site.proxmox
    upid = "UPID:pve1:00000001:00000002:6B0488A9:qmstart:300:cpcd@pve!lab:"

    assert (None, None, None, None) == (
        await proxmox.config("pve1", 999), await proxmox.config("pve2", 9000), await proxmox.status("pve2", 9000),
        await proxmox.task_status("pve1", upid),
    )  # fmt: skip


async def test_stale_digest_is_refused_at_once(site: Site) -> None:
    """`failures.md` P30: nothing is written, and a fresh read may follow immediately."""
    error = await failure(site.proxmox.configure("pve1", 9000, {"cores": 8}, digest="0" * 40))

    assert (Code.EXECUTION, 0, 2) == (error.code, error.retry, site.pve.vms[9000].config["cores"])


async def test_held_lock_file_is_waited_for(site: Site) -> None:
    """Somebody's `qm` at the node's shell has it: nothing is written, and the same call does it later (P01)."""
    site.pve.hold_lock("pve1", "/var/lock/qemu-server/lock-9000.conf", 25)
    error = await failure(site.proxmox.configure("pve1", 9000, {"cores": 8}, digest=""))
    before = site.pve.vms[9000].config["cores"]
    await site.wait(30)
    await site.proxmox.configure("pve1", 9000, {"cores": 8}, digest="")

    assert (Code.EXECUTION, "pve:home/vm:9000") == (error.code, error.target)
    assert "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout" in error.what
    assert (2, 8) == (before, site.pve.vms[9000].config["cores"])


async def test_locked_vm_is_waited_for(site: Site) -> None:
    """A lock of somebody's backup is no reason to do anything but wait."""
    site.pve.set_lock(9000, "backup")
    error = await failure(site.proxmox.configure("pve1", 9000, {"cores": 8}, digest=""))

    assert (Code.EXECUTION, 3, "pve:home/vm:9000") == (error.code, error.retry, error.target)
    assert "VM is locked (backup)" in error.what


async def test_wrong_parameters_are_named(site: Site) -> None:
    """The field is in the sentence."""
    error = await failure(site.proxmox.configure("pve1", 9000, {"memory": "lots"}, digest=""))

    assert error.code is Code.EXECUTION
    assert "memory: " in error.what


async def test_wrong_token_is_refused(site: Site) -> None:
    """A 401 has no body over any transport."""
    error = await failure(ProxmoxApi(site.transport, "home", lambda: "cpcd@pve!lab=wrong").resources())

    assert (Code.AUTH, "pve:home") == (error.code, error.target)
    assert "Authentication failed!" in error.what


async def test_dead_node_is_the_nodes_failure(site: Site) -> None:
    """The others go on answering, so the endpoint is not in question."""
    site.pve.node_down("pve2")
    error = await failure(site.proxmox.tasks("pve2"))

    assert not isinstance(error, Unreachable)
    assert (Code.NETWORK, "pve:home/node:pve2") == (error.code, error.target)
    assert [] == await site.proxmox.tasks("pve1")


async def test_silence_is_unreachable_and_passes(site: Site) -> None:
    """The client's own limit ends the wait; afterwards everything is as before."""
    site.pve.silence(on=True)
    error = await failure(site.proxmox.resources())
    site.pve.silence(on=False)

    assert isinstance(error, Unreachable)
    assert await site.proxmox.resources()


@pytest.mark.parametrize(
    ("request_", "status", "reason", "body"),
    [
        (Request("GET", "/api2/json/version"), 401, "No ticket", None),
        (Request("GET", "/api2/json/nosuch", {}, TOKEN), 501, "Method 'GET /nosuch' not implemented",
         {"data": None, "message": "Method 'GET /nosuch' not implemented"}),
        (Request("GET", "/api2/json/nodes/pve1/qemu/999/config", {}, TOKEN), 500,
         "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist",
         {"data": None, "message": "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist\n"}),
        (Request("GET", "/api2/json/cluster/nextid", {"vmid": 9000}, TOKEN), 400, "Parameter verification failed.",
         {"data": None, "message": "Parameter verification failed.\n", "errors": {"vmid": "VM 9000 already exists"}}),
        (Request("GET", "/api2/json/cluster/nextid", {"vmid": 123}, TOKEN), 200, "OK", {"data": "123"}),
    ],
    ids=["401", "501", "500", "400", "200"],
)  # fmt: skip
async def test_exchange_arrives_unchanged(
    site: Site, request_: Request, status: int, reason: str, body: dict[str, object] | None
) -> None:
    """Status, reason phrase and body are Proxmox's (recorded(1), recorded(16), recorded(63), recorded(209))."""
    answer: Response = await site.transport.send(request_)

    assert (status, reason) == (answer.status, answer.reason)
    assert body == (json.loads(answer.body) if answer.body else None)
    assert "X-Lab-Seconds" not in answer.headers
