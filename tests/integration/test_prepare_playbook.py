"""The baseline playbook, played for real on this machine inside a mount namespace where /etc and /var/lib are copies.

Programs that would reach beyond files (systemctl, swapoff, modprobe, apt …) are stand-ins first on PATH that write
down what they were asked.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLAYBOOK = Path(__file__).parents[2] / "cpcd" / "playbooks" / "prepare.yml"
NAMESPACE = ["unshare", "--mount", "--user", "--map-root-user"] if os.getuid() else ["unshare", "--mount"]
MOUNTS = """
set -e
mount -t tmpfs tmpfs "$WORLD/layers"
for d in etc var/lib; do
  mkdir -p "$WORLD/layers/$d/up" "$WORLD/layers/$d/work"
  mount -t overlay overlay -o "lowerdir=/$d,upperdir=$WORLD/layers/$d/up,workdir=$WORLD/layers/$d/work" "/$d"
done
printf 'UUID=1 / ext4 defaults 0 1\\n/swapfile none swap sw 0 0\\n#/old none swap sw 0 0\\n' > /etc/fstab
mkdir -p /etc/containerd && printf 'disabled_plugins = ["cri"]\\n' > /etc/containerd/config.toml
rm -rf /var/lib/cpcd
mkdir -p /var/lib/dpkg/updates && touch /var/lib/dpkg/updates/0000
mount -t tmpfs tmpfs /sys/module
mkdir /sys/module/overlay
mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd
"""
# What each of the others has that Debian has not.
OTHERS = {
    "rocky": """
mkdir -p /etc/dnf && printf '[main]\\ngpgcheck=1\\nexcludepkgs=vim,nano\\n' > /etc/dnf/dnf.conf
rm /etc/os-release && printf 'NAME="Rocky Linux"\\nID="rocky"\\nVERSION_ID="9.6"\\n' > /etc/os-release
""",
    "leap": """
rm /etc/os-release && printf 'NAME="openSUSE Leap"\\nID="opensuse-leap"\\nVERSION_ID="16.0"\\n' > /etc/os-release
""",
}
ENFORCING = """
mkdir -p /etc/selinux && printf '# SELINUX= can be enforcing\\nSELINUX=Enforcing \\nSELINUXTYPE=targeted\\n' > /etc/selinux/config
"""
COLLECT = """
mkdir "$WORLD/left"
for f in /etc/fstab /etc/modules-load.d/k8s.conf /etc/sysctl.d/99-kubernetes-cri.conf /etc/containerd/config.toml \
   /etc/apt/apt.conf.d/52cpcd-no-reboot /etc/selinux/config /etc/dnf/dnf.conf /var/lib/cpcd/prepared.json
do [ ! -e "$f" ] || cp "$f" "$WORLD/left"; done
ls /etc/apt/sources.list.d > "$WORLD/left/sources"
"""
# Each stand-in logs its call; state that a second run must see is a file beside it.
STANDINS = {
    "systemctl": 'case "$1" in show) echo LoadState=loaded; echo ActiveState=active; echo UnitFileState=enabled;; '
    "is-enabled) echo enabled;; restart) touch /run/containerd/containerd.sock;; "
    '*-unit-files*) [ -e "$0.firewall" ] || echo firewalld.service enabled enabled;; disable) touch "$0.firewall";; esac',
    "swapoff": "",
    "modprobe": 'mkdir "/sys/module/$2"',
    "sysctl": 'case "$1" in --values) [ -e "$0.set" ] && printf "1\\n1\\n1\\n" || printf "0\\n0\\n0\\n";; '
    '--load*) touch "$0.set";; esac',
    "apt-mark": 'touch "$0.held"',
    "dpkg-query": 'case "$*" in *Want*) [ -e "$(dirname "$0")/apt-mark.held" ] && w=hold || w=install; '
    'for p in kubelet kubeadm kubectl; do echo "$w installed $p"; done;; '
    '*) for p in ca-certificates curl gnupg openssl htop; do echo "installed $p"; done;; esac',
    "kubelet": "echo Kubernetes v1.35.4",
    "kubeadm": 'case "$1" in config) printf "registry.k8s.io/etcd:3.6.6-0\\nregistry.k8s.io/pause:3.10.1\\n";; '
    "*) echo v1.35.4;; esac",
    "kubectl": 'echo \'Client Version: version.Info{GitVersion:"v1.35.4", GitCommit:"c"}\'',  # as old ones put it
    "containerd": "echo containerd github.com/containerd/containerd $CONTAINERD",
    "timedatectl": 'case "$1" in show) cat "$0.zone" 2>/dev/null || echo Etc/UTC;; *) echo "$2" > "$0.zone";; esac',
    "apt-get": "exit 1",
    "rpm": "",  # it finds whatever it is asked for
    "zypper": "mkdir -p /etc/zypp; printf 'solvable_name: %s\\n' kubelet kubeadm kubectl > /etc/zypp/locks",
    "dnf": "exit 1",
    "getenforce": '[ -e "$0.permissive" ] && echo Permissive || echo Enforcing',
    "setenforce": 'touch "$(dirname "$0")/getenforce.permissive"',
    # Somebody's dpkg is at work when it is first asked, and was killed when it is asked again.
    "dpkg": 'case "$1" in --configure) [ -e "$0.asked" ] || { touch "$0.asked"; '
    'echo "dpkg: error: dpkg frontend lock was locked by /usr/bin/apt process with pid 7" >&2; exit 2; }; '
    "rm -f /var/lib/dpkg/updates/*;; esac",
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Return a directory with stand-ins; the test is skipped where a mount namespace is not permitted."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    (tmp_path / "bin").mkdir()
    (tmp_path / "layers").mkdir()
    for name, body in STANDINS.items():
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "$WORLD/calls"\n{body}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "calls").touch()
    return tmp_path


def play(
    world: Path, *, runs: int, containerd: str = "1.7.24~ds1", begin: str = "", before: str = "", after: str = "",
    **given: object,
) -> list[str]:  # fmt: skip
    """Play prepare.yml some times in one namespace and return each run's recap; what it left is in `left`.

    It begins at the task `begin`, if one is named: each costs half a second of a processor. `before` runs once, `after`
    after each.
    """
    variables = {"version": "1.35.4", "packages": [], "timezone": "", "profile": "p1", **given}
    bin_dir = Path(sys.executable).parent
    command = f"{bin_dir}/ansible-playbook -i localhost, -c local -e @$WORLD/given.json {PLAYBOOK}"
    (world / "ansible.cfg").touch()
    env = {
        "PATH": f"{world}/bin:{bin_dir}:/usr/sbin:/usr/bin:/sbin:/bin",
        "WORLD": str(world),
        "HOME": str(world),
        "LANG": "C.UTF-8",
        "CONTAINERD": containerd,
        "ANSIBLE_CONFIG": str(world / "ansible.cfg"),
        "ANSIBLE_PIPELINING": "True",  # as cpcd's own runs have it
        "ANSIBLE_PYTHON_INTERPRETER": shutil.which("python3", path="/usr/bin") or sys.executable,
    }
    if begin:
        variables["there"] = {"distribution": {"manager": "apt"}}  # what the first task has seen
        command = f"mkdir -p /var/lib/cpcd; {command} --start-at-task '{begin}'"
    (world / "given.json").write_text(json.dumps(variables))
    script = MOUNTS + before + f"{command}\n{after}\n" * runs + COLLECT
    done = subprocess.run([*NAMESPACE, "sh", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "unreachable=" in line]


def test_a_baked_image_is_prepared_without_apt_and_a_second_run_changes_nothing(world: Path) -> None:
    """Files hold the baseline, nothing is installed, and the second recap says changed=0.

    What a dpkg left that was killed is finished, once nobody holds its lock: its journal is enough for apt to refuse.
    """
    recaps = play(world, runs=2, timezone="Europe/Berlin", packages=["htop"])

    left = world / "left"
    assert "changed=0 " not in recaps[0]
    assert "changed=0 " in recaps[1]
    assert (left / "fstab").read_text() == (
        "UUID=1 / ext4 defaults 0 1\n# /swapfile none swap sw 0 0\n#/old none swap sw 0 0\n"
    )
    assert (left / "k8s.conf").read_text() == "overlay\nbr_netfilter\n"
    assert "net.ipv4.ip_forward = 1\n" in (left / "99-kubernetes-cri.conf").read_text()
    assert 'Automatic-Reboot "false"' in (left / "52cpcd-no-reboot").read_text()
    assert json.loads((left / "prepared.json").read_text()) == {"profile": "p1"}
    assert "kubernetes.list" not in (left / "sources").read_text()
    config = (left / "config.toml").read_text()
    assert "version = 2" in config
    assert 'sandbox_image = "registry.k8s.io/pause:3.10.1"' in config
    cni = tomllib.loads(config)["plugins"]["io.containerd.grpc.v1.cri"]["cni"]
    assert cni == {"bin_dir": "/opt/cni/bin", "conf_dir": "/etc/cni/net.d"}, "not where Debian's containerd looks"
    calls = (world / "calls").read_text()
    assert calls.count("modprobe --all br_netfilter\n") == 1
    assert "apt-get" not in calls
    assert calls.count("dpkg --configure -a") == 2
    assert calls.count("apt-mark hold kubelet kubeadm kubectl") == 1
    assert calls.count("timedatectl set-timezone Europe/Berlin") == 1
    assert calls.count("systemctl restart containerd") == 1


@pytest.mark.parametrize("system", OTHERS)
def test_baked_image_of_another_distribution_is_prepared_without_its_package_manager(world: Path, system: str) -> None:
    """SELinux permits, now and at the next boot, its firewall is stopped, and the second run changes nothing."""
    recaps = play(world, runs=2, before=OTHERS[system] + ENFORCING)

    assert "changed=0 " not in recaps[0]
    assert "changed=0 " in recaps[1]
    text = (world / "left" / "config").read_text()
    assert text == "# SELINUX= can be enforcing\nSELINUX=permissive\nSELINUXTYPE=targeted\n"
    held = (world / "left" / "dnf.conf").read_text() if system == "rocky" else ""
    assert held == "[main]\ngpgcheck=1\nexcludepkgs=kubelet kubeadm kubectl vim nano\n" * (system == "rocky")
    calls = (world / "calls").read_text().splitlines()
    assert calls.count("setenforce 0") == 1
    assert {"systemctl stop firewalld", "systemctl disable firewalld"} <= set(calls)
    assert ["zypper addlock kubelet kubeadm kubectl"] * (system == "leap") == [
        call for call in calls if call.startswith(("zypper", "dnf", "apt", "dpkg"))
    ]


def test_containerd_2_gets_the_configuration_of_its_own_major(world: Path) -> None:
    """The file is version 3, the cgroup driver is systemd, the pause image is kubeadm's, and the CRI is not disabled.

    Docker's package of containerd disables it (`failures.md` K09).
    """
    play(world, runs=1, containerd="v2.1.4", begin="See what is installed")

    text = (world / "left" / "config.toml").read_text()
    assert "version = 3" in text
    assert 'sandbox = "registry.k8s.io/pause:3.10.1"' in text
    assert "SystemdCgroup = true" in text
    cni = tomllib.loads(text)["plugins"]["io.containerd.cri.v1.runtime"]["cni"]
    assert cni == {"bin_dirs": ["/opt/cni/bin"], "conf_dir": "/etc/cni/net.d"}
    assert "disabled_plugins" not in text
    assert "systemctl restart containerd" in (world / "calls").read_text()


def test_containerd_that_never_read_its_configuration_is_restarted(world: Path) -> None:
    """A run that is cut between the file and the restart leaves the file right and containerd as it was."""
    play(world, runs=2, begin="See what is installed", after="touch --date=@0 /run/containerd/containerd.sock")

    assert 2 == (world / "calls").read_text().count("systemctl restart containerd")
