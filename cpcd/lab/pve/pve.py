"""A modelled Proxmox VE: the door that requests come through, and the hands that act behind the API's back.

`handle` settles what has become due and answers at once, without sleeping. The interventions are for faults, demos and
the modelled guests; they need no token and leave no task. Next: `http.py` for a request's way.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cpcd.lab.events import Events
from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve import power
from cpcd.lab.pve.attach import attach
from cpcd.lab.pve.cluster import Cluster, Destructive, Host, Reach
from cpcd.lab.pve.create import complete, seal
from cpcd.lab.pve.errors import Silent
from cpcd.lab.pve.http import PREFIX, answer
from cpcd.lab.pve.properties import mac, parse, print_net, sorted_tags, volume
from cpcd.lab.pve.settings import Node, Settings, Storage, Token
from cpcd.lab.pve.vm import Backend, Vm
from cpcd.lab.pve.volumes import Volume
from cpcd.ports.proxmox import Request, Response

__all__ = ["Pve", "handle"]


class Pve:
    """One modelled installation. Deterministic for the same clock, requests and random source."""

    def __init__(self, events: Events, backend: Backend, settings: Settings, random: random.Random) -> None:
        self.events = events
        self.cluster = Cluster(events, backend, settings, random)
        self.unanswered: Counter[str] = Counter()
        """Number of calls that met silence, by `METHOD /path`."""
        self._silent = False

    def handle(self, request: Request) -> Response:
        """Answer one request; raises `Silent` while the API does not answer.

        Never sleeps: where the real API blocks (a held lock, a 401, a dead node), the response carries the seconds in
        the header `X-Lab-Seconds`; whoever transports it waits that long and takes the header off.
        """
        self._now()
        if self._silent or self.cluster.entry is None:
            self.unanswered[f"{request.method} {request.path.removeprefix(PREFIX)}"] += 1
            raise Silent("the modelled Proxmox does not answer")
        return answer(self.cluster, request)

    def _now(self) -> None:
        self.events.settle()
        self.cluster.catch_up()

    @property
    def calls(self) -> Counter[str]:
        """Number of calls by `METHOD /path/template`."""
        return self.cluster.calls

    @property
    def history(self) -> list[Destructive]:
        """Accepted destructive calls, oldest first."""
        return self.cluster.history

    @property
    def vms(self) -> dict[int, Vm]:
        """The VMs as they are now, by VMID; for backends and tests to read."""
        return self.cluster.vms

    @property
    def accounts(self) -> dict[str, Token]:
        """Tokens by id, to be changed by who plays the administrator."""
        return self.cluster.accounts

    @property
    def storages(self) -> Mapping[str, Storage]:
        """Storage definitions by name."""
        return {storage.name: storage for storage in self.cluster.storages}

    def define_storages(self, storages: Iterable[Storage]) -> None:
        """Put other storage definitions in the place of the present ones; volumes stay where they are."""
        self._now()
        volumes = self.cluster.volumes
        volumes.settings = replace(volumes.settings, storages=tuple(storages))

    @recorded(283, 307)
    def add_template(  # noqa: PLR0913 - what a template has
        self,
        vmid: int,
        node: str,
        name: str,
        tags: str = "",
        *,
        disk: str = "10",
        storage: str = "local-lvm",
        memory: int = 2048,
        cores: int = 2,
        bridge: str = "vmbr0",
    ) -> Vm:
        """Put a cloud-init template on a node, as an administrator has long since; `disk` in GiB, `memory` in MiB."""
        self._now()
        cluster = self.cluster
        vm = Vm(
            vmid, node, {"name": name, "memory": str(memory), "cores": cores, "ostype": "l26", "agent": "enabled=1"}
        )
        vm.config |= {"cpu": "host", "scsihw": "virtio-scsi-single", "serial0": "socket", "vga": "serial0"}
        if tags:
            vm.config["tags"] = sorted_tags(tags)
        address = mac(cluster.settings.mac_prefix, cluster.random)
        vm.config["net0"] = print_net({"model": "virtio", "macaddr": address, "bridge": bridge})
        vm.config["scsi0"] = attach(cluster, vm, "scsi0", f"{storage}:{disk}")
        for made in cluster.volumes.of(vmid, node):
            # A system is on it: from a disk that was never written to nothing boots.
            cluster.volumes.put(replace(made, blank=False))
        vm.config["boot"] = "order=scsi0"
        vm.config["ide2"] = attach(cluster, vm, "ide2", f"{storage}:cloudinit")
        complete(cluster, vm)
        seal(cluster, vm)
        cluster.vms[vmid] = vm
        cluster.statistics.tell(vm, self.events.now, cpus=cluster.hosts[node].node.cpus)
        return vm

    def blank(self, vm: Vm) -> bool:
        """Tell whether nothing boots from a VM's disk, for it was never written to."""
        names = parse(str(vm.config.get("boot", "")), "legacy").get("order", "").split(";")
        drives = [vm.drives[name] for name in names if name in vm.drives]
        found = [self.cluster.volumes.find(vm.node, volume(value)) for value in drives]
        return any(each.blank for each in found[:1] if each)

    def stop_vm(self, vmid: int) -> None:
        """Take a VM's power away behind the API's back; no-op on a stopped one."""
        self._now()
        vm = self.cluster.vms[vmid]
        if vm.running:
            # Or it would be started again, as at the end of a reboot.
            vm.rebooting = False
            self.cluster.backend.power_off(vm)
            power.power_gone(self.cluster, vm)

    def delete_vm(self, vmid: int) -> None:
        """Remove a VM, its disks and its pool entry behind the API's back."""
        self.stop_vm(vmid)
        vm = self.cluster.vms.pop(vmid)
        for each in self.cluster.volumes.of(vmid, vm.node):
            self.cluster.volumes.free(each)
        for pool in self.cluster.pools.values():
            pool.vms.discard(vmid)
        self.cluster.backend.destroyed(vm)

    def powered_off(self, vmid: int) -> None:
        """Note that a guest has powered itself off; called by the backend, no-op when the VM is gone or stopped."""
        self._now()
        if vm := self.cluster.vms.get(vmid):
            power.power_gone(self.cluster, vm)

    @recorded(782, 1240)
    def kill_worker(self, upid: str) -> None:
        """Kill a task's worker hard: `unexpected status`, its config lock and volumes stay (`failures.md` P22)."""
        self._now()
        self.cluster.tasks.kill(self.cluster.tasks.tasks[upid])

    @recorded(826, 832)
    def hold_lock(self, node: str, path: str, seconds: float) -> None:
        """Hold a lock file of a node, as somebody at its shell would; no-op where it is held already."""
        self._now()
        owner = object()
        if self.cluster.flocks.take((node, path), owner):
            self.cluster.at(seconds, lambda: self.cluster.flocks.free(owner))

    @recorded(444, 465, 1247)
    def set_lock(self, vmid: int, lock: str) -> None:
        """Write a config lock (`backup`, `clone` …) or, with an empty word, take it off, as root can."""
        self._now()
        config = self.cluster.vms[vmid].config
        config.pop("lock", None)
        if lock:
            config["lock"] = lock

    @recorded(1099)
    def add_volume(
        self,
        volid: str,
        node: str,
        *,
        size: int,
        form: str,
        content: str = "images",
        file_size: int = 0,
        blank: bool = False,
    ) -> None:
        """Put a volume on a storage by hand: a disk, or a file of `content` import, iso, snippets; sizes in bytes."""
        self._now()
        storage, _, path = volid.partition(":")
        owner = re.search(r"(?:^|/)(\d+)/[^/]+$|^(?:vm|base)-(\d+)-", path)
        vmid = int(owner[1] or owner[2]) if owner else 0
        made = Volume(volid, storage, node, vmid, size, form, content=content, file_size=file_size, blank=blank)
        self.cluster.volumes.put(replace(made, changed=self.cluster.wall))

    def adopt(self, vmid: int, node: str, config: Mapping[str, str | int]) -> Vm:
        """Put a VM's configuration file below a node's directory, without volumes."""
        self._now()
        vm = self.cluster.vms[vmid] = Vm(vmid, node, dict(config))
        return vm

    def start_vm(self, vmid: int) -> None:
        """Start a VM behind the API's back, at once; no-op on a running one."""
        self._now()
        vm = self.cluster.vms[vmid]
        if not vm.running:
            power.switched_on(self.cluster, vm, pid=vmid)

    @recorded(1183, 1186, 1189)
    def set_reach(self, node: str, how: Reach) -> None:
        """Let calls that are proxied to a node fail in one of the ways of `Reach`, or answer again."""
        self._now()
        (self.cluster.hosts.get(node) or self.cluster.neighbours[node]).reach = how

    @recorded(1194, 1201)
    def set_service(self, name: str, *, running: bool) -> None:
        """Stop or start a service of the entry node: `pvedaemon`, `pve-cluster` (pmxcfs) or `pvestatd`."""
        self._now()
        self.cluster.stopped.pop(name, None)
        if not running:
            self.cluster.stopped[name] = self.events.now

    @recorded(1292)
    def join_node(self, name: str, node: Node) -> None:
        """Make the installation a cluster with one more node, which is off."""
        self._now()
        self.cluster.name = name
        self.cluster.hosts[node.name] = Host(node, up=False, member=False)

    @recorded(1359)
    def leave_node(self, name: str) -> None:
        """Take a node and its VMs out of the cluster; the last one left is none any more."""
        self._now()
        cluster = self.cluster
        cluster.hosts.pop(name, None)
        # What somebody expected was said of the nodes that there were.
        cluster.expected = None
        for vmid in [vmid for vmid, vm in cluster.vms.items() if vm.node == name]:
            del cluster.vms[vmid]
        cluster.name = cluster.name if len(cluster.hosts) > 1 else cluster.settings.name

    @source("pvecm(1) expected")
    def expect_votes(self, votes: int) -> None:
        """Say how many votes are expected, so that fewer nodes than a majority are quorate."""
        self._now()
        self.cluster.expect_votes(votes)

    def node_down(self, node: str) -> None:
        """Cut a node's power; no-op when it is off."""
        self._now()
        host = self.cluster.hosts[node]
        if host.up:
            power.node_gone(self.cluster, host)

    def node_up(self, node: str) -> None:
        """Bring a node back; no-op when it is on."""
        self._now()
        host = self.cluster.hosts[node]
        if not host.up:
            power.node_back(self.cluster, host)

    @source("API2/ClusterConfig.pm delnode")
    def remove_node(self, node: str) -> None:
        """Take a node that is off out of the cluster; its VMs' configurations stay, and with them their VMIDs."""
        self._now()
        assert not self.cluster.hosts[node].up, "a node is removed when it is off"
        del self.cluster.hosts[node]

    @source("P15")
    def set_quorum(self, quorate: bool) -> None:
        """Take quorum away or give it back; a majority of the nodes must be there all the same."""
        self._now()
        self.cluster.quorum = quorate

    def silence(self, on: bool) -> None:
        """Let the whole API stop answering, or answer again; guests and workers go on meanwhile."""
        self._now()
        self._silent = on


def handle(pve: Pve, request: Request) -> Response:
    """Answer one request; see `Pve.handle`."""
    return pve.handle(request)
