"""What is asked of machines over SSH, and of nobody but cpcd itself."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.ports.guests import Host


class Played:
    """A playbook that ran here."""

    def knows(self, op: str) -> bool:
        """Return that it was this one."""
        return op == "op-1"

    async def submit(self, host: Host, op: str, given: Mapping[str, Any]) -> None:
        """Never asked."""

    async def poll(self, op: str) -> Mapping[str, Any]:
        """Return its end, and of any other that there is none."""
        return {"state": "done" if self.knows(op) else "absent"}

    def busy(self, _host: Host) -> bool:
        """Return that nothing runs."""
        return False


@pytest.mark.parametrize(("op", "state"), [("op-1", "done"), ("op-2", "absent")])
def test_a_playbook_tells_its_end_though_nothing_says_how_its_machine_is_reached(
    tmp_path: Path, op: str, state: str
) -> None:
    """It runs on cpcd's own host; the document of its machine may be gone. One that was never begun is no other's."""
    guests = GuestsOverSsh(key=tmp_path / "key", playbooks=Played())

    assert {"state": state} == asyncio.run(guests.poll(Host("u1", "m1", "127.0.0.1", 0, (), ""), op))
