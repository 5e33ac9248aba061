"""The catalogue on real machines: `guest/ops.py` has the verbs of the port, with its outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cpcd.guest.jobs import poll
from cpcd.guest.machine import Machine, Ran
from cpcd.guest.ops import JOBS, VERBS
from cpcd.ports.guests import LONG_VERBS, SHORT_VERBS
from tests.unit.guest.recorded import machine, put, recorded

KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
GIVEN: Mapping[str, Any] = {
    "names": [],
    "ttl": "15m",
    "control_plane": True,
    "id": "1",
    "to": "2677674080080550774",
    "address": "10.0.0.4",
    "config": "",
    "manifests": {},
    "path": "/var/backups/s.db",
}


def test_the_catalogue_is_the_ports() -> None:
    """Every verb and no other; prepare is a playbook and poll is the port's method."""
    assert set(VERBS) == {*SHORT_VERBS, "poll"}
    assert set(JOBS) == set(LONG_VERBS) - {"prepare"}


@pytest.fixture
def control_plane(tmp_path: Path) -> Machine:
    """Return a machine that can answer every verb."""
    put(tmp_path, "/etc/kubernetes/admin.conf", "apiVersion: v1\n")
    put(tmp_path, "/var/lib/etcd/cpcd-snapshot.db", "snapshot")

    def ectl(argv: list[str]) -> Ran:
        line = " ".join(argv)
        answers = {"member list": recorded(170), "endpoint status": recorded(171), "endpoint health": recorded(162)}
        return next((ran for words, ran in answers.items() if words in line), Ran(0))

    return machine(
        tmp_path,
        {
            "openssl x509": Ran(0, KEY),
            "kubeadm": Ran(0, "abcdef.0123456789abcdef\n"),
            "systemd-run": Ran(0),
            "etcdctl": ectl,
            "etcdutl": Ran(0, recorded(415).out.splitlines()[2]),
        },
    )


@pytest.mark.parametrize("verb", SHORT_VERBS)
def test_a_short_verb_answers_with_the_ports_keys(control_plane: Machine, verb: str) -> None:
    """No more, no less."""
    assert set(SHORT_VERBS[verb][1]) == set(
        VERBS[verb](control_plane, {key: GIVEN[key] for key in SHORT_VERBS[verb][0]}, "")
    )


@pytest.mark.parametrize("verb", JOBS)
def test_a_long_verb_ends_with_the_ports_keys(control_plane: Machine, verb: str) -> None:
    """No more, no less."""
    assert set(LONG_VERBS[verb][1]) == set(JOBS[verb](control_plane, {key: GIVEN[key] for key in LONG_VERBS[verb][0]}))


def test_poll_answers_with_the_ports_keys(control_plane: Machine) -> None:
    """Whatever the state is."""
    assert set(poll(control_plane, {}, "op1")) == {"state", "boot_id", "rc", "output", "error"}
