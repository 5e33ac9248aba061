"""The reference pages of the docs, made from the code, so that they cannot say something else than it does.

Hidden command: `cpcd reference DOCS` writes them; a golden test compares. The page of cluster.yaml is made in
`reference_spec.py`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["command", "pages", "troubleshooting"]

_MADE: Final = "<!-- Made by `cpcd reference docs` from the code; changes here are lost. -->\n"
BEGIN: Final = "<!-- begin: made by `cpcd reference docs` from cpcd/model/errors.py -->\n"
END: Final = "<!-- end -->\n"


@click.command(short_help="Write the reference pages of the docs.", hidden=True)
@click.argument("docs", type=click.Path(file_okay=False, exists=True, path_type=Path))
def command(docs: Path) -> None:
    """Write the reference pages into DOCS/reference, and the made part of DOCS/troubleshooting.md."""
    (docs / "reference").mkdir(exist_ok=True)
    for name, text in pages().items():
        (docs / "reference" / name).write_text(text, encoding="utf-8")
    page = docs / "troubleshooting.md"
    page.write_text(troubleshooting(page.read_text(encoding="utf-8")), encoding="utf-8")


def pages() -> dict[str, str]:
    """Return file name -> Markdown of every page."""
    from cpcd.cli.reference_spec import cluster_yaml

    made = {
        "alerts.md": _alerts(),
        "cluster-yaml.md": cluster_yaml(),
        "commands.md": _commands(),
        "errors.md": _errors(),
        "metrics.md": _metrics(),
    }
    return {name: _MADE + text for name, text in made.items()}


def troubleshooting(page: str) -> str:
    """Return the page with what stands between its two marks made anew from the table of errors."""
    from cpcd.model.errors import TABLE

    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.UsageError(f"troubleshooting.md has lost its marks {BEGIN.strip()} and {END.strip()}")
    rows = [f"### {row.code} {row.reason}\n\n{row.meaning}\n\n**Do:** {row.hint}\n" for row in TABLE]
    return before + begin + "\n" + "\n".join(rows) + "\n" + end + after


def _commands() -> str:
    from cpcd.cli.app import COMMANDS, cli

    parent = click.Context(cli, info_name="cpcd", terminal_width=100, **cli.context_settings)
    parts = ["# Commands\n\n", _fenced(cli.get_help(parent))]
    for name in COMMANDS:
        found = cli.get_command(parent, name)
        assert found is not None  # the list is the command's own
        context = click.Context(found, info_name=name, parent=parent, terminal_width=100)
        parts.append(f"\n## cpcd {name}\n\n{_fenced(found.get_help(context))}")
    parts.append(
        "\n## Exit codes\n\n"
        "| code | meaning |\n|---|---|\n"
        "| 0 | nothing to do, or done |\n| 1 | error: printed as code, sentence and what to do |\n"
        "| 2 | the command was misused (CPCD-107) |\n| 3 | changes are pending (`plan --detailed-exitcode`) |\n"
        "\n## Completion\n\n"
        'bash: `eval "$(cpcd --show-completion bash)"`, zsh: `eval "$(cpcd --show-completion zsh)"`, '
        "fish: `cpcd --show-completion fish | source`. Commands, options and codes are completed at once; names of "
        "clusters and objects are asked of the daemon.\n"
    )
    return "".join(parts)


def _metrics() -> str:
    from cpcd.status.metrics import METRICS

    rows = [(m.name, m.type, ", ".join(f"`{label}`" for label in m.labels), m.help) for m in METRICS]
    intro = (
        "Served at `/metrics` of the address `listen` in cpcd.toml (default 127.0.0.1:9469), beside `/healthz` and "
        "`/readyz`. Every series by kind, result, code, verb or scope exists from the first scrape on. `/readyz` is 503 "
        "until a spec is in force, or its mistake published, and a first look was tried; a ledger that cannot be written "
        "or a silent Proxmox do not change it, since the daemon goes on observing and reporting.\n\n"
    )
    return "# Metrics\n\n" + intro + _table(("metric", "type", "labels", "meaning"), rows)


def _alerts() -> str:
    from importlib.resources import files

    import yaml

    text = (files("cpcd") / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    rules: list[dict[str, Any]] = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    rows = [
        (
            r["alert"],
            r["labels"]["severity"],
            r["for"],
            f"`{r['expr']}`",
            f"{_said(r, 'summary')} {_said(r, 'description')}",
        )
        for r in rules
    ]
    intro = "The rules are in `cpcd/monitoring/alerts.yml`; give them to Prometheus as a rule file.\n\n"
    return "# Alerts\n\n" + intro + _table(("alert", "severity", "for", "expression", "meaning"), rows)


def _errors() -> str:
    from cpcd.model.errors import TABLE
    from cpcd.status.reasons import CONDITIONS, REASONS

    codes = [(f"`{r.code}`", r.reason, r.severity.name, r.meaning, f"{r.disposition.value}.", r.hint) for r in TABLE]
    reasons = [(f"`{name}`", meaning) for name, meaning in REASONS.items()]
    return (
        "# Errors and reasons\n\nThe same as `cpcd explain CODE`.\n\n"
        + _table(("code", "reason", "severity", "meaning", "what cpcd does", "what you can do"), codes)
        + "\n## Conditions\n\n"
        + _table(("condition", "when it is True"), [(f"`{name}`", meaning) for name, meaning in CONDITIONS.items()])
        + "\n## Reasons of conditions and events\n\n"
        + _table(("reason", "meaning"), reasons)
    )


def _said(rule: dict[str, Any], name: str) -> str:
    return re.sub(r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", r"<\1>", str(rule["annotations"][name]))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"
