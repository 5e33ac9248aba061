"""The bundle as a machine has it: a request on the wire starts a unit that outlives it and leaves a result.

It runs in a mount namespace with an own /etc, /run and /var/lib; systemd and kubeadm are stand-ins.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cpcd.guest.wire import COMMAND, bundle, decode_reply, encode_request, opening

NAMESPACE = ["unshare", "--mount", "--user", "--map-root-user"] if os.getuid() else ["unshare", "--mount"]
SCRIPT = """
set -e
mount -t tmpfs tmpfs /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
for request in "$WORLD"/request.*; do
  sh -c "$WIRE" < "$request" > "$WORLD/reply.${request##*.}"
done
while ! [ -e /var/lib/cpcd/ops/op1/result.json ]; do sleep 0.05; done
sh -c "$WIRE" < "$WORLD/request.2" > "$WORLD/reply.9"
ls -A /run/cpcd > "$WORLD/left"
"""
STANDINS = {
    "systemd-run": 'while [ "$1" != --unit ]; do shift; done; shift 2; setsid "$@" > /dev/null 2>&1 &',
    "systemctl": "pgrep -f /run/cpcd/op1.json > /dev/null && echo ActiveState=active || echo ActiveState=inactive",
    "kubeadm": 'sleep 1; cp "$3" "$WORLD/config"; echo "error: x: could not find a JWS signature" >&2; exit 1',
}


def test_a_submitted_verb_outlives_its_connection_and_leaves_its_result(tmp_path: Path) -> None:
    """Submit answers at once, submit again starts nothing, poll sees running and then the failure with its reason."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not permit mount namespaces")
    (tmp_path / "bin").mkdir()
    for name, body in STANDINS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho {name} >> $WORLD/calls\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    join = encode_request("join", {"config": "token: s3cret\n", "manifests": {}}, op="op1")
    for number, request in enumerate((join, join, encode_request("poll", {}, op="op1"))):
        (tmp_path / f"request.{number}").write_bytes(opening(bundle()) + request)
    # The bundle gives programs a plain environment: WORLD is written into the stand-ins.
    for name in STANDINS:
        text = (tmp_path / "bin" / name).read_text()
        (tmp_path / "bin" / name).write_text(text.replace("$WORLD", str(tmp_path)))
    env = {"PATH": f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "WORLD": str(tmp_path), "WIRE": COMMAND}

    subprocess.run([*NAMESPACE, "sh", "-c", SCRIPT], env=env, check=True, timeout=60)

    replies = [_output(tmp_path / f"reply.{number}") for number in (0, 1, 2, 9)]
    assert [reply["state"] for reply in replies] == ["running", "running", "running", "failed"]
    assert replies[3]["error"]["reason"] == "TokenUnknown"
    assert (tmp_path / "config").read_text() == "token: s3cret\n"
    assert (tmp_path / "calls").read_text().split().count("systemd-run") == 1
    assert (tmp_path / "left").read_text() == ""
    assert "s3cret" not in json.dumps(replies)


def _output(path: Path) -> Any:
    return decode_reply(path.read_bytes())["output"]
