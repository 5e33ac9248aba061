"""What the docs tell people to type exists, and is shown by `--help`."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import click
import pytest

from cpcd.cli.app import cli
from cpcd.model.desired import Cluster, MachineSpec
from cpcd.plan.fields import revision
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec, fixed

ROOT = Path(__file__).parents[2]
# What the quickstart calls each field of a machine; their order is `MachineSpec`'s.
CALLED = {
    "template": "template", "full": "`full`", "sockets": "`numSockets`", "cores": "`numCores`", "cpu_type": "`cpuType`",
    "memory_mib": "`memoryMiB`", "balloon": "`balloon`", "boot_disk": "`bootVolume.disk`",
    "boot_disk_gb": "`bootVolume.sizeGb`", "bridge": "bridge", "nic_model": "card model", "vlan": "VLAN", "mtu": "MTU",
    "firewall": "`firewall`", "on_boot": "`onBoot`", "tags": "`tags`", "ssh_users": "`ssh.users`",
    "ssh_port": "`ssh.port`", "ssh_keys": "`ssh.keys`", "timezone": "`timezone`",
}  # fmt: skip
OF_GROUPS_AND_CLUSTERS = {"`replicas`", "`failureDomain`", "`kubeconfig.context`"}
NETWORKS = ("clusterNetwork.pods", "clusterNetwork.services", "clusterNetwork.serviceDomain")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def typed(page: Path) -> Iterator[list[str]]:
    """Yield the words of each call of cpcd in a page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in (line for block in blocks for line in block.splitlines()):
        for call in re.split(r"&&|;|\|", line):
            if re.match(r"\s*(\S*/)?cpcd\s", call):
                yield shlex.split(call, comments=True)[1:]


def unknown(words: list[str]) -> list[str]:
    """Return the options of a call that its command, or cpcd itself, does not show."""
    group = click.Context(cli)
    names = [word for word in words if word in cli.list_commands(group)]
    commands = [cli, *(found for name in names[:1] if (found := cli.get_command(group, name)))]
    shown = {
        option
        for command in commands
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return [word for word in words if word.startswith("-") and word not in {*shown, "--help"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_told_is_one_that_help_shows(page: Path) -> None:
    """An option that is renamed, removed or hidden shows here."""
    assert [] == [word for words in typed(page) for word in unknown(words)]


def test_the_pages_are_really_looked_at() -> None:
    """The lab's page is one with options of its own."""
    calls = list(typed(ROOT / "docs" / "lab.md"))

    assert ["lab", "--rate", "30"] in calls
    assert any("--lab" in words for words in calls)


def quickstart_row(words: str) -> str:
    """Return what changes the quickstart's table lists in the row that says this."""
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| ") and words in line.split("|")[2]]
    return row.split("|")[1]


def test_the_quickstart_says_of_every_field_of_a_machine_what_an_edit_does() -> None:
    """A field that comes to machines needs a word there; in the first column, not in what is told of another."""
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    table = text.partition("| change | what cpcd does |")[2].partition("\n\n")[0]
    changes = " ".join(line.split("|")[1] for line in table.splitlines() if line)

    assert list(CALLED) == [field.name for field in fields(MachineSpec)]
    assert [] == [words for words in {*CALLED.values(), *OF_GROUPS_AND_CLUSTERS} if words not in changes]


def smallest() -> Cluster:
    """Return what the smallest example wants."""
    reading = read_spec({"cluster.yaml": (ROOT / "specs" / "minimal.yaml").read_bytes()})
    (cluster,) = compile_spec(reading, operator_key="ssh-ed25519 AAAA").clusters.values()
    return cluster


def test_the_quickstart_lists_every_field_that_cannot_change() -> None:
    """As `compile.fixed` says; networks are told together, and the Proxmox by its url."""
    together = {"infrastructure.proxmox": "url", **dict.fromkeys(NETWORKS, "clusterNetwork")}
    words = {together.get(word, word.removeprefix("infrastructure.proxmox.")) for word in fixed(smallest())}

    assert words == set(re.findall(r"`([^`]+)`", quickstart_row("refused once")))


@pytest.mark.parametrize(
    ("field", "row"), [("ssh_users", "replaces the machines"), ("ssh_keys", "nothing to the machines")]
)
def test_the_quickstart_says_what_an_edit_of_access_does(field: str, row: str) -> None:
    """Another user is another machine, another key is not."""
    machine = smallest().groups[0].machine
    replaced = revision(machine) != revision(replace(machine, **{field: ("a", "b")}))  # type: ignore[arg-type] # both are lists of text

    assert f"`ssh.{field.removeprefix('ssh_')}`" in quickstart_row(row)
    assert replaced == ("replaces" in row)
