"""Start, stop, shutdown, reset, reboot: what the tasks do, what they say, what holds the lock meanwhile.

The only file that sets or clears a VM's power state. A graceful shutdown is a request to the guest; the task waits
and keeps the configuration's lock for all that time (`failures.md` P25). Next: `vm.py` for the guest's side.
"""

from cpcd.lab.provenance import guess, recorded, schema, source
from cpcd.lab.pve.auth import ROOT, refuse_skiplock
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster, Host
from cpcd.lab.pve.errors import failed, unanswered
from cpcd.lab.pve.flocks import config_path
from cpcd.lab.pve.pending import apply_pending
from cpcd.lab.pve.properties import is_cloudinit, parse, parse_net
from cpcd.lab.pve.tasks import Flock, Interrupted, PowerOff, Sleep, Task, Worker
from cpcd.lab.pve.vm import Vm

__all__ = [
    "node_back", "node_gone", "power_gone", "reboot", "reset", "resume", "shutdown", "start", "start_task", "stop",
    "suspend", "switched_on",
]  # fmt: skip

PREPARING = 0.2  # share of a start after which QEMU is executed (recorded 616-625)
GRACE = 60  # seconds that a shutdown waits by default (failures.md section 0)


@recorded(699, 725)
def power_gone(cluster: Cluster, vm: Vm) -> None:
    """Note that the VM's process has ended, whoever ended it; one in `status/reboot` is started again by root@pam."""
    if not vm.running:
        return
    vm.booted, vm.paused = None, False
    # Forgotten before the start that it leads to, or that VM would be started again whenever it is stopped.
    again, vm.rebooting = vm.rebooting, False
    cluster.tasks.power_gone(vm.vmid)
    # A reboot is a stop and a cold start, which is why it applies what is pending and a reset does not.
    if again:
        apply_pending(cluster, vm)
        start_task(cluster, vm.node, vm.vmid, ROOT)


def _power_off(cluster: Cluster, vm: Vm) -> None:
    cluster.backend.power_off(vm)
    power_gone(cluster, vm)
    apply_pending(cluster, vm)


def start_task(cluster: Cluster, node: str, vmid: int, user: str, *, skip: bool = False) -> str:
    """Start a VM in a task and return its UPID; `skip` is root's `skiplock`."""

    def worker(task: Task) -> Worker:
        return _start(cluster, task, vmid, skip=skip)

    return cluster.tasks.start("qmstart", node, str(vmid), user=user, worker=worker)


@recorded(311, 400, 451, 523, 528, 636, 651, 788)
@source("QemuServer.pm vm_start")
def _start(cluster: Cluster, task: Task, vmid: int, *, skip: bool) -> Worker:
    """Start a VM; one that a backup has running already is let go on instead."""
    yield Flock(config_path(vmid), seconds=cluster.durations.start)
    vm = cluster.vm(task.node, vmid)
    if vm.template:
        raise failed("you can't start a vm if it's a template")
    if vm.running and vm.lock == "backup":
        vm.paused = False
        return
    cluster.check_lock(vm, skip=skip)
    if vm.running:
        raise failed(f"VM {vmid} already running")
    apply_pending(cluster, vm)
    _cloud_init(cluster, task, vm)
    host = cluster.hosts[vm.node].node
    if vm.most_cpus > host.cpus:
        raise failed(f"MAX {host.cpus} vcpus allowed per VM on this node")
    _warn(task, vm)
    yield Sleep(cluster.durations.start * PREPARING)
    _check_host(cluster, task, vm)
    yield Sleep(cluster.durations.start * (1 - PREPARING))
    switched_on(cluster, vm, pid=task.pid)


def switched_on(cluster: Cluster, vm: Vm, *, pid: int) -> None:
    """Note that the VM's process runs."""
    # A copy: what is configured from now on is not what this process was started with.
    vm.booted = dict(vm.config)
    vm.since, vm.pid = cluster.events.now, pid
    cluster.backend.power_on(vm)


@recorded(651, 1060)
@source("Cloudinit.pm apply_cloudinit_config")
def _cloud_init(cluster: Cluster, task: Task, vm: Vm) -> None:
    """Make the cloud-init image; what `cicustom` names has to be there, if there is a drive for it."""
    snippets = parse(str(vm.config.get("cicustom", "")), "user").values()
    if missing := [each for each in snippets if cluster.volumes.find(vm.node, each) is None]:
        raise failed(f"volume '{missing[0]}' does not exist")
    if any(map(is_cloudinit, vm.drives.values())):
        task.log.append("generating cloud-init ISO")


@source("P09", "OVMF.pm")
def _warn(task: Task, vm: Vm) -> None:
    """A start that works can still have something to say; the task ends with `WARNINGS: 1`."""
    if vm.config.get("bios") == "ovmf" and "efidisk0" not in vm.config:
        task.warn("no efidisk configured! Using temporary efivars disk.")


@recorded(617, 618, 623, 624, 625)
@source("P27")
def _check_host(cluster: Cluster, task: Task, vm: Vm) -> None:
    """Refuse what only turns out when QEMU is about to run: bridges and memory that the host does not have."""
    host = cluster.hosts[vm.node].node
    for name in sorted(vm.config):
        bridge = parse_net(str(vm.config[name])).get("bridge") if name.startswith("net") else None
        if bridge and bridge not in host.bridges:
            raise failed(f"bridge '{bridge}' does not exist")
    used = sum(other.memory for other in cluster.vms.values() if other.running and other.node == vm.node)
    if used + vm.memory > host.memory:
        task.log.append("kvm: cannot set up guest memory 'pc.ram': Cannot allocate memory")
        raise failed("start failed: QEMU exited with code 1")


@recorded(399, 523, 1306)
@schema("/nodes/{node}/qemu/{vmid}/status/start")
def start(cluster: Cluster, call: Call) -> str:
    """Start a VM: a UPID even for one that does not exist; only a lost quorum is refused at once."""
    refuse_skiplock(call)
    cluster.check_quorum()
    return start_task(cluster, call.node, call.vmid, call.token.id, skip=_skips(call))


def _skips(call: Call) -> bool:
    return bool(call.params.get("skiplock"))


@recorded(505, 506, 608, 612, 1307)
@schema("/nodes/{node}/qemu/{vmid}/status/stop")
def stop(cluster: Cluster, call: Call) -> str:
    """Take the power away; a stopped VM is no error, and it works without quorum."""
    refuse_skiplock(call)

    def worker(task: Task) -> Worker:
        return _stop(cluster, task, call)

    cluster.record("stop", call.vmid, call.token.id)
    return cluster.tasks.start("qmstop", call.node, str(call.vmid), user=call.token.id, worker=worker)


@source("P25")
def _overrule(cluster: Cluster, task: Task, vmid: int) -> None:
    waiting = [t for t in cluster.tasks.tasks.values() if t.running and (t.kind, t.id) == ("qmshutdown", str(vmid))]
    for each in waiting:
        cluster.tasks.interrupt(each)
    if waiting:
        task.log.append(f"overruled qmshutdown tasks: {', '.join(each.upid for each in waiting)}")


@recorded(505, 506, 608)
def _stop(cluster: Cluster, task: Task, call: Call) -> Worker:
    if call.params.get("overrule-shutdown"):
        _overrule(cluster, task, call.vmid)
    yield Flock(config_path(call.vmid), seconds=cluster.durations.stop)
    vm = cluster.located(task.node, call.vmid)
    if not vm.running:
        return
    cluster.check_lock(vm, skip=_skips(call))
    yield Sleep(cluster.durations.stop)
    _power_off(cluster, vm)


@recorded(508, 580, 582, 589, 592, 604, 607, 702)
@schema("/nodes/{node}/qemu/{vmid}/status/shutdown")
@source("Qemu.pm vm_shutdown")
def shutdown(cluster: Cluster, call: Call) -> str:
    """Ask the guest to power off and wait for it, 60 s by default; `forceStop` then takes the power away.

    A paused guest cannot hear: that is refused at once, or with `forceStop` the power is taken away without asking.
    """
    refuse_skiplock(call)
    found = cluster.vms.get(call.vmid)
    paused = found is not None and found.node == call.node and found.paused
    if paused and not call.params.get("forceStop"):
        raise failed("VM is paused - cannot shutdown")

    def worker(task: Task) -> Worker:
        if paused:
            yield from _stop(cluster, task, call)
            return
        yield Flock(config_path(call.vmid))
        vm = cluster.located(task.node, call.vmid)
        if vm.running:
            cluster.check_lock(vm, skip=_skips(call))
            yield from _quit(cluster, task, vm, call)

    cluster.record("shutdown", call.vmid, call.token.id)
    return cluster.tasks.start("qmshutdown", call.node, str(call.vmid), user=call.token.id, worker=worker)


@source("QemuServer.pm _do_vm_stop")
def _patience(vm: Vm, call: Call) -> float:
    """Return the seconds that a guest has: those of the call, of the VM's `startup`, or a minute."""
    down = parse(str(vm.config.get("startup", "")), "order").get("down")
    return float(call.params.get("timeout", down or GRACE))


@recorded(582, 592, 607)
def _quit(cluster: Cluster, task: Task, vm: Vm, call: Call) -> Worker:
    if vm.agent and not cluster.backend.agent_up(vm):
        yield from _ping(cluster, task)
        why = f"VM {vm.vmid} qga command 'guest-ping' failed - got timeout"
        task.log.append(f"QEMU Guest Agent is not running - {why}")
    cluster.backend.shutdown(vm)
    gone = not vm.running or (yield PowerOff(vm.vmid, _patience(vm, call)))
    if not gone and not call.params.get("forceStop"):
        raise failed("VM quit/powerdown failed - got timeout")
    if not gone:
        task.log.append("VM still running - terminating now with SIGTERM")
        yield Sleep(cluster.durations.stop)
        _power_off(cluster, vm)
    if not vm.running:
        apply_pending(cluster, vm)


@recorded(716, 717, 718)
def _ping(cluster: Cluster, task: Task) -> Worker:
    """Wait for an agent that does not answer."""
    try:
        yield Sleep(cluster.durations.agent)
    except Interrupted:
        task.log.append("QEMU Guest Agent is not running - received interrupt")
        raise


@recorded(514, 585, 587, 697, 699)
@schema("/nodes/{node}/qemu/{vmid}/status/reboot")
def reboot(cluster: Cluster, call: Call) -> str:
    """Shut the guest down and start it cold, which applies pending values; a stopped VM is refused at once."""
    vm = cluster.located(call.node, call.vmid)
    if vm.paused:
        raise failed("VM is paused - cannot shutdown")
    _check_running(vm)

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid))
        vm = cluster.located(task.node, call.vmid)
        vm.rebooting = vm.running
        try:
            if vm.running:
                cluster.check_lock(vm)
                yield from _quit(cluster, task, vm, call)
        # Whatever ended the wait: a stop that comes later must not start the VM.
        except (Exception, Interrupted):
            vm.rebooting = False
            raise

    cluster.record("reboot", vm.vmid, call.token.id)
    return cluster.tasks.start("qmreboot", call.node, str(vm.vmid), user=call.token.id, worker=worker)


@recorded(514, 515)
def _check_running(vm: Vm) -> None:
    if not vm.running:
        raise failed(f"VM {vm.vmid} not running")


@recorded(515, 577, 578)
@schema("/nodes/{node}/qemu/{vmid}/status/reset")
def reset(cluster: Cluster, call: Call) -> str:
    """Press the reset button: pending values stay pending."""
    refuse_skiplock(call)
    vm = cluster.located(call.node, call.vmid)
    _check_running(vm)

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid), seconds=cluster.durations.reset)
        vm = cluster.vm(task.node, call.vmid)
        cluster.check_lock(vm, skip=_skips(call))
        yield Sleep(cluster.durations.reset)
        cluster.backend.reset(vm)

    cluster.record("reset", vm.vmid, call.token.id)
    return cluster.tasks.start("qmreset", call.node, str(vm.vmid), user=call.token.id, worker=worker)


@recorded(516, 570, 573)
@schema("/nodes/{node}/qemu/{vmid}/status/suspend")
def suspend(cluster: Cluster, call: Call) -> str:
    """Pause a running VM; the lab does not write one to disk."""
    if call.params.get("todisk"):
        raise unanswered("suspend to disk")
    return _pause(cluster, call, "qmpause", paused=True)


@recorded(517, 574)
@schema("/nodes/{node}/qemu/{vmid}/status/resume")
def resume(cluster: Cluster, call: Call) -> str:
    """Let a paused VM go on; one that goes on already is no error, whatever holds it."""
    return _pause(cluster, call, "qmresume", paused=False)


@source("RunState.pm vm_suspend", "RunState.pm vm_resume")
def _pause(cluster: Cluster, call: Call, kind: str, *, paused: bool) -> str:
    refuse_skiplock(call)
    _check_running(cluster.located(call.node, call.vmid))

    def worker(task: Task) -> Worker:
        yield Flock(config_path(call.vmid))
        vm = cluster.vm(task.node, call.vmid)
        if not paused and not vm.paused:
            return
        cluster.check_lock(vm, skip=_skips(call) or vm.lock == "backup")
        _check_running(vm)
        vm.paused = paused

    return cluster.tasks.start(kind, call.node, str(call.vmid), user=call.token.id, worker=worker)


@source("P21", "P22")
def node_gone(cluster: Cluster, host: Host) -> None:
    """Lose a node: its workers and guests are gone, config locks stay; the other nodes notice a little later."""
    # At once; the others believe it only when corosync has missed it for a while (`notice`).
    host.up = False
    cluster.tasks.node_died(host.node.name)
    for vm in [vm for vm in cluster.vms.values() if vm.node == host.node.name and vm.running]:
        vm.rebooting = False
        cluster.backend.power_off(vm)
        power_gone(cluster, vm)

    # As it is by then: a node that is back sooner was never missed.
    def notice() -> None:
        host.member = host.up

    cluster.at(cluster.durations.membership, notice)


@schema("/nodes/{node}/qemu/{vmid}/config onboot")
@guess("one qmstart by root@pam each, without the startall task around them")
def node_back(cluster: Cluster, host: Host) -> None:
    """Bring a node back; it starts its `onboot` VMs when it has booted."""
    host.up = host.member = True
    host.booted = cluster.events.now

    def start_all() -> None:
        for vm in [vm for vm in cluster.vms.values() if vm.node == host.node.name and vm.config.get("onboot")]:
            if host.up and not vm.running and not vm.template:
                start_task(cluster, vm.node, vm.vmid, ROOT)

    cluster.at(cluster.durations.boot, start_all)
