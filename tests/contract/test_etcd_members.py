"""The suite of etcd's members on the lab's model."""

from dataclasses import dataclass
from typing import Any

import pytest

from cpcd.lab.guests import Guest
from cpcd.lab.guests.failed import VerbFailed
from cpcd.lab.rack import Rack
from tests.contract.etcd_suite import *  # noqa: F403 - the suite is what this module is
from tests.contract.etcd_suite import NAMES

FIRST = 301  # VMID


@dataclass
class Modelled:
    """Three control planes of the lab."""

    rack: Rack
    guests: dict[str, Guest]

    def call(self, name: str, verb: str, **given: str) -> tuple[str, dict[str, Any]]:
        try:
            output, seconds = self.guests[name].call(verb, given)
        except VerbFailed as failed:
            self.rack.run(failed.seconds)
            return failed.reason, {}
        self.rack.run(seconds)
        return "", output

    def address(self, name: str) -> str:
        return self.guests[name].address

    def kill(self, name: str) -> None:
        self.rack.power(FIRST + NAMES.index(name), "stop")

    def start(self, name: str) -> None:
        self.rack.power(FIRST + NAMES.index(name))

    def learner(self) -> str:
        newcomer, first = self.rack.machine(FIRST + len(NAMES), "cp4"), self.guests["cp1"]
        given = self.rack.join_given(newcomer, self.rack.secrets(first, control_plane=True), control_plane=True)
        self.rack.submit(newcomer, "join", **given)
        self.rack.until(lambda: newcomer.stage == "etcd-manifest")
        newcomer.kill_job()
        return newcomer.address

    def wait(self, seconds: float) -> None:
        self.rack.run(seconds)


@pytest.fixture
def site() -> Modelled:
    """Return three control planes, initialised and joined."""
    rack = Rack()
    guests = {name: rack.machine(FIRST + number, name) for number, name in enumerate(NAMES)}
    first, *others = guests.values()
    assert rack.do(first, "init", **rack.init_given(first))["state"] == "done"
    for guest in others:
        rack.until(rack.cluster.serving)
        given = rack.join_given(guest, rack.secrets(first, control_plane=True), control_plane=True)
        assert rack.do(guest, "join", **given)["state"] == "done"
    rack.run(30)
    return Modelled(rack, guests)
