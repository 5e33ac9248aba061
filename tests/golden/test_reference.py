"""The reference pages are what the code says now; `cpcd reference docs` writes them."""

from pathlib import Path

import pytest

from cpcd.cli import reference

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["alerts.md", "cluster-yaml.md", "commands.md", "errors.md", "metrics.md"])
def test_a_page_is_current(name: str) -> None:
    """A change of the code comes with its page."""
    assert reference.pages()[name] == (DOCS / "reference" / name).read_text(encoding="utf-8")


def test_the_list_of_codes_for_troubleshooting_is_current() -> None:
    """The part between the marks is made; the rest is written by hand and stays."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")

    assert reference.troubleshooting(page) == page
