"""Facts: files and recorded outputs of a real machine come out in the catalogue's shape."""

import os
import re
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from cpcd.guest.facts import (
    addresses,
    api_port,
    certificates,
    cloud_init,
    end_of,
    facts,
    kubeadm,
    modules,
    packages,
    prepared,
    readyz,
    root,
    services,
)
from cpcd.guest.machine import Machine, Ran, run_command
from cpcd.ports.guests import SHORT_VERBS
from tests.unit.guest.recorded import machine, put, recorded

FRESH = {
    "kubelet --version": recorded(36),
    "kubeadm version": Ran(0, "v1.35.4\n"),
    "kubectl version": Ran(0, "Client Version: v1.35.4\nKustomize Version: v5.7.1\n"),
    "containerd --version": recorded(33),
    "ip -j addr": recorded(47),
    "cloud-init status": recorded(53),
    "apt-mark showhold": Ran(0, "kubeadm\nkubelet\n"),
    "systemctl show containerd": Ran(0, "ActiveState=active\nUnitFileState=enabled\n"),
    "systemctl show kubelet": Ran(0, "ActiveState=inactive\nUnitFileState=enabled\n"),
}


def test_facts_have_exactly_the_keys_of_the_port(tmp_path: Path) -> None:
    """The catalogue is a contract."""
    assert set(SHORT_VERBS["facts"][1]) == set(facts(machine(tmp_path, FRESH), {}, ""))


def test_identity_is_read_from_the_kernel_and_the_firmware(tmp_path: Path) -> None:
    """The DMI UUID comes with dashes and lower case, as the Node's systemUUID (recorded [6])."""
    put(tmp_path, "/sys/class/dmi/id/product_uuid", recorded(6).out.upper())
    put(tmp_path, "/etc/machine-id", "6b4ff37e6f3320eddaf9850a8fb8c52d\n")
    put(tmp_path, "/proc/sys/kernel/random/boot_id", "76c958c2-ddea-4d20-badb-9eb89e907149\n")

    seen = facts(machine(tmp_path, FRESH), {}, "")

    assert (seen["system_uuid"], seen["machine_id"], seen["boot_id"]) == (
        "7a75593f-bd36-3877-f89f-506286f4caaa",
        "6b4ff37e6f3320eddaf9850a8fb8c52d",
        "76c958c2-ddea-4d20-badb-9eb89e907149",
    )


def test_versions_come_from_the_programs(tmp_path: Path) -> None:
    """Baked images have no packages; Debian's suffix is cut (recorded [33])."""
    expected = {"kubelet": "1.35.4", "kubeadm": "1.35.4", "kubectl": "1.35.4", "containerd": "1.7.24"}

    assert expected == packages(machine(tmp_path, FRESH))


def test_absent_programs_have_an_empty_version(tmp_path: Path) -> None:
    """A machine before prepare."""
    assert packages(machine(tmp_path, {})) == dict.fromkeys(("kubelet", "kubeadm", "kubectl", "containerd"), "")


def test_an_enabled_but_waiting_kubelet_is_not_active(tmp_path: Path) -> None:
    """Before init the kubelet does not run (recorded [27])."""
    expected = {"kubelet": {"active": False, "enabled": True}, "containerd": {"active": True, "enabled": True}}

    assert expected == services(machine(tmp_path, FRESH))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (recorded(53), "disabled"),
        (recorded(1006), "done"),
        (Ran(0, '{"status": "not started"}'), "running"),
        (Ran(2, "status: running\n", ""), "running"),
        (Ran(1, '{"status": "error", "errors": ["scripts-user: 1 failures"]}'), "error"),
        (Ran(127), "absent"),
    ],
)
def test_cloud_init_is_judged_by_status_not_by_rc(tmp_path: Path, answer: Ran, status: str) -> None:
    """Rc is 2 for a mere deprecation (recorded [1006], `failures.md` G03); old versions know no JSON."""
    assert status == cloud_init(machine(tmp_path, {"cloud-init status": answer}))["status"]


def test_a_failed_cloud_init_says_why(tmp_path: Path) -> None:
    """The errors are the detail."""
    answer = Ran(1, '{"status": "error", "detail": "DataSourceNoCloud", "errors": ["scripts-user: 1 failures"]}')

    assert cloud_init(machine(tmp_path, {"cloud-init": answer}))["detail"] == "scripts-user: 1 failures"


@pytest.mark.parametrize(
    ("left", "status"),
    [
        ('{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}', "done"),
        ('{"v1": {"datasource": null, "errors": ["scripts-user: 1 failures"]}}', "asked"),
        ('{"v1": {"datasource"', "asked"),
        ("[]", "asked"),
    ],
)
def test_the_program_is_not_asked_where_cloud_init_left_that_all_went_well(
    tmp_path: Path, left: str, status: str
) -> None:
    """It writes its result at the very end, to a place that a boot empties."""
    put(tmp_path, "/run/cloud-init/result.json", left)

    assert status == cloud_init(machine(tmp_path, {"cloud-init": Ran(0, '{"status": "asked"}')}))["status"]


def test_modules_may_be_loaded_or_built_in(tmp_path: Path) -> None:
    """Recorded [18] lists one; the other only has a directory in sysfs."""
    put(tmp_path, "/proc/modules", "\n".join(line for line in recorded(18).out.splitlines() if "overlay" not in line))
    put(tmp_path, "/sys/module/overlay/parameters/metacopy")

    assert modules(machine(tmp_path, {})) == ["overlay", "br_netfilter"]


@pytest.mark.parametrize(
    ("swaps", "on"),
    [
        ("Filename\tType\tSize\tUsed\tPriority\n", False),
        ("Filename\tType\tSize\tUsed\tPriority\n/swapfile file 1 0 -2\n", True),
    ],
)
def test_swap_is_what_the_kernel_uses(tmp_path: Path, swaps: str, on: bool) -> None:
    """Not what fstab says."""
    put(tmp_path, "/proc/swaps", swaps)

    assert on is facts(machine(tmp_path, FRESH), {}, "")["swap"]


def test_addresses_leave_loopback_out(tmp_path: Path) -> None:
    """Recorded [47]: one global address on eth0."""
    assert addresses(machine(tmp_path, FRESH)) == ["10.77.0.11"]


def test_files_of_kubeadm_are_named(tmp_path: Path) -> None:
    """A worker that was killed in its join: bootstrap-kubelet.conf and ca.crt (recorded [388-397])."""
    put(tmp_path, "/etc/kubernetes/bootstrap-kubelet.conf")
    put(tmp_path, "/etc/kubernetes/pki/ca.crt")
    put(tmp_path, "/etc/kubernetes/manifests/kube-vip.yaml")

    assert kubeadm(machine(tmp_path, {})) == {
        "admin_conf": False,
        "kubelet_conf": False,
        "bootstrap_conf": True,
        "pki": True,
        "ca_hash": "",
        "etcd_data": False,
        "manifests": ["kube-vip"],
    }


def test_a_ca_is_known_by_its_hash(tmp_path: Path) -> None:
    """Hashed as kubeadm does; half of a file is no CA, and no reason to know nothing of the machine."""
    put(tmp_path, "/etc/kubernetes/pki/ca.crt")
    crt = tmp_path / "etc/kubernetes/pki/ca.crt"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*make, "-keyout", "/dev/null", "-out", crt], check=True, capture_output=True)
    real = Machine(root=tmp_path, run=run_command)

    whole = kubeadm(real)["ca_hash"]
    crt.write_bytes(crt.read_bytes()[:100])

    assert re.fullmatch("sha256:[0-9a-f]{64}", whole)
    assert kubeadm(real)["ca_hash"] == ""


def test_the_api_is_asked_at_the_port_of_its_manifest() -> None:
    """An endpoint may have another port than 6443, and kubeadm binds to it."""
    assert (6443, 8443) == (api_port("    - --a=1\n"), api_port("    - --secure-port=8443\n    - --a=1\n"))


def test_only_a_control_plane_is_asked_whether_its_api_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker has no such server, and even to load what asks one takes a small machine seconds."""
    asked: list[tuple[str, int]] = []
    told = SimpleNamespace(request=lambda *_: None, getresponse=lambda: SimpleNamespace(status=200), close=lambda: None)
    monkeypatch.setattr("http.client.HTTPSConnection", lambda host, port, **_: asked.append((host, port)) or told)

    worker = readyz(machine(tmp_path, {}))
    put(tmp_path, "/etc/kubernetes/manifests/kube-apiserver.yaml", "    - --secure-port=8443\n")

    assert (0, []) == (worker, asked)
    assert 200 == readyz(machine(tmp_path, {}))
    assert [("127.0.0.1", 8443)] == asked


def test_certificates_are_dated_by_kubeadms_names(tmp_path: Path) -> None:
    """Files below pki and the certificates inside kubeconfigs; what is no whole certificate has no end."""
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    put(tmp_path, "/etc/kubernetes/pki/etcd/server.crt")
    crt = tmp_path / "etc/kubernetes/pki/etcd/server.crt"
    subprocess.run([*make, "-keyout", "/dev/null", "-out", crt, "-days", "2"], check=True, capture_output=True)
    put(tmp_path, "/etc/kubernetes/admin.conf", f"client-certificate-data: {_base64(crt)}\n")
    put(tmp_path, "/etc/kubernetes/pki/ca.crt", crt.read_text()[:100])
    put(tmp_path, "/etc/kubernetes/pki/front-proxy-ca.crt", "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----")
    real = Machine(root=tmp_path, run=run_command)

    ends = certificates(real)

    assert set(ends) == {"etcd-server", "admin.conf"}
    assert ends["etcd-server"] - crt.stat().st_mtime == pytest.approx(2 * 86400, abs=60)


@pytest.mark.parametrize("days", [1, 365, 3650, 36500, 365000])
def test_an_end_is_read_as_openssl_reads_it(tmp_path: Path, days: int) -> None:
    """In this century and in later ones, which certificates write in another form."""
    crt = tmp_path / "x.crt"
    make = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-days", str(days)]
    subprocess.run([*make, "-keyout", "/dev/null", "-out", crt], check=True, capture_output=True)
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", crt], check=True, capture_output=True, text=True
    ).stdout

    assert ssl.cert_time_to_seconds(told.strip().removeprefix("notAfter=")) == end_of(crt.read_text())


def _base64(path: Path) -> str:
    done = subprocess.run(["base64", "-w0", path], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize(("text", "profile"), [('{"profile": "p1"}', "p1"), ("", ""), ("{", ""), ("[]", "")])
def test_the_mark_of_prepare_is_its_profile(tmp_path: Path, text: str, profile: str) -> None:
    """A half-written mark is none."""
    put(tmp_path, "/var/lib/cpcd/prepared.json", text)

    assert profile == prepared(machine(tmp_path, {}))


def devices(root_: Path, below: str, **mapped: str) -> None:
    """Lay out /sys: a disk `vda` of 40 GiB and `vdb` of 8, with partitions, mappings over them, and `/` on `below`."""
    block = root_ / "sys/devices/block"
    for disk, sectors in (("vda", 83886080), ("vdb", 16777216)):
        put(root_, f"/sys/devices/block/{disk}/size", f"{sectors}\n")
        (block / disk / "slaves").mkdir()
        put(root_, f"/sys/devices/block/{disk}/{disk}3/size", "1000\n")
        put(root_, f"/sys/devices/block/{disk}/{disk}3/partition", "3\n")
    for name, over in mapped.items():
        put(root_, f"/sys/devices/block/{name}/size", "2000\n")
        (block / name / "slaves").mkdir()
        for one in over.split():
            (block / name / "slaves" / one).symlink_to(next(block.rglob(one)))
    number = root_.stat().st_dev
    known = root_ / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    known.parent.mkdir(parents=True)
    known.symlink_to(next(block.rglob(below)))


@pytest.mark.parametrize(
    ("below", "mapped", "disk"),
    [
        ("vda", {}, 40 * 2**30),
        ("vda3", {}, 40 * 2**30),
        ("dm0", {"dm0": "vdb3"}, 8 * 2**30),
        ("dm1", {"dm0": "vda3", "dm1": "dm0"}, 40 * 2**30),
        ("dm0", {"dm0": "vda3 vdb"}, None),
    ],
    ids=["whole disk", "partition", "LVM", "LVM on LUKS", "LVM on two disks"],
)
def test_the_disk_below_the_root_is_found_through_partitions_and_device_mapper(
    tmp_path: Path, below: str, mapped: dict[str, str], disk: int | None
) -> None:
    """G14: the whole disk that Proxmox grows; where there are several, nobody says which."""
    devices(tmp_path, below, **mapped)

    assert disk == root(machine(tmp_path, FRESH))["disk"]


def test_a_root_without_a_block_device_has_a_size_and_no_disk(tmp_path: Path) -> None:
    """An overlay, btrfs or ZFS: the device number is no disk's."""
    seen = os.statvfs(tmp_path)

    assert {"size": seen.f_blocks * seen.f_frsize, "disk": None} == root(machine(tmp_path, FRESH))
