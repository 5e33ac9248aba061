"""One machine in time: power, boot, network, and the kubelet that comes up with it.

What is up follows from when the power came, so that an idle machine plans no event. The catalogue's verbs are in
`guest.py`; what they do is in the programs. A hard power-off is a crash at any instruction.
"""

import dataclasses
import random
import uuid
from collections.abc import Mapping
from typing import Any, Final, Protocol

from cpcd.lab.events import Events
from cpcd.lab.guests.disk import Disk
from cpcd.lab.guests.durations import Durations
from cpcd.lab.guests.hardware import Hardware, hardware
from cpcd.lab.guests.hostkey import HostKey
from cpcd.lab.guests.jobs import Jobs
from cpcd.lab.kube import Cluster, Plan
from cpcd.lab.provenance import guess, recorded, source

__all__ = ["KUBELET_CONFIG", "Machine", "Surroundings"]

KUBELET_CONFIG: Final = "/var/lib/kubelet/config.yaml"


class Surroundings(Protocol):
    """What a machine needs of the world around it."""

    events: Events
    random: random.Random
    durations: Durations

    @property
    def epoch(self) -> float:
        """Wall-clock time at lab time 0."""
        ...

    def reach(self, host: str, port: int) -> Cluster | None:
        """Return whose API server answers at an address now."""
        ...

    def new_cluster(self, plan: Plan) -> Cluster:
        """Make a cluster that nobody serves yet."""
        ...


class Machine:
    """One virtual machine from its first power-on; `disk` outlives the power, everything else does not."""

    def __init__(self, vmid: int, world: Surroundings) -> None:
        self.vmid = vmid
        self.world = world
        self.jobs = Jobs(world.events)
        self.disk = Disk(f"{world.random.getrandbits(128):032x}", HostKey(f"{vmid}/{world.random.getrandbits(64)}"))
        self.hardware: Hardware = hardware({}, vmid)
        self.booted: float | None = None
        self.boot_id = ""
        self.halting = False
        self.hung = False  # its kernel is, until the power goes
        self.system = True  # something boots from its disk
        self.cut = False
        self.containerd = True  # the service runs
        self.registry = True  # images can be had
        self.listening: set[int] = set()  # ports that programs which are not Kubernetes' hold

    @property
    def now(self) -> float:
        """Lab time."""
        return self.world.events.now

    @property
    def durations(self) -> Durations:
        """How long things take here."""
        return self.world.durations

    @property
    def address(self) -> str:
        """The static address, empty without one."""
        return self.hardware.address

    @property
    def system_uuid(self) -> str:
        """The DMI UUID in lower case."""
        return self.hardware.system_uuid

    @property
    def hostname(self) -> str:
        """What /etc/hostname says."""
        return self.disk.hostname

    @property
    def host_key(self) -> str:
        """The public host key's line."""
        return self.disk.host_key.public

    @property
    def host_private_key(self) -> str:
        """The private host key as OpenSSH PEM."""
        return self.disk.host_key.private

    @property
    def authorized_keys(self) -> list[str]:
        """Public keys that may log in."""
        return self.disk.authorized_keys

    @property
    @recorded(1005, 1089)
    def users(self) -> list[str]:
        """Who may log in: root of the image, and cloud-init's user once it is made (`failures.md` G07)."""
        late = self.booted == self.disk.instance_at and not self._up(self.durations.ssh + self.durations.users)
        return ["root"] if late else self.disk.users

    def _up(self, seconds: float) -> bool:
        return (
            self.system
            and self.booted is not None
            and not (self.halting or self.hung)
            and self.now >= self.booted + seconds
        )

    @property
    @recorded(1007, 1069)
    def agent_up(self) -> bool:
        """Whether the guest agent answers: it comes before sshd."""
        return self._up(self.durations.agent)

    @property
    @recorded(142, 161)
    def ssh_up(self) -> bool:
        """Whether sshd answers from outside."""
        return self._up(self.durations.ssh) and not self.cut

    @property
    @recorded(1005, 1111)
    def cloud_init(self) -> str:
        """`running` until the end of an instance's first boot, then `done`."""
        first = self.booted == self.disk.instance_at
        seconds = self.durations.cloud_init + (self.durations.upgrade if self.hardware.upgrade else 0)
        return "running" if first and not self._up(seconds) else "done"

    def power_on(self, config: Mapping[str, Any], *, system: bool = True) -> None:
        """Boot with the configuration as it is now; without a system nothing ever comes up.

        Without a cloud-init drive it stays what it was told last: its network is in its files.
        """
        before, seen = self.hardware, hardware(config, self.vmid)
        # The drive was read into files once, and those are still there.
        if not seen.instance:
            kept = self.disk.instance
            seen = dataclasses.replace(seen, address=before.address, prefix=before.prefix, instance=kept)
        self.hardware, self.system = seen, system
        self._boot()

    def _boot(self) -> None:
        self.booted, self.halting, self.hung = self.now, False, False
        self.boot_id = str(uuid.UUID(int=self.world.random.getrandbits(128), version=4))
        # Compared with the disk: a clone, or any change of what the drive says, makes cloud-init do its work once more
        # (G10).
        if self.disk.instance != self.hardware.instance:
            self._new_instance()
        self._grow_root()
        boot = self.boot_id
        # Bound to this boot: power that was lost and came back meanwhile plans another.
        self.world.events.at(self.durations.kubelet, lambda: self._boot_kubelet(boot))

    @source("G14", "cloud-init: cc_growpart.py, cc_resizefs.py (frequency PER_ALWAYS)")
    def _grow_root(self) -> None:
        """Let the root file system have the disk, as cloud-init does at each boot and at no other time."""
        self.disk.root_gib = max(self.disk.root_gib, self.hardware.disk_gib)

    @recorded(1089, 1111)
    @source("G10")
    def _new_instance(self) -> None:
        """Do what cloud-init does once for each instance-id: names, users, and new host keys; machine-id stays."""
        disk, seen = self.disk, self.hardware
        disk.instance, disk.instance_at = seen.instance, self.now
        disk.host_key = HostKey(f"{self.vmid}/{self.world.random.getrandbits(64)}")
        disk.hostname = seen.name
        if seen.user and seen.user not in disk.users:
            disk.users.append(seen.user)
        disk.authorized_keys = list(seen.keys)

    def _boot_kubelet(self, boot: str) -> None:
        if boot == self.boot_id and self.booted is not None and KUBELET_CONFIG in self.disk.files:
            self.start_kubelet()

    def power_off(self) -> None:
        """Lose the power: what ran is gone, what was written stays."""
        self.jobs.kill()
        self.stop_kubelet()
        self.booted = None

    @source("D14")
    def hang(self, *, broken: bool) -> None:
        """Stop in the kernel: it runs, and answers nothing more until it boots anew; `broken`, no system does then."""
        self.jobs.kill()
        self.stop_kubelet()
        self.hung, self.system = True, not broken

    def reset(self) -> None:
        """Press the reset button."""
        self.power_off()
        self._boot()

    def halt(self) -> float:
        """Begin an orderly shutdown and return the seconds until the power is off; before the agent is up it waits."""
        assert self.booted is not None, "a machine that is off cannot be shut down"
        waiting = max(0.0, self.booted + self.durations.agent - self.now)
        self.halting = waiting == 0
        return waiting + self.durations.shutdown

    @recorded(142, 161)
    def reboot(self) -> None:
        """Reboot from inside: the configuration stays that of the power-on."""
        boot, seconds = self.boot_id, self.halt()
        self.world.events.at(seconds, lambda: self.reset() if boot == self.boot_id and self.booted else None)

    @guess("taken at once; the real kubelet notices within its 5 min of machine information")
    def hotplug(self, config: Mapping[str, Any]) -> None:
        """See changed processors and memory."""
        seen = hardware(config, self.vmid)
        self.hardware = dataclasses.replace(
            self.hardware, cores=seen.cores, memory_mib=seen.memory_mib, disk_gib=seen.disk_gib
        )
        if self.disk.kubelet and self.disk.cluster:
            self._describe()
            self.disk.cluster.poke()

    def unplug(self, cut: bool = True) -> None:
        """Take the network cable away or plug it back: the machine goes on, nobody reaches it or is reached."""
        self.cut = cut
        kubelet, cluster = self.disk.kubelet, self.disk.cluster
        if kubelet is not None and cluster is not None:
            kubelet.cut, kubelet.back = cut, self.now
            cluster.lost(kubelet)

    def start_kubelet(self) -> None:
        """Start or restart the kubelet's service."""
        assert self.disk.kubelet is not None, "kubeadm has configured no kubelet here"
        assert self.disk.cluster is not None, "a kubelet belongs to a cluster"
        self._describe()
        self.disk.kubelet.start(self.now, self.boot_id)
        self.disk.cluster.join(self.disk.kubelet)

    def _describe(self) -> None:
        kubelet, disk, seen = self.disk.kubelet, self.disk, self.hardware
        assert kubelet is not None, "only a configured kubelet describes its machine"
        kubelet.version, kubelet.containerd = disk.packages["kubelet"], disk.packages["containerd"]
        kubelet.machine_id, kubelet.system_uuid = disk.machine_id, seen.system_uuid
        kubelet.cores, kubelet.memory_mib, kubelet.disk_gib = seen.cores, seen.memory_mib, disk.root_gib
        kubelet.address = seen.address or kubelet.address
        kubelet.cut = self.cut

    def stop_kubelet(self) -> None:
        """Stop the kubelet and, with it, its static pods; no-op where none runs."""
        kubelet, cluster = self.disk.kubelet, self.disk.cluster
        if kubelet is not None and cluster is not None and kubelet.started is not None:
            cluster.etcd_up(kubelet)  # an etcd that ran leaves its data directory
            kubelet.started = None
            cluster.lost(kubelet)
