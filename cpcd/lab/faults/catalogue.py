"""Every fault that the lab can have, by row of `failures.md`: the texts are those that people met, the numbers its own.

Values only. A fault without `times` lasts until it is cleared. Which story each one meets, and what has to come of it,
stands in `tests/sim/fault_scenarios.py`; `docs/reference/failures.md` is made from both.
"""

from typing import Final

from cpcd.lab.faults.mechanisms import (
    CLIENT,
    Alter,
    Answer,
    ClockStep,
    Delay,
    DiskFull,
    DropAfter,
    DropBefore,
    Edit,
    Exit,
    Fails,
    Fault,
    Hand,
    Hang,
    HoldLock,
    KillWorker,
    Lie,
    Mechanism,
    Partial,
    Reboot,
    Refuse,
    Slow,
    Stale,
)
from cpcd.model.errors import Code

__all__ = ["FAULTS", "named"]

CLONE: Final = "POST /nodes/.*/clone$"
CONFIG: Final = "PUT /nodes/.*/config$"
START: Final = "POST /nodes/.*/status/start$"
STOP: Final = "POST /nodes/.*/status/stop$"
RESIZE: Final = "PUT /nodes/.*/resize$"
DESTROY: Final = r"DELETE /nodes/[^/]+/qemu/\d+$"
AGENT: Final = "GET /nodes/.*/agent/"
SAVE: Final = "save cluster.yaml"
BULK: Final = "GET /cluster/resources"
GENERAL_1: Final = {"name": "demo-general-1"}
GENERAL_2: Final = {"name": "demo-general-2"}
GIB: Final = 2**30
HTML: Final = "<html><body><h1>Bad Gateway</h1></body></html>"
HALF_KUBEADM: Final = "[preflight] Some fatal errors occurred:\n"


def _pve(row: str, name: str, call: str, does: Mechanism, *, skip: int = 0, times: int | None = 1) -> Fault:
    return Fault(row=row, name=name, port="proxmox", call=call, does=does, skip=skip, times=times)


def _ssh(row: str, name: str, call: str, does: Mechanism, *, skip: int = 0, times: int | None = 1) -> Fault:
    return Fault(row=row, name=name, port="guests", call=call, does=does, skip=skip, times=times)


def _api(row: str, name: str, call: str, does: Mechanism, *, times: int | None = 1) -> Fault:
    return Fault(row=row, name=name, port="kube", call=call, does=does, times=times)


def _file(row: str, name: str, call: str, does: Mechanism, *, times: int | None = 1) -> Fault:
    return Fault(row=row, name=name, port="files", call=call, does=does, times=times)


_TRANSPORT: Final = (
    _pve("T01", "slow-reads", "GET ", Delay(20), times=12),
    _pve("T01", "clone-times-out", CLONE, DropAfter(CLIENT)),
    _pve("T02", "start-596-and-done", START, Answer(596, "Connection timed out", effect=True, seconds=30)),
    _pve("T02", "config-596-and-not-done", CONFIG, Answer(596, "Connection timed out", seconds=30)),
    _pve("T03", "start-599-and-done", START, Answer(599, "Too many redirections", effect=True)),
    _pve("T03", "clone-599-and-not-done", CLONE, Answer(599, "Too many redirections")),
    _pve("T05", "no-bridge-right", CLONE, Answer(403, "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)"), times=None),
    _pve("T05", "one-of-ours-is-not-listed", BULK, Partial("general-1"), times=None),
    _pve("T06", "token-expired", "^", Answer(401, "token 'cpcd@pve!lab' access expired", seconds=3), times=None),
    _pve("T07", "no-words-for-a-config", r"GET /nodes/.*/qemu/\d+/(config|status/current)$", Answer(500, "Internal Server Error"), times=None),
    _pve("T08", "clone-without-response", CLONE, DropAfter()),
    _pve("T08", "reads-reset", "GET ", DropBefore(), skip=40, times=2),
    _pve("T09", "node-unreachable", "/nodes/pve1/", Answer(595, "Connection refused", seconds=3), times=None),
    _pve("T09", "nobody-listens", "^", DropBefore(), times=None),
    _pve("T10", "html-with-200", "^GET ", Answer(200, "OK", html=HTML), times=None),
    _pve("T10", "redirect-with-html", CONFIG, Answer(302, "Found", html=HTML)),
    _pve("T11", "node-without-workers", "/nodes/pve1/", Answer(596, "Connection timed out", seconds=30), times=None),
    _pve("T13", "root-only", CONFIG, Answer(403, "only root can set 'args' config"), times=None),
    _pve("T14", "bad-parameter", CONFIG, Answer(400, "Parameter verification failed.", errors={"memory": "value must be at least 16"}), times=None),
    _pve("T15", "task-not-listed-yet", "GET /nodes/.*/tasks$", Partial("qmclone|qmstart|resize"), times=None),
    _pve("T16", "certificate-expired", "^", Refuse(Code.AUTH, "certificate has expired (https://127.0.0.1:8006)"), times=None),
)  # fmt: skip

_PROXMOX: Final = (
    _pve("P01", "config-lock-held", START, HoldLock("/var/lock/qemu-server/lock-{vmid}.conf", 25), times=2),
    _pve("P01", "config-lock-held-for-put", CONFIG, HoldLock("/var/lock/qemu-server/lock-{vmid}.conf", 25)),
    _pve("P02", "vmid-taken-meanwhile", CLONE, Answer(500, "unable to create VM 108 - VM 108 already exists on node 'pve2'")),
    _pve("P02", "vmid-lost-in-the-task", CLONE, Exit("unable to create VM 108: config file already exists")),
    _pve("P02", "vmid-of-the-unseen", BULK, Partial('"vmid": 10000,'), times=None),
    _pve("P03", "agent-not-running", AGENT, Answer(500, "QEMU guest agent is not running"), times=None),
    _pve("P04", "resize-too-slow", RESIZE, Slow("resize", 12)),
    _pve("P05", "deleted-before-destroy", DESTROY, Hand("delete_vm")),
    _pve("P06", "vmid-given-away", BULK, Hand("give_away", GENERAL_1, "take_away", GENERAL_1)),
    _pve("P06", "vmid-given-away-in-a-retirement", STOP, Hand("give_away", GENERAL_2, "take_away", GENERAL_2, after=0.5)),
    _pve("P07", "started-before-destroy", DESTROY, Exit("VM 100 is running - destroy failed"), times=2),
    _pve("P08", "storage-lock-held", CLONE, HoldLock("/var/lock/pve-manager/pve-storage-shared", 30)),
    _pve("P09", "clone-with-warnings", CLONE, Exit("WARNINGS: 1", effect=True), times=None),
    _pve("P10", "start-later-than-its-task", START, Lie(20)),
    _pve("P10", "stop-that-does-nothing", STOP, Lie(None)),
    _pve("P11", "locked-by-a-backup", CONFIG, Hand("set_lock", {"lock": "backup"}, "set_lock", {"lock": ""})),
    _pve("P12", "template-on-local-storage", CLONE, Answer(500, "can't clone VM to node 'pve2' (VM uses local storage)"), times=3),
    _pve("P14", "disk-not-visible-yet", RESIZE, Exit("volume 'shared:100/vm-100-disk-0.qcow2' does not exist"), times=2),
    _pve("P15", "no-quorum", CLONE, Hand("set_quorum", {"quorate": False}, "set_quorum", {"quorate": True}), skip=1),
    _pve("P16", "cluster-lock-not-had", CLONE, Exit("cfs-lock 'storage-shared' error: got lock request timeout"), times=2),
    _pve("P17", "start-fails-and-runs", START, Exit("start failed: got timeout", effect=True)),
    _pve("P19", "clone-of-forty-minutes", CLONE, Slow("linked", 2400)),
    _pve("P20", "every-write-loses-its-reply", "^(POST|PUT|DELETE) ", DropAfter(), times=None),
    _pve("P21", "start-worker-killed", START, KillWorker(0.5)),
    _pve("P21", "node-dies-in-a-start", "POST /nodes/pve2/.*/status/start$", Hand("node_down", {}, "node_up", {})),
    _pve("P22", "clone-worker-killed-before-the-mark", CLONE, KillWorker(0.15)),
    _pve("P22", "clone-worker-killed-after-the-mark", CLONE, KillWorker(0.45)),
    _pve("P24", "agent-busy", AGENT, Answer(500, "VM 100 qmp command 'guest-ping' failed - got timeout", seconds=3), times=None),
    _pve("P25", "guest-ignores-the-power-button", "POST /nodes/.*/status/shutdown$", Slow("shutdown", 100_000, machine=True)),
    _pve("P26", "no-worker", "^POST ", Answer(500, "got no worker upid - start worker failed"), times=3),
    _pve("P27", "qemu-exits", START, Exit("start failed: QEMU exited with code 1"), times=3),
    _pve("P28", "volume-in-use-elsewhere", CLONE, Exit("WARNINGS: 2", effect=True), times=None),
    _pve("P29", "storage-full", CLONE, DiskFull("shared")),
    _pve("P30", "edited-between-read-and-write", CONFIG, Edit({"boot": "order=scsi0;net0"}), times=2),
    _pve("P31", "shutdown-that-does-nothing", "POST /nodes/.*/status/shutdown$", Lie(None)),
    _pve("P32", "storage-offline", CLONE, Answer(500, "storage 'shared' is not online"), times=3),
    _pve("P33", "agent-option-gone", START, Edit({"agent": None})),
    _pve("P34", "namesake-appears", CLONE, Hand("namesake", GENERAL_1, "take_away", GENERAL_1)),
    _pve("P35", "cloud-init-drive-gone", CONFIG, Edit({"ide2": None})),
    _pve("P36", "no-zvol-link", CLONE, Exit("timeout: no zvol device link for 'vm-100-disk-0' found after 300 sec."), times=2),
    _pve("P38", "protected", STOP, Edit({"protection": 1})),
    _pve("P41", "starts-take-minutes", START, Slow("start", 300)),
    _pve("D06", "destroy-fails", DESTROY, Exit("unable to destroy VM: storage 'shared' is not online"), times=3),
    _pve("D13", "silence-of-a-quarter-of-an-hour", "^", DropBefore(CLIENT), times=None),
    _pve("D13", "resources-from-yesterday", "GET /cluster/resources", Stale(), times=None),
    _pve("D03", "state-disk-full", CLONE, Hand("fill_disk", undo="empty_disk")),
    _pve("D12", "clock-steps-ahead", START, Hand("step_clock", {"seconds": 7200}, "step_clock", {"seconds": 0})),
    _pve("D12", "clock-steps-back", START, Hand("step_clock", {"seconds": -7200}, "step_clock", {"seconds": 0})),
)  # fmt: skip

_MACHINES: Final = (
    _ssh("G01", "one-machine-id", " facts$", Alter({"machine_id": "0123456789abcdef0123456789abcdef"}), times=None),
    _ssh("G02", "apt-is-locked", "submit prepare", Fails("packages", "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 412 (unattended-upgr)"), times=2),
    _ssh("G03", "cloud-init-degraded", " facts$", Alter({"cloud_init": {"status": "done", "detail": "degraded done: deprecated key chpasswd.list"}}), times=None),
    _ssh("G03", "cloud-init-hangs", " facts$", Alter({"cloud_init": {"status": "running", "detail": ""}}), times=None),
    _ssh("G04", "no-address", " facts$", Refuse(Code.NETWORK, "No route to host"), times=None),
    _ssh("G07", "users-come-late", " facts$", Refuse(Code.AUTH, "Permission denied (publickey)"), times=None),
    _ssh("G08", "system-is-booting", " facts$", Refuse(Code.AUTH, "System is booting up. Unprivileged users are not permitted to log in yet."), times=None),
    _ssh("G09", "hostname-comes-late", " facts$", Alter({"hostname": "VM100"}), times=None),
    _pve("G10", "cloud-init-data-edited", "POST /nodes/pve2/.*/status/shutdown$", Edit({"ciuser": "somebody"})),
    _pve("G11", "agent-installed-at-first-boot", START, Slow("agent", 500, machine=True)),
    _ssh("G12", "cloud-init-failed", " facts$", Alter({"cloud_init": {"status": "error", "detail": "module runcmd failed"}}), times=None),
    _ssh("G14", "growpart-skipped", " facts$", Alter({"root": {"size": 20 * GIB, "disk": 40 * GIB}}), times=None),
    _pve("G15", "address-taken", CLONE, Hand("squat", {"address": "127.77.0.11"}, "take_away", {"name": "squatter"})),
    _ssh("G16", "reboot-in-prepare", "submit prepare", Reboot(20)),
    _ssh("G16", "reboot-in-init", "submit init", Reboot(20)),
    _ssh("G16", "reboot-in-join", "general-1 submit join", Reboot(12)),
    _ssh("S01", "ssh-refused", "", DropBefore(), times=20),
    _ssh("S02", "host-key-changed", "cp-1 ", Refuse(Code.AUTH, "the host key of demo-cp-1 is not the pinned one"), times=None),
    _ssh("S03", "facts-never-return", " facts$", DropAfter(60), times=3),
    _ssh("S04", "cut-in-submit", "submit (prepare|init|join)", DropAfter(), times=None),
    _ssh("S04", "cut-in-poll", " poll$", DropAfter(), times=8),
    _ssh("S04", "cut-in-join-secrets", " join_secrets$", DropAfter(), times=2),
    _ssh("S07", "login-refused", "cp-1 ", Refuse(Code.AUTH, "the key is refused for ubuntu, root"), times=None),
    _ssh("S08", "sudo-wants-a-password", " facts$", Refuse(Code.AUTH, "the user may not become root: sudo: a password is required"), times=None),
    _ssh("S10", "handshakes-dropped", " poll$", DropBefore(), skip=10, times=3),
    _ssh("R01", "machine-gone-in-prepare", "submit prepare", DropBefore(), times=3),
    _ssh("R02", "prepare-of-forty-minutes", "submit prepare", Slow("prepare", 2400, machine=True)),
    _ssh("R16", "sudo-is-slow", "submit prepare", Fails("packages", "Timeout (12s) waiting for privilege escalation prompt"), times=1),
    _ssh("D10", "unit-killed", "submit (init|prepare)", KillWorker(10), times=2),
    _ssh("D14", "one-machine-hangs", "general-1 ", DropBefore(300), times=None),
    _ssh("D14", "hangs-in-prepare", "general-1 submit prepare", Hang(8)),
    _ssh("D14", "hangs-in-join", "general-1 submit join", Hang(8)),
    _ssh("D14", "hangs-for-good-in-join", "general-1 submit join", Hang(8, broken=True)),
    _ssh("D05", "join-fails-thrice", "general-1 submit join", Fails("kubelet-start", "error: timed out waiting for the condition"), times=3),
)  # fmt: skip

_KUBEADM: Final = (
    _ssh("K01", "token-not-signed-yet", "submit join", Fails("preflight", 'error execution phase preflight: could not find a JWS signature in the cluster-info ConfigMap for token ID "abcdef"'), times=2),
    _ssh("K02", "half-a-join", "submit join", Fails("kubelet-start", f"{HALF_KUBEADM}\t[ERROR Port-10250]: Port 10250 is in use"), times=1),
    _ssh("K02", "half-a-control-plane", "cp-2 submit join", Fails("control-plane-prepare", "[ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not empty")),
    _ssh("K03", "kubelet-not-healthy", "submit init", Fails("wait-control-plane", "error: The kubelet is not healthy after 4m0s: http://localhost:10248/healthz: connection refused")),
    _pve("K04", "member-of-a-lost-machine", BULK, Hand("lose", {"name": "demo-cp-2"})),
    _ssh("K05", "learner-not-in-sync", "cp-2 submit join", Fails("etcd-promote", "error: etcdserver: can only promote a learner member which is in sync with leader")),
    _ssh("K08", "certificate-key-expired", "cp-2 submit join", Fails("download-certs", 'error: secrets "kubeadm-certs" was not found')),
    _ssh("K09", "runtime-without-cri", "submit init", Fails("preflight", f"{HALF_KUBEADM}\t[ERROR CRI]: container runtime is not running"), times=2),
    _ssh("K10", "second-learner", "cp-2 submit join", Fails("etcd-join", "error: etcdserver: too many learner members in cluster")),
    _ssh("K11", "clock-behind", " facts$", ClockStep(-3600), times=None),
    _pve("K12", "node-of-that-name", BULK, Hand("name_a_node", GENERAL_2, "unname_the_node", GENERAL_2)),
    _pve("K13", "budget-refuses", BULK, Hand("guard_pods", {"least": 1}, "guard_pods", {"least": 0})),
    _ssh("K17", "repository-key-expired", "submit prepare", Fails("packages", "W: GPG error: https://pkgs.k8s.io InRelease: EXPKEYSIG 234654DA9A296436"), times=5),
    _ssh("K18", "reset-cut-short", "submit reset", KillWorker(1)),
    _ssh("K20", "no-images", "submit init", Fails("preflight", f'{HALF_KUBEADM}\t[ERROR ImagePull]: failed to pull image "registry.k8s.io/pause:3.10"'), times=2),
    _ssh("K21", "bootstrap-hangs", "general-1 submit join", Fails("kubelet-wait-bootstrap", "error: failed while waiting for TLS bootstrap: context deadline exceeded")),
    _api("K22", "cni-not-taken", "^(try|apply) DaemonSet", Refuse(Code.EXECUTION, "500 Internal Server Error: failed calling webhook"), times=None),
)  # fmt: skip

_KUBERNETES: Final = (
    _api("K14", "credentials-expired", "", Refuse(Code.AUTH, "401 Unauthorized"), times=None),
    _api("K15", "endpoint-without-route", "^(readyz|version|get|list)", DropBefore(3), times=None),
    _api("C01", "watch-is-silent", "^watch", Delay(600), times=None),
    _api("C02", "watch-expired", "^watch", Refuse(Code.EXECUTION, "410 Expired: too old resource version: 1 (900)"), times=6),
    _api("C03", "stream-cut-again-and-again", "^watch", DropAfter(20), times=None),
    _api("C06", "events-lost", "^watch Node", Partial(""), times=None),
    _api("C07", "watch-ends-at-once", "^watch", Delay(0), times=None),
    _api("C08", "watch-expired-always", "^watch", Refuse(Code.EXECUTION, "410 Expired: too old resource version: 1 (900)"), times=None),
    _api("C09", "too-many-requests", "^(apply|patch)", Refuse(Code.EXECUTION, "429 Too Many Requests: please try again later"), times=3),
    _api("C14", "changed-meanwhile", "^patch Node", Refuse(Code.EXECUTION, "409 Conflict: the object has been modified"), times=2),
    _api("C15", "etcd-has-no-leader", "^(get|list|try|apply|patch)", Refuse(Code.NETWORK, "500 Internal Server Error: etcdserver: leader changed"), times=None),
)  # fmt: skip

_FILES: Final = (
    _file("F01", "editor-renames-over", SAVE, Hand("rename_over")),
    _file("F02", "config-map-swapped", SAVE, Hand("swap_link")),
    _file("F03", "no-inotify-watches", "watch", DropBefore(), times=None),
    _file("F04", "directory-unmounted", SAVE, Hand("unmount", undo="mount")),
    _file("F04", "file-left-empty", SAVE, Hand("leave_empty")),
    _file("F05", "events-overflow", "event", Partial(""), times=None),
    _file("F06", "watcher-dies", "watch", DropAfter(), times=None),
    _file("F07", "no-events-at-all", "watch", Partial(""), times=None),
    _file("F08", "half-written", SAVE, Slow("save", 3)),
    _file("F10", "file-comes-late", SAVE, Delay(60)),
    _file("F13", "files-one-after-another", "save hello.yaml", Delay(10)),
)  # fmt: skip

FAULTS: Final = (*_TRANSPORT, *_PROXMOX, *_MACHINES, *_KUBEADM, *_KUBERNETES, *_FILES)

_BY_NAME: Final = {fault.name: fault for fault in FAULTS}


def named(name: str) -> Fault:
    """Return the fault of a name; KeyError for one that is not there."""
    return _BY_NAME[name]
