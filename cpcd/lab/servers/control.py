"""The lab's own HTTP endpoint, on loopback: what it is, what happened in it, and hands behind everybody's back.

`GET /lab`, `/lab/state`, `/lab/history?since=0`, `/lab/calls`, `/lab/path?masters=3&workers=2&gib=10`; `POST /lab/do`
with `{"do": "stop_vm", "args": {"vmid": 100}}`. It changes the world through the interventions of `lab/pve` alone.
Next: `serve.py`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web

from cpcd.lab.guests import Guest
from cpcd.lab.history import History
from cpcd.lab.kube import Cluster
from cpcd.lab.path import critical_path, stages
from cpcd.lab.pve import Pve, Vm
from cpcd.lab.pve.volumes import Volume
from cpcd.lab.world import World
from cpcd.ports.kube import GVK

__all__ = ["application"]

_log = logging.getLogger("cpcd.lab")

JSON = Any

_DO: Final[Mapping[str, Callable[..., object]]] = {
    "add_template": Pve.add_template,
    "stop_vm": Pve.stop_vm,
    "delete_vm": Pve.delete_vm,
    "kill_worker": Pve.kill_worker,
    "hold_lock": Pve.hold_lock,
    "set_lock": Pve.set_lock,
    "node_down": Pve.node_down,
    "node_up": Pve.node_up,
    "set_quorum": Pve.set_quorum,
    "silence": Pve.silence,
}


def application(world: World, about: Callable[[], Mapping[str, JSON]], calls: Counter[str]) -> web.Application:
    """Return the application; `about` is what `GET /lab` tells, `calls` what SSH and Kubernetes servers count."""
    history = History(world)

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(dict(about()))

    async def show(_: web.Request) -> web.Response:
        return web.json_response(state(world))

    async def recall(request: web.Request) -> web.Response:
        world.events.settle()
        try:
            moments = history.since(float(request.query.get("since", "0")))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response([asdict(moment) for moment in moments])

    async def count(_: web.Request) -> web.Response:
        counted = {"proxmox": world.pve.calls, "unanswered": world.pve.unanswered, "others": calls}
        return web.json_response({name: dict(calls) for name, calls in counted.items()})

    async def bound(request: web.Request) -> web.Response:
        asked = request.query
        try:
            masters, workers, gib = int(asked["masters"]), int(asked["workers"]), float(asked.get("gib", "0"))
            seconds = await asyncio.to_thread(critical_path, masters=masters, workers=workers, copied_gib=gib)
        except (LookupError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        _log.info("%d control planes and %d workers take at least %.1f s", masters, workers, seconds)
        return web.json_response({"seconds": seconds, "stages": asdict(stages())})

    async def act(request: web.Request) -> web.Response:
        asked = await request.json()
        try:
            _DO[asked["do"]](world.pve, **asked.get("args", {}))
        except (LookupError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}", "known": sorted(_DO)}, status=400)
        return web.json_response({"done": asked["do"], "time": world.events.now})

    served = web.Application()
    served.router.add_get("/lab", tell)
    served.router.add_get("/lab/state", show)
    served.router.add_get("/lab/history", recall)
    served.router.add_get("/lab/calls", count)
    served.router.add_get("/lab/path", bound)
    served.router.add_post("/lab/do", act)
    return served


def state(world: World) -> dict[str, JSON]:
    """Return what is true in the lab now: VMs, volumes, machines, clusters, tasks, every destructive call so far.

    Times are lab seconds, except `start` and `end` of tasks, which are Unix seconds of the lab's wall clock.
    """
    world.events.settle()
    return {
        "time": world.events.now,
        "vms": [_vm(world, vm) for _, vm in sorted(world.pve.vms.items())],
        "volumes": [_volume(world, volume) for volume in world.pve.cluster.volumes.volumes.values()],
        "guests": [_guest(vmid, guest) for vmid, guest in sorted(world.guests.items())],
        "clusters": [_cluster(cluster) for cluster in world.clusters],
        "apis": sorted(f"{address}:{port}" for address, port in world.apis()),
        "destructive": [asdict(call) for call in world.pve.history],
        "tasks": [
            {
                "type": task.kind,
                "id": task.id,
                "node": task.node,
                "start": task.start,
                "end": task.end,
                "exit": task.exit,
            }
            for task in world.pve.cluster.tasks.tasks.values()
        ],
    }


def _vm(world: World, vm: Vm) -> dict[str, JSON]:
    marks = {key: vm.config.get(key, "") for key in ("description", "tags", "smbios1", "memory", "cores")}
    pool = world.pve.cluster.pool_of(vm.vmid)
    known = {"vmid": vm.vmid, "node": vm.node, "name": vm.name, "status": vm.status, "template": vm.template}
    return {**known, "lock": vm.lock, "pool": pool, "since": vm.since, "pid": vm.pid, **marks}


def _volume(world: World, volume: Volume) -> dict[str, JSON]:
    vm = world.pve.vms.get(volume.vmid)
    used = vm is not None and volume.volid in {str(value).partition(",")[0] for value in vm.config.values()}
    return {"volid": volume.volid, "node": volume.node, "vmid": volume.vmid, "used": used}


def _guest(vmid: int, guest: Guest) -> dict[str, JSON]:
    known = {"vmid": vmid, "hostname": guest.hostname, "address": guest.address}
    return {**known, "ssh": guest.ssh_up, "prepared": bool(guest.disk.prepared), "job": guest.job}


def _cluster(cluster: Cluster) -> dict[str, JSON]:
    nodes, _ = cluster.store.list(GVK("v1", "Node"))
    return {
        "name": cluster.name,
        "healthy": cluster.healthy(),
        "members": [
            {"name": m.name, "peer": m.peer_url, "learner": m.learner, "up": cluster.etcd.up(m)}
            for m in cluster.etcd.members
        ],
        "nodes": [_node(node) for node in nodes],
    }


def _node(node: Mapping[str, JSON]) -> dict[str, JSON]:
    status = node.get("status", {})
    ready = next((c["status"] for c in status.get("conditions", ()) if c["type"] == "Ready"), "Unknown")
    machine = status.get("nodeInfo", {})
    return {
        "name": node["metadata"]["name"],
        "uid": node["metadata"]["uid"],
        "ready": ready == "True",
        "unschedulable": bool(node["spec"].get("unschedulable")),
        "labels": node["metadata"].get("labels", {}),
        "memory": status.get("capacity", {}).get("memory", ""),
        "systemUUID": machine.get("systemUUID", ""),
        "version": machine.get("kubeletVersion", ""),
    }
