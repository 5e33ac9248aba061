"""`cpcd schema`: the JSON schema that editors use; the same as `specs/cluster.schema.json`."""

import json

import click

__all__ = ["command"]


@click.command(short_help="Print the JSON schema of cluster.yaml.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json", show_default=True,
              help="How to print it; a schema has no table, docs/reference/cluster-yaml.md is for people.")  # fmt: skip
def command(output: str) -> None:
    """Print the JSON schema of cluster.yaml.

    Editors with a YAML language server complete and check with it: put
    `# yaml-language-server: $schema=cluster.schema.json` into the first line of the file.
    """
    from cpcd.spec import json_schema

    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(json_schema(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
