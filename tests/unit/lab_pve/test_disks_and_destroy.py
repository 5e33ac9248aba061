"""Growing disks, and the guards of destroy."""

import random

import pytest

from cpcd.lab.events import Events
from cpcd.lab.pve import Durations, Pve, Settings
from cpcd.ports.proxmox import Request

VM = "/nodes/pve1/qemu/100"


@pytest.fixture
def vm(lab) -> None:
    """A stopped clone with 2560 MiB of disk."""
    lab.clone(100)


def resize(lab, size: str, **params) -> str:
    """Resize scsi0 of VM 100 to the end and return the exit status."""
    return lab.outcome(lab.put(f"{VM}/resize", **({"disk": "scsi0", "size": size} | params)))


def test_sizes_absolute_relative_equal_and_smaller(lab, vm) -> None:
    """Recorded 404-417 (`failures.md` P04, P37)."""
    outcomes = [resize(lab, size) for size in ("+512M", "4G", "4G", "1G")]

    assert outcomes == ["OK", "OK", "OK", "shrinking disks is not supported"]
    assert lab.config(100)["scsi0"].endswith(",size=4G")
    assert lab.get(f"{VM}/status/current").data["maxdisk"] == 4 * 1024**3


def test_log_of_a_resize(lab, vm) -> None:
    """Recorded 407, 415: an equal size says nothing."""
    grown = lab.put(f"{VM}/resize", disk="scsi0", size="3G")
    lab.outcome(grown)
    same = lab.put(f"{VM}/resize", disk="scsi0", size="3G")
    lab.outcome(same)

    assert (lab.log(grown.data), lab.log(same.data)) == (["Image resized.", "TASK OK"], ["TASK OK"])


@pytest.mark.parametrize(
    ("params", "outcome"),
    [
        ({"disk": "scsi7"}, "disk 'scsi7' does not exist"),
        ({"disk": "ide2"}, "you can't resize a cdrom"),
        ({"digest": "0" * 40}, "checksum mismatch (file change by other user?)"),
    ],
)
def test_failing_resize_tasks(lab, vm, params, outcome) -> None:
    """Recorded 420, 425; the CD-ROM is Qemu.pm's."""
    assert outcome == resize(lab, "4G", **params)


def test_bad_disk_and_size_are_refused_at_once(lab, vm) -> None:
    """Recorded 422, 423."""
    disk = lab.put(f"{VM}/resize", disk="nodisk", size="+1G").body["errors"]["disk"]
    size = lab.put(f"{VM}/resize", disk="scsi0", size="+1X").body["errors"]

    assert disk.startswith("value 'nodisk' does not have a value in the enumeration 'ide0, ide1, ide2, ide3, scsi0, ")
    assert size == {"size": "value does not match the regex pattern"}


def test_template_disk_does_not_grow(lab) -> None:
    """Recorded 349-352."""
    outcome = lab.outcome(lab.put("/nodes/pve1/qemu/9000/resize", disk="scsi0", size="+1G"))

    assert outcome.startswith("command '/usr/bin/qemu-img resize '--preallocation=metadata' -f raw ")
    assert outcome.endswith("/base-9000-disk-0.raw 3758096384' failed: exit code 1")


def test_slow_resize_times_out_and_may_have_happened(lab) -> None:
    """`failures.md` P04: the text is the same whether the size was applied or not."""
    time = [0.0]
    sizes = set()
    for seed in range(8):
        settings = Settings(durations=Durations(resize=30))
        pve = Pve(Events(lambda: time[0]), lab.guests, settings, random.Random(seed))
        pve.add_template(9000, "pve1", "t", storage="local")
        token = f"{settings.tokens[0].id}={settings.tokens[0].secret}"
        pve.handle(Request("POST", "/api2/json/nodes/pve1/qemu/9000/clone", {"newid": 100, "full": 1}, token))
        time[0] += 100
        pve.handle(Request("PUT", "/api2/json/nodes/pve1/qemu/100/resize", {"disk": "scsi0", "size": "20G"}, token))
        time[0] += 100
        pve.handle(Request("GET", "/api2/json/version", {}, token))
        assert list(pve.cluster.tasks.tasks.values())[-1].exit.endswith("failed: got timeout")
        sizes.add(pve.cluster.volumes.find("pve1", "local:100/vm-100-disk-0.raw").size // 1024**3)

    assert {10, 20} == sizes


def test_destroy_frees_everything(lab, vm) -> None:
    """Recorded 345-348, 1114."""
    answer = lab.delete(VM, purge=1, destroy_unreferenced_disks=1)

    assert lab.outcome(answer) == "OK"
    assert lab.log(answer.data) == ["purging VM 100 from related configurations..", "TASK OK"]
    assert lab.get("/nodes/pve1/storage/local/content", vmid=100).data == []
    assert lab.delete(VM).reason == "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"
    assert lab.get("/cluster/nextid", vmid=100).data == "100"
    assert ("destroyed", 100) in lab.guests.seen


def test_unreferenced_volume_is_left_unless_asked_for(lab, vm) -> None:
    """Recorded 1099-1113."""
    lab.pve.cluster.volumes.allocate("local", "pve1", 100, size=1024)

    lab.outcome(lab.delete(VM))

    left = [entry["volid"] for entry in lab.get("/nodes/pve1/storage/local/content", vmid=100).data]
    assert left == ["local:100/vm-100-disk-1.raw"]


def test_running_vm_is_not_destroyed(lab) -> None:
    """Recorded 561 (`failures.md` P07)."""
    lab.started(100)

    answer = lab.delete(VM)

    assert (answer.status, answer.reason) == (500, "VM 100 is running - destroy failed")


def test_protected_vm_is_not_destroyed(lab, vm) -> None:
    """`failures.md` P38."""
    lab.put(f"{VM}/config", protection=1)

    answer = lab.delete(VM)

    assert (answer.status, answer.reason) == (500, "can't remove VM 100 - protection mode enabled")


def test_locked_vm_is_refused_by_the_task(lab, vm) -> None:
    """Recorded 457-459; skiplock is not for tokens (462)."""
    lab.pve.set_lock(100, "backup")

    skip = lab.delete(VM, skiplock=1)

    assert lab.outcome(lab.delete(VM)) == "VM is locked (backup)"
    assert skip.body["errors"] == {"skiplock": "Only root may use this option."}


def test_template_with_linked_clones_stays(lab, vm) -> None:
    """Recorded 356-359 (`failures.md` P39); without them it goes."""
    text = "base volume 'local:9000/base-9000-disk-0.raw' is still in use by linked cloned"

    assert text == lab.outcome(lab.delete("/nodes/pve1/qemu/9000", purge=1))
    lab.outcome(lab.delete(VM))
    assert lab.outcome(lab.delete("/nodes/pve1/qemu/9000")) == "OK"


def test_vm_that_started_meanwhile_is_not_destroyed(lab, vm) -> None:
    """Qemu.pm destroy_vm checks again under the lock."""
    start = lab.post(f"{VM}/status/start")
    lab.run(0.5)
    removal = lab.delete(VM)

    assert lab.outcome(start) == "OK"
    assert lab.outcome(removal) == "VM 100 is running - destroy failed"
