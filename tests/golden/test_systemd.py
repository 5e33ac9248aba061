"""The unit and its companions: they parse, they fit together, and they keep the daemon in a small box."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from cpcd.plan.effects import PLAYBOOKS

SYSTEMD = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")


def settings(name: str) -> dict[str, list[str]]:
    """Every setting of a unit file with all its values, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (SYSTEMD / name).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, separator, value = line.partition("=")
            assert separator, f"{name}: no setting: {line}"
            found[key].append(value)
    return found


def test_the_daemon_is_watched_and_always_comes_back() -> None:
    """Systemd waits for READY, kills what does not beat, and never gives up."""
    unit = settings("cpcd.service")
    names = ("Type", "NotifyAccess", "WatchdogSec", "Restart", "StartLimitIntervalSec")

    assert ["notify", "main", "60s", "always", "0"] == [unit[name][0] for name in names]


def test_all_playbooks_at_once_fit_into_the_units_memory() -> None:
    """98 MB a run and 125 MB for the daemon were measured; a tenth is left over."""
    (limit,) = settings("cpcd.service")["MemoryMax"]

    assert (125 + PLAYBOOKS * 98) * 1.1e6 < int(limit.removesuffix("M")) * 2**20


def test_what_the_daemon_needs_is_left_to_it() -> None:
    """Sockets for SSH, HTTPS and the control socket, system calls of a service, its directories."""
    unit = settings("cpcd.service")

    assert {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"} == set(unit["RestrictAddressFamilies"][0].split())
    assert ["@system-service", "~@privileged @resources"] == unit["SystemCallFilter"]
    assert ["cpcd", "cpcd"] == [*unit["StateDirectory"], *unit["RuntimeDirectory"]]


def test_what_holds_the_token_is_closed_to_others() -> None:
    """The unit sets the mode at each start, so that it must be the one of tmpfiles.d."""
    (tmpfiles,) = (line.split() for line in (SYSTEMD / "cpcd.tmpfiles").read_text().splitlines() if line[:1] == "d")

    assert (["0750"], "0750") == (settings("cpcd.service")["ConfigurationDirectoryMode"], tmpfiles[2])


def test_the_user_of_the_unit_is_made() -> None:
    """sysusers.d(5): type, name, id, GECOS, home; the tmpfiles name its group."""
    unit = settings("cpcd.service")
    users = [line for line in (SYSTEMD / "cpcd.sysusers").read_text().splitlines() if not line.startswith("#")]
    rows = [line.split() for line in (SYSTEMD / "cpcd.tmpfiles").read_text().splitlines() if not line.startswith("#")]

    assert [True] == [bool(re.fullmatch(r'u cpcd - "[^"]+" /var/lib/cpcd', line)) for line in users]
    assert (["cpcd"], {"cpcd"}, {7, 6}) == (
        unit["User"],
        {row[4] for row in rows},
        {len(row) + (row[0] == "d") for row in rows},
    )


def test_the_example_of_a_credential_is_a_drop_in() -> None:
    """Copied as it is, it hands over the token of the smallest spec."""
    assert ["pve-token:/etc/cpcd/pve-token"] == settings("cpcd.service.d/credentials.conf.example")["LoadCredential"]


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_box_is_small() -> None:
    """`systemd-analyze security` gives at most 1.5 of 10."""
    command = [str(ANALYZE), "security", "--offline=yes", "--no-pager", str(SYSTEMD / "cpcd.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for cpcd.service: ([0-9.]+)", done.stdout)

    assert found, done.stdout + done.stderr
    assert float(found[1]) <= 1.5
