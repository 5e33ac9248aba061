"""QEMU machines behind the lab's Proxmox API: its `Backend`, with a process for each VM that runs.

A VM's files lie in a directory of its VMID: disks as overlays, the cloud-init drive, sockets, the console of every boot.
Start is a process, the state is whether it lives: `look()`, called again and again, tells the API which have ended.
There is no KVM in it, and no firmware: kernel and initrd come from the template's image. Next: `lab.py`.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cpcd.lab.guests.hardware import hardware
from cpcd.lab.pve import Vm
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.properties import is_cloudinit, parse_net
from tests.real.machines import emulator, network, seed
from tests.real.machines.agent import Agent, AgentError, monitor
from tests.real.machines.image import Image

__all__ = ["Machines"]

# util-linux: whoever started it is gone, so it goes too. And whoever drives machines comes before them.
_WITH_US: Final = ("nice", "setpriv", "--pdeathsig", "KILL", "--")
_COMMAND_LINE: Final = (
    "root=LABEL=root rw console=ttyS0 quiet net.ifnames=0 systemd.show_status=1 mitigations=off audit=0 apparmor=0 nowatchdog"
    " tsc=reliable no_timer_check random.trust_cpu=on"  # what costs an emulated processor most, and secures nothing here
    " highres=off"  # Go's sleeps of microseconds end with the next tick: half of what an idle control plane did
)
# What Proxmox gives by default, x86-64-v2-AES, in QEMU's own models. `max` takes a fifth more of the host for a boot: of
# all that it has, the repeated byte moves are emulated byte by byte, and wide registers are saved at each switch.
_PROCESSOR: Final = "Westmere"


@dataclass(slots=True)
class _Running:
    """One process, and its agent."""

    process: subprocess.Popen[bytes]
    agent: Agent


@dataclass(slots=True)
class Machines:
    """Every machine below one directory; `images` are those of the templates, by VMID."""

    place: Path
    images: dict[int, Image]
    say: Callable[[str], None]
    running: dict[int, _Running] = field(default_factory=dict)

    def look(self, ended: Callable[[int], None]) -> None:
        """Tell which machines have ended by themselves since the last look."""
        for vmid in [vmid for vmid, each in self.running.items() if each.process.poll() is not None]:
            self._forget(vmid)
            ended(vmid)

    def close(self) -> None:
        """End every process."""
        for vmid in list(self.running):
            self._kill(vmid)

    def console(self, vmid: int) -> Path:
        """Return where a machine's serial console is written to."""
        return self._home(vmid) / "console.log"

    def power_on(self, vm: Vm) -> None:
        """See Backend: bring the disks to their size, write the cloud-init drive, start QEMU."""
        home, config = self._home(vm.vmid), vm.booted or {}
        home.mkdir(exist_ok=True)
        for name, size in vm.disks.items():
            self._fit(home / f"{name}.qcow2", size)
        if any(is_cloudinit(drive) for drive in vm.drives.values()):
            seed.write(config, vm.vmid, home / "seed.iso")
        with (home / "qemu.log").open("ab") as log:
            argv = [*_WITH_US, *self._argv(vm, config)]
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running[vm.vmid] = _Running(process, Agent(home / "agent"))
        self.say(f"VM {vm.vmid} ({vm.name}) is on, pid {process.pid}, console {self.console(vm.vmid)}")

    def shutdown(self, vm: Vm) -> None:
        """See Backend: the agent where it answers, else the power button, as Proxmox does."""
        each = self.running[vm.vmid]
        try:
            if each.agent.up:
                each.agent.ask("guest-shutdown", within=1, mode="powerdown")  # no answer means that it obeys
            else:
                self._monitor(vm, "system_powerdown")
        except (OSError, AgentError):
            return

    def power_off(self, vm: Vm) -> None:
        """See Backend."""
        self._kill(vm.vmid)

    def reset(self, vm: Vm) -> None:
        """See Backend."""
        self._monitor(vm, "system_reset")

    def destroyed(self, vm: Vm) -> None:
        """See Backend: what it leaves lies apart, for a run that fails, in whose course it may have been the one."""
        self._kill(vm.vmid)
        self.images.pop(vm.vmid, None)
        if (home := self._home(vm.vmid)).exists():
            home.rename(tempfile.mkdtemp(prefix=f"{vm.vmid}-{vm.name}-", dir=self.place))

    def cloned(self, source: Vm, target: Vm) -> None:
        """See Backend: a disk of a template is the ground of an overlay, which costs nothing."""
        self._home(target.vmid).mkdir()
        image = self.images[source.vmid]
        self.images[target.vmid] = image
        for name, size in target.disks.items():
            overlay = str(self._home(target.vmid) / f"{name}.qcow2")
            _qemu_img("create", "-f", "qcow2", "-b", str(image.disk), "-F", "raw", overlay, str(size))

    def agent_up(self, vm: Vm) -> bool:
        """See Backend."""
        return vm.vmid in self.running and self.running[vm.vmid].agent.up

    def agent_interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        """See Backend."""
        with _answering():
            found: list[dict[str, Any]] = self.running[vm.vmid].agent.ask("guest-network-get-interfaces")
        return found

    def agent_file(self, vm: Vm, path: str) -> str | None:
        """See Backend."""
        with _answering():
            found = self.running[vm.vmid].agent.read(path)
        return None if found is None else found.decode(errors="replace")

    def hotplug(self, vm: Vm, changes: Mapping[str, Any]) -> set[str]:
        """See Backend: a disk grows under a running machine; everything else waits for the next start."""
        grown = {name for name, value in changes.items() if value is not None and name in (vm.booted or {})}
        for name in grown & vm.disks.keys():
            self._monitor(vm, "block_resize", device=f"drive-{name}", size=vm.disks[name])
        return grown & vm.disks.keys()

    def _home(self, vmid: int) -> Path:
        return self.place / str(vmid)

    def _monitor(self, vm: Vm, command: str, **given: Any) -> None:
        monitor(self._home(vm.vmid) / "monitor", command, **given)

    def _kill(self, vmid: int) -> None:
        if vmid in self.running:
            self.running[vmid].process.kill()
            self.running[vmid].process.wait()
            self._forget(vmid)

    def _forget(self, vmid: int) -> None:
        ended = self.running.pop(vmid)
        ended.agent.close()
        self.say(f"VM {vmid} is off, exit code {ended.process.returncode}")

    def _fit(self, disk: Path, size: int) -> None:
        """Bring a disk to its size: one without an image is new and empty."""
        verb = ("resize", "-q") if disk.exists() else ("create", "-q", "-f", "qcow2")
        _qemu_img(*verb, str(disk), str(size))

    def _argv(self, vm: Vm, config: Mapping[str, Any]) -> list[str]:
        home, image, seen = self._home(vm.vmid), self.images[vm.vmid], hardware(config, vm.vmid)
        argv = [
            *emulator.made(), "-name", vm.name, "-machine", "q35,hpet=off", "-accel", "tcg,thread=multi,tb-size=1024",
            "-cpu", _PROCESSOR, "-smp", str(vm.most_cpus), "-m", str(seen.memory_mib), "-nodefaults", "-display", "none",
            "-smbios", f"type=1,uuid={seen.system_uuid}", "-qmp", f"unix:{home / 'monitor'},server=on,wait=off",
            "-chardev", f"file,id=console,path={self.console(vm.vmid)},append=on", "-serial", "chardev:console",
            "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _COMMAND_LINE,
            "-device", "virtio-rng-pci", "-device", "virtio-scsi-pci", "-device", "virtio-serial-pci",
        ]  # fmt: skip
        if vm.agent:
            argv += ["-chardev", f"socket,path={home / 'agent'},server=on,wait=off,id=agent"]
            argv += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        for name in vm.disks:
            argv += _drive(name, f"file={home / name}.qcow2,format=qcow2,discard=unmap", "scsi-hd")
        if (home / "seed.iso").exists():
            argv += _drive("seed", f"file={home / 'seed.iso'},format=raw,readonly=on", "scsi-cd")
        for name in sorted(name for name in config if name.startswith("net")):
            argv += self._card(vm.vmid, name, str(config[name]))
        return argv

    def _card(self, vmid: int, name: str, said: str) -> list[str]:
        parts, tap = parse_net(said), f"tap{vmid}i{name[3:]}"
        script = network.plug(self.place, parts["bridge"])
        card = f"virtio-net-pci,netdev={name},mac={parts['macaddr']}"
        return ["-netdev", f"tap,id={name},ifname={tap},script={script},downscript=no", "-device", card]


@contextmanager
def _answering() -> Iterator[None]:
    """An agent that has answered may be gone since."""
    try:
        yield
    except OSError as error:
        raise failed("QEMU guest agent is not running") from error


def _drive(name: str, said: str, device: str) -> list[str]:
    """Return a drive; what it holds may be lost with the host, never with the machine."""
    return [
        "-drive", f"{said},if=none,id=drive-{name},cache=unsafe", "-device", f"{device},drive=drive-{name},serial=drive-{name}",
    ]  # fmt: skip


def _qemu_img(*argv: str) -> None:
    subprocess.run(["qemu-img", *argv], check=True, stdout=subprocess.DEVNULL)
