"""etcd: recorded member lists and refusals, by the machine's own tools and by those that came with etcd."""

import errno
import os
from pathlib import Path

import pytest

from cpcd.guest.etcd import etcd_members, etcd_move_leader, etcd_remove, etcd_snapshot
from cpcd.guest.machine import Machine, Ran, Refused
from tests.unit.guest.recorded import Programs, machine, put, recorded

LEADER, LEARNER = "2677674080080550774", "13746457066106863781"
TWO_MEMBERS = Ran(0, recorded(253).out.splitlines()[0])
HEALTHY = Ran(0, '[{"endpoint":"https://10.77.0.11:2379","health":true,"took":"9ms"}]')


def etcd(member: Ran, **more: Ran) -> dict[str, Ran]:
    """Return the answers of an etcd, by the last words of the command."""
    return {
        "etcdctl": Ran(0),
        "member list": member,
        "endpoint status": recorded(171),
        "endpoint health": HEALTHY,
        **more,
    }


def asked(root: Path, answers: dict[str, Ran]) -> Machine:
    """Return a machine whose etcdctl answers by sub-command."""

    def answer(argv: list[str]) -> Ran:
        line = " ".join(argv)
        return next(
            (ran for words, ran in reversed(answers.items()) if f" {words}" in line), Ran(1, err="Error: asked")
        )

    return machine(root, {"etcdctl": answer, "etcdutl": answer})


def test_members_have_decimal_ids_and_an_unstarted_learner_has_no_name(tmp_path: Path) -> None:
    """Recorded [253]: ids are over 2^53 and isLearner appears only when true."""
    assert etcd_members(asked(tmp_path, etcd(TWO_MEMBERS)), {}, "") == {
        "members": [
            {
                "id": LEADER,
                "name": "cp1",
                "peer_urls": ["https://10.77.0.11:2380"],
                "client_urls": ["https://10.77.0.11:2379"],
                "learner": False,
                "started": True,
                "healthy": True,
            },
            {
                "id": LEARNER,
                "name": "",
                "peer_urls": ["https://10.77.0.13:2380"],
                "client_urls": [],
                "learner": True,
                "started": False,
                "healthy": False,
            },
        ],
        "leader": LEADER,
    }


def test_an_ill_member_is_told_from_the_healthy_ones(tmp_path: Path) -> None:
    """`endpoint health` prints its JSON even with rc 1 (recorded [162])."""
    ill = Ran(1, '[{"endpoint":"https://10.77.0.11:2379","health":false,"error":"context deadline exceeded"}]')

    seen = etcd_members(asked(tmp_path, etcd(recorded(170), **{"endpoint health": ill})), {}, "")

    assert [member["healthy"] for member in seen["members"]] == [False]


def test_without_quorum_the_list_is_refused(tmp_path: Path) -> None:
    """Recorded [343]: a linearizable list ends at its time-out."""
    with pytest.raises(Refused) as refused:
        etcd_members(asked(tmp_path, etcd(recorded(343))), {}, "")

    assert refused.value.reason == "NoQuorum"


def test_a_member_that_is_not_listed_is_removed_already(tmp_path: Path) -> None:
    """Recorded [272]; repeating is safe."""
    gone = asked(tmp_path, {"member remove": recorded(272)})

    assert etcd_remove(gone, {"id": LEARNER}, "") == {"removed": True}


@pytest.mark.parametrize("id_", [LEARNER, "bec539dea97540a5"])
def test_ids_reach_etcdctl_as_hexadecimal(tmp_path: Path, id_: str) -> None:
    """JSON has them decimal, the argument of remove is hexadecimal."""
    programs = Programs({"etcdctl": Ran(0)})

    etcd_remove(Machine(root=tmp_path, run=programs), {"id": id_}, "")

    assert [call.rpartition(" ")[2] for call in programs.calls] == ["bec539dea97540a5"]


@pytest.mark.parametrize("id_", ["", "cp1", "https://10.0.0.1:2380"])
def test_what_is_no_id_never_reaches_etcdctl(tmp_path: Path, id_: str) -> None:
    """An empty id is a usage error of etcdctl with rc 128 (recorded [350])."""
    programs = Programs({"etcdctl": Ran(0)})

    with pytest.raises(Refused) as refused:
        etcd_remove(Machine(root=tmp_path, run=programs), {"id": id_}, "")

    assert (refused.value.reason, programs.calls) == ("InvalidInput", [])


def test_leadership_is_moved_by_asking_all_members(tmp_path: Path) -> None:
    """Only the leader can be asked (recorded [337])."""
    both = recorded(170).out.replace('"]}]}', '"]},{"ID":7,"name":"cp2","clientURLs":["https://10.77.0.13:2379"]}]}')
    answers = etcd(Ran(0, both), **{"move-leader": Ran(0)})
    moved = asked(tmp_path, answers)

    assert etcd_move_leader(moved, {"to": "7"}, "") == {"leader": "7"}
    assert isinstance(moved.run, Programs)
    assert "--endpoints=https://10.77.0.11:2379,https://10.77.0.13:2379" in moved.run.calls[-1]


def test_the_leader_is_not_moved_to_itself(tmp_path: Path) -> None:
    """Repeating is safe."""
    still = asked(tmp_path, etcd(recorded(170)))

    assert etcd_move_leader(still, {"to": LEADER}, "") == {"leader": LEADER}
    assert isinstance(still.run, Programs)
    assert not any("move-leader" in call for call in still.run.calls)


def process(root: Path, pid: int, *, name: str = "etcd", pod: str = "", program: str = "") -> None:
    """Have a process on a machine, which sees the machine's own data, or is in a pod that has a directory or a link so."""
    put(root, f"/proc/{pid}/comm", f"{name}\n")
    (root / "var/lib/etcd").mkdir(parents=True, exist_ok=True)
    within = root / f"proc/{pid}/root"
    if not pod:
        within.symlink_to(root)
    elif pod == "directory":
        (within / "var/lib/etcd").mkdir(parents=True)
    else:
        (within / pod).parent.mkdir(parents=True)
        (within / pod).symlink_to(root / pod)
    if program:
        (root / f"proc/{pid}/exe").symlink_to(program)


def test_without_etcdctl_that_of_the_running_etcd_is_asked(tmp_path: Path) -> None:
    """Kubeadm's machines have none. Passed over: an etcd of some pod, one that has just ended, who only has its data.

    A link out of a pod leads to the machine's own data, and what the pod has for an etcdctl would be root's there.
    """
    for pid, pod in ((4, "var"), (5, "var/lib"), (6, "var/lib/etcd"), (7, "directory")):
        process(tmp_path, pid, pod=pod, program="/usr/bin/etcd")
    process(tmp_path, 8)
    process(tmp_path, 9, name="backup", program="/usr/bin/backup")
    process(tmp_path, 10, program="/usr/local/bin/etcd")
    programs = Programs({"/proc/10/root/usr/local/bin/etcdctl": Ran(0)})

    etcd_remove(Machine(root=tmp_path, run=programs), {"id": "255"}, "")

    assert ["etcdctl", "/proc/10/root/usr/local/bin/etcdctl"] == [call.partition(" ")[0] for call in programs.calls]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a process to somebody else")
def test_somebody_elses_etcd_is_not_taken_for_the_machines(tmp_path: Path) -> None:
    """Else whoever may start a process would have its program run by root."""
    process(tmp_path, 7, program="/home/eve/etcd")
    os.chown(tmp_path / "proc/7", 1000, 1000)
    with pytest.raises(Refused) as refused:
        etcd_remove(machine(tmp_path, {"/proc/7": Ran(0)}), {"id": "255"}, "")

    assert refused.value.reason == "EtcdDown"


def test_no_etcd_at_all_is_said(tmp_path: Path) -> None:
    """A worker, or a control plane whose etcd is down."""
    with pytest.raises(Refused) as refused:
        etcd_members(machine(tmp_path, {}), {}, "")

    assert refused.value.reason == "EtcdDown"


def saving(root: Path, status: Ran) -> Machine:
    """Return a machine whose etcdctl saves a snapshot and whose etcdutl judges it."""

    def save(_argv: list[str]) -> Ran:
        put(root, "/var/lib/etcd/cpcd-snapshot.db", "snapshot")
        return Ran(0, "Snapshot saved")

    return machine(root, {"etcdutl snapshot status": status, "etcdctl --cacert": save, "etcdctl snapshot": Ran(1)})


def test_a_snapshot_gets_its_name_only_after_it_was_verified(tmp_path: Path) -> None:
    """Recorded [415]: hash as etcdutl's table prints it."""
    put(tmp_path, "/var/lib/etcd/member/wal")
    status = Ran(0, recorded(415).out.splitlines()[2])

    made = etcd_snapshot(saving(tmp_path, status), {"path": "/var/backups/cpcd/s.db"})

    assert made == {"path": "/var/backups/cpcd/s.db", "hash": "108016b7", "revision": 693, "size": 8}
    assert (tmp_path / "var/backups/cpcd/s.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "var/lib/etcd").iterdir()] == ["member"]


def test_of_cpcds_own_snapshots_the_newest_three_are_kept(tmp_path: Path) -> None:
    """By the ops that made them: nothing that somebody put beside them is touched, however it is called."""
    snapshots, status = "var/lib/cpcd/snapshots", Ran(0, recorded(415).out.splitlines()[2])
    put(tmp_path, "/var/lib/etcd/member/wal")
    for age, name in enumerate(("op5.db", "op4.db", "op3.db", "op2.db", "op1.db")):
        put(tmp_path, f"{snapshots}/{name}", "old")
        os.utime(tmp_path / snapshots / name, (2_000_000_000 - age, 2_000_000_000 - age))
    for name in ("mine.db", "op1.db.bak", "op1", "op9.db", "op0.db.part", "op9.db.part"):
        put(tmp_path, f"{snapshots}/{name}", "kept")
    for op in ("op0", "op1", "op2", "op3", "op4", "op5", "op6"):
        put(tmp_path, f"/var/lib/cpcd/ops/{op}/verb", "etcd_snapshot")
    put(tmp_path, "/var/lib/cpcd/ops/op9/verb", "init")

    etcd_snapshot(saving(tmp_path, status), {"path": f"/{snapshots}/op6.db"})

    assert {"op6.db", "op5.db", "op4.db", "mine.db", "op1.db.bak", "op1", "op9.db", "op9.db.part"} == {
        one.name for one in (tmp_path / snapshots).iterdir()
    }


def test_a_snapshot_that_finds_no_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is tried again would leave another part, on a disk that is full already."""

    def full(_source: object, target: str) -> None:
        Path(target).write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cpcd.guest.etcd.shutil.copyfile", full)
    put(tmp_path, "/var/lib/etcd/member/wal")
    status = Ran(0, recorded(415).out.splitlines()[2])

    with pytest.raises(OSError, match="No space left"):
        etcd_snapshot(saving(tmp_path, status), {"path": "/var/backups/s.db"})

    assert [] == list((tmp_path / "var/backups").iterdir())


def test_a_snapshot_is_given_its_time(tmp_path: Path) -> None:
    """Etcd 3.6.6 (snapshot_command.go): a save ends at `--command-timeout` where that is said, and else takes as long as it takes."""
    put(tmp_path, "/var/lib/etcd/member/wal")
    within, heard = saving(tmp_path, Ran(0, recorded(415).out.splitlines()[2])), []

    def run(argv: list[str], **given: float) -> Ran:
        heard.append((argv, given.get("timeout", 120)))
        return within.run(argv, **given)

    etcd_snapshot(within._replace(run=run), {"path": "/var/backups/cpcd/s.db"})

    assert [3600, 3600] == [seconds for _, seconds in heard]
    assert not any(word.startswith("--command-timeout") for argv, _ in heard for word in argv)


def test_a_snapshot_that_cannot_be_verified_leaves_nothing(tmp_path: Path) -> None:
    """Etcdutl crashes on a cut file (recorded [416])."""
    put(tmp_path, "/var/lib/etcd/member/wal")

    with pytest.raises(Refused) as refused:
        etcd_snapshot(saving(tmp_path, Ran(2, "", recorded(416).err)), {"path": "/var/backups/s.db"})

    assert refused.value.reason == "SnapshotCorrupt"
    assert not (tmp_path / "var/backups").exists()
    assert [path.name for path in (tmp_path / "var/lib/etcd").iterdir()] == ["member"]
