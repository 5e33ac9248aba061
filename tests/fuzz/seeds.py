"""Right answers to begin from: those of a small lab cluster, asked once through the real adapters' own paths.

One control plane and one worker that joined it; what the lab answers is held to recordings by its own tests.
"""

import functools
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.ports.kube import GVK
from cpcd.ports.proxmox import Request, Response
from tests.unit.lab_guests.conftest import TOKEN, Rack

__all__ = ["KINDS", "SITE", "VERBS", "guest_answers", "now", "objects", "proxmox_answers"]

T = TypeVar("T")
Verb = Callable[[ProxmoxApi], Awaitable[Any]]

SITE, NODE, VMID = "home", "pve1", 301
KINDS: Final = {
    "Node": GVK("v1", "Node"), "Pod": GVK("v1", "Pod"), "Namespace": GVK("v1", "Namespace"),
    "ConfigMap": GVK("v1", "ConfigMap"),
    "CertificateSigningRequest": GVK("certificates.k8s.io/v1", "CertificateSigningRequest"),
}  # fmt: skip
# Reads first: the writes at the end change what the lab would answer.
VERBS: Final[dict[str, Verb]] = {
    "resources": lambda api: api.resources(),
    "cluster_status": lambda api: api.cluster_status(),
    "permissions": lambda api: api.permissions(),
    "config": lambda api: api.config(NODE, VMID),
    "status": lambda api: api.status(NODE, VMID),
    "pending": lambda api: api.pending(NODE, VMID),
    "vmid_free": lambda api: api.vmid_free(399),
    "tasks": lambda api: api.tasks(NODE, vmid=9000),
    "task_status": lambda api: api.task_status(NODE, _upid()),
    "task_log": lambda api: api.task_log(NODE, _upid()),
    "agent_file_read": lambda api: api.agent_file_read(NODE, VMID, "/etc/ssh/ssh_host_ed25519_key.pub"),
    "agent_interfaces": lambda api: api.agent_interfaces(NODE, VMID),
    "clone": lambda api: api.clone(
        NODE, 9000, newid=399, name="n", description="d", pool="", full=False, target=NODE, storage=""
    ),
    "configure": lambda api: api.configure(NODE, VMID, {"cores": 4}, digest=""),
    "resize": lambda api: api.resize(NODE, VMID, "scsi0", "40G"),
    "power": lambda api: api.power(NODE, VMID, "stop"),
    "destroy": lambda api: api.destroy(NODE, VMID),
}  # fmt: skip


def now(waiting: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
    """Return what a coroutine comes to that never really waits: a thousandth of an event loop's price."""
    steps = waiting.__await__()
    try:
        next(steps)
    except StopIteration as ended:
        value: T = ended.value
        return value
    raise AssertionError("a target waits for something real")


@functools.cache
def _rack() -> Rack:
    rack = Rack()
    peer = rack.first()
    rack.join(peer, 302, "w1")
    rack.deploy(2)
    return rack


def _upid() -> str:
    task: str = now(ProxmoxApi(_Lab(_rack()), SITE, lambda: TOKEN).tasks(NODE, vmid=9000))[0]["upid"]
    return task


class _Lab:
    """Carries an exchange to the lab, and keeps each answer."""

    def __init__(self, rack: Rack) -> None:
        self.rack, self.answers = rack, []

    async def send(self, request: Request) -> Response:
        answer = self.rack.world.pve.handle(request)
        self.answers.append(answer)
        self.rack.run(5)
        return answer

    async def close(self) -> None:
        return


@functools.cache
def proxmox_answers() -> dict[str, Response]:
    """Return what Proxmox answers to each verb."""
    objects(), guest_answers()  # before the machine is destroyed
    answers = {}
    for name, verb in VERBS.items():
        lab = _Lab(_rack())
        now(verb(ProxmoxApi(lab, SITE, lambda: TOKEN)))
        answers[name] = lab.answers[-1]
    return answers


@functools.cache
def objects() -> dict[str, list[dict[str, Any]]]:
    """Return the cluster's objects by kind, as the API's JSON."""
    store = _rack().cluster.store
    store.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "kube-system"}})
    return {kind: json.loads(json.dumps(store.list(gvk)[0])) for kind, gvk in KINDS.items()}


@functools.cache
def guest_answers() -> dict[str, dict[str, Any]]:
    """Return what a control plane answers to each verb, `poll` of a job that ended and of one that failed included."""
    guest = _rack().world.guests[VMID]
    answers = {verb: guest.call(verb, {})[0] for verb in ("facts", "kubeconfig", "etcd_members")}
    answers["join_secrets"] = guest.call("join_secrets", {"ttl": "15m0s", "control_plane": True})[0]
    answers["poll"] = guest.poll("op1")
    answers["poll-failed"] = {
        "state": "failed", "boot_id": "b", "rc": 1, "output": None, "error": {"reason": "Preflight", "message": "no"},
    }  # fmt: skip
    return json.loads(json.dumps(answers))
