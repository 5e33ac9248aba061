"""What the docs tell people to type exists, and is shown by `--help`."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cpcd.cli.app import cli

ROOT = Path(__file__).parents[2]
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
