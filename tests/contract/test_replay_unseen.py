"""The replayer against kinds of exchanges that the committed recording has none of, and other files may hold."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract.replaying import Report, load, replay
from tests.contract.replaying.recording import Entry, Exchange, Intervention

OWN = Path(__file__).parents[1] / "recordings" / "pve.jsonl"


@cache
def recording() -> tuple[Entry, ...]:
    """The committed recording."""
    return tuple(load([OWN]))


def outcomes(report: Report) -> dict[int, str]:
    """Number -> what became of it."""
    return {outcome.exchange.seq: outcome.kind for outcome in report.outcomes}


def asked(seq: int, call: str, *, status: int = 200, reason: str = "OK", data: Any = None, **named: Any) -> Exchange:
    """An exchange of `admin@pve!full` that nobody recorded; an error has its text in its body too."""
    method, path = call.split(" ")
    made = {"group": "more", "note": "", "params": {}, "auth": "token:admin@pve!full"} | named
    made.setdefault("body", {"data": data} | ({} if status == 200 else {"message": f"{reason}\n"}))
    return Exchange(seq, method=method, path=f"/api2/json{path}", status=status, reason=reason, **made)


def beside(*more: Exchange) -> dict[int, str]:
    """Replay exchanges in the place of recorded ones of the same number; return what became of them."""
    last = max(each.seq for each in more)
    return outcomes(replay(more, context=[each for each in recording() if each.seq <= last]))


def test_tasks_of_a_call_out_of_scope_are_out_of_scope_too() -> None:
    """Whatever kind of task it is; that of a call in scope is not."""
    upid = "UPID:pve1:00001E40:000614D0:6B0487EA:qmclone:100:admin@pve!full:"
    named = {"group": "snapshots", "params": {"newid": 301, "snapname": "before"}}

    told = beside(
        asked(430, "POST /nodes/pve1/qemu/100/clone", data=upid, **named),
        asked(431, f"GET /nodes/pve1/tasks/{upid}/status", data={"upid": upid, "status": "stopped"}),
        asked(432, f"GET /nodes/pve1/tasks/{upid.replace('1E40', '1E41')}/log", data=[]),
    )

    assert {430: "out", 431: "out", 432: "mismatch"} == told


def test_what_a_call_out_of_scope_has_made_is_there() -> None:
    """A clone of a snapshot is not replayed, but the VM that it made is taken from the reads that follow."""
    made = {"name": "copy", "boot": " ", "digest": "0" * 40}

    told = beside(
        asked(430, "POST /nodes/pve1/qemu/100/clone", group="snapshots", params={"newid": 301}, data="UPID"),
        asked(431, "GET /nodes/pve1/qemu/301/config", data=made),
        asked(432, "GET /nodes/pve1/qemu/301/config", data=made),
    )

    assert {430: "out", 431: "setup", 432: "matched"} == told


def test_a_vm_is_out_of_scope_while_it_is_highly_available() -> None:
    """What power means for it is the cluster resource manager's, whatever group it is in."""
    start = "POST /nodes/pve1/qemu/100/status/start"

    told = beside(
        asked(430, "POST /cluster/ha/resources", params={"sid": "vm:100"}),
        asked(431, start, data="UPID:pve1:00001E40:000614D0:6B0487EA:hastart:100:admin@pve!full:"),
        asked(432, "DELETE /cluster/ha/resources/vm:100"),
        asked(433, "PUT /nodes/pve1/qemu/100/config", status=500, reason="no options specified"),
    )

    assert {430: "out", 431: "out", 432: "out", 433: "matched"} == told


def test_a_configuration_copied_to_another_node_is_there() -> None:
    """As one that is written by hand is."""
    command = "mkdir -p /etc/pve/nodes/pve2/qemu-server; cp /etc/pve/qemu-server/201.conf /etc/pve/nodes/pve2/qemu-server/700.conf"
    near = [each for each in recording() if each.seq <= 1324]
    taken = "unable to create VM 700 - VM 700 already exists on node 'pve2'"
    create = asked(1327, "POST /nodes/pve1/qemu", status=500, reason=taken, params={"vmid": 700})
    hands = [Intervention(1325, "more", "votes", "pvecm expected 1"), Intervention(1326, "more", "a file", command)]

    report = replay([*near, *hands, create])

    assert "matched" == outcomes(report)[1327]
    assert [] == report.unknown


def test_rights_follow_roles_tokens_and_users() -> None:
    """A separated token has what it and its user have; an expired one, and one of a disabled user, is refused."""
    token = "/access/users/prov@pve/token/own"
    own = {"auth": "token:prov@pve!own"}
    denied = {"status": 401, "reason": "Authentication failed!", "body": ""}
    lacking = {"status": 403, "reason": "Permission check failed (/, Sys.Audit)"}
    grant = {"path": "/", "tokens": "prov@pve!own", "roles": "PVEAuditor"}

    told = outcomes(
        replay(
            [
                *(each for each in recording() if each.seq <= 965),
                asked(966, f"POST {token}", params={"privsep": 1}),
                asked(967, "PUT /access/acl", params=grant),
                asked(969, "GET /cluster/status", **lacking, **own),
                asked(970, "GET /pools", data=[{"poolid": "k8s", "comment": "old path"}], **own),
                asked(971, f"PUT {token}", params={"expire": 1}, time=1_795_459_467),
                asked(972, "GET /pools", **denied, **own),
                asked(973, f"PUT {token}", params={"expire": 0}),
                asked(974, "GET /pools", data=[{"poolid": "k8s", "comment": "old path"}], **own),
                asked(975, "PUT /access/users/prov@pve", params={"enable": 0}),
                asked(976, "GET /pools", **denied, auth="token:prov@pve!tk"),
                asked(977, "PUT /access/users/prov@pve", params={"enable": 1}),
                asked(978, "PUT /access/roles/K8sProv", params={"privs": "VM.Audit"}),
                asked(979, "GET /pools", data=[], auth="token:prov@pve!tk"),
            ]
        )
    )

    assert {"matched"} == {told[seq] for seq in (969, 970, 972, 974, 976, 979)}


@pytest.mark.parametrize("call", ["PUT /access/acl", "POST /nodes/pve1/storage/local/content", "PUT /nodes/pve1/x"])
def test_a_call_that_nobody_can_follow_is_a_mismatch(call: str) -> None:
    """Never a traceback: what it did to the node would be missing from there on."""
    assert {430: "mismatch"} == beside(asked(430, call))


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        ("garbage\r\n\r\n", "HTTP/1.1 400\r\n\r\n"),
        ("GET /api2/json/version HTTP/1.1\r\n\r\n", ""),
        ("", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"),
    ],
)
def test_what_is_no_http_is_read(tmp_path: Path, request_: str, response: str) -> None:
    """Somebody wrote to the socket by hand, and got something back, or nothing."""
    line = {"seq": 1, "group": "http", "note": "raw", "raw_request": request_, "raw_response": response}
    (tmp_path / "raw.jsonl").write_text(json.dumps(line))

    assert {1: "mismatch"} == outcomes(replay(load([tmp_path / "raw.jsonl"])))


def test_what_got_no_answer_and_what_was_sent_with_others_is_read(tmp_path: Path) -> None:
    """A broken connection, and reads at the same time, which have no tasks."""
    version = {"method": "GET", "path": "/api2/json/version", "params": None, "auth": "token:admin@pve!full"}
    data = {"release": "9.2", "version": "9.2.11", "repoid": "14a22df35955d97d"}
    fine = {"status": 200, "reason": "OK", "body": {"data": data}}
    lines = [{"seq": 430, "group": "more", "request": version, "response": None}]
    lines += [
        {"seq": seq, "group": "more", "note": "reads", "request": version, "response": fine, "parallel": given}
        for seq, given in ((431, True), (432, {"task": None}))
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, lines)))

    assert {430: "mismatch", 431: "matched", 432: "matched"} == beside(*load([tmp_path / "more.jsonl"]))


@pytest.mark.parametrize(
    ("encoding", "params", "kind"),
    [
        ("form", {"onboot": True}, "matched"),  # a form has no booleans: the word is refused
        ("json", {"onboot": True}, "mismatch"),
        ("text/plain", {"onboot": 1}, "out"),
        ("json", "{broken", "out"),
    ],
)
def test_bodies_are_taken_as_they_were_sent(tmp_path: Path, encoding: str, params: Any, kind: str) -> None:
    """What is neither a form nor JSON is refused before a request exists."""
    wrong = {"onboot": "type check ('boolean') failed - got 'True'"}
    body = {"data": None, "message": "Parameter verification failed.\n", "errors": wrong}
    asked_ = {"method": "PUT", "path": "/api2/json/nodes/pve1/qemu/100/config", "params": params, "encoding": encoding}
    answer = {"status": 400, "reason": "Parameter verification failed.", "body": body}
    line = {"seq": 430, "group": "more", "note": "", "response": answer}
    line["request"] = asked_ | {"auth": "token:admin@pve!full"}
    (tmp_path / "more.jsonl").write_text(json.dumps(line))

    assert {430: kind} == beside(*load([tmp_path / "more.jsonl"]))
