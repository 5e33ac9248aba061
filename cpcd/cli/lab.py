"""`cpcd lab`: the lab as a process of its own, to point a daemon, curl or kubectl at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cpcd.cli.output import emit, output_option
from cpcd.model.errors import Code, Failure

if TYPE_CHECKING:
    from cpcd.lab.servers.settings import LabSettings

__all__ = ["command"]


@click.command(short_help="Run the lab: Proxmox, machines and Kubernetes without hardware.")
@click.option("--rate", default=1.0, type=click.FloatRange(0.1, 1000), show_default=True,
              help="How much faster than real time its clock runs.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="Seed of everything that is random in it.")
@click.option("--port", default=8006, type=click.IntRange(0, 65535), show_default=True,
              help="Port of the Proxmox VE API; 0 takes a free one.")  # fmt: skip
@click.option("--ssh-port", default=2222, type=click.IntRange(1, 65535), show_default=True, help="Of the machines.")
@click.option("--api-port", default=0, type=click.IntRange(0, 65535), show_default=True,
              help="Where API servers really listen, for a proxy of yours at their port; 0: at their port.")  # fmt: skip
@click.option("--profile", default="default", type=click.Choice(["default", "recorded"]), show_default=True,
              help="The installation: the lab's own, or the single node that was recorded.")  # fmt: skip
@output_option
def command(*, rate: float, seed: int, port: int, ssh_port: int, api_port: int, profile: str, output: str) -> int:
    """Run the lab: Proxmox, machines and Kubernetes without hardware.

    It has one template tagged cpcd-ubuntu on each node (the recorded profile has none), listens on loopback addresses
    only and prints where; Ctrl-C ends it and everything in it. `cpcd run --lab` with the control address that it prints
    runs a daemon on it; docs/lab.md goes through it.
    """
    import asyncio
    from dataclasses import replace

    from cpcd.lab.servers.serve import serve

    settings = replace(_settings(rate, seed, port, ssh_port, profile), api_port=api_port)
    try:
        asyncio.run(serve(settings, lambda about: _tell(about, output)))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        raise Failure(
            Code.DEPENDENCY, f"the lab cannot listen: {error.strerror or error}", hint="Try --port 0."
        ) from error
    return 0


def _settings(rate: float, seed: int, port: int, ssh_port: int, profile: str) -> "LabSettings":
    from cpcd.lab.pve import PROFILES
    from cpcd.lab.servers.settings import LabSettings, Template

    pve = PROFILES[profile]
    nodes = pve.nodes if profile == "default" else ()
    templates = tuple(Template(9000 + n, node.name, "ubuntu", "cpcd-ubuntu") for n, node in enumerate(nodes))
    return LabSettings(rate=rate, seed=seed, proxmox_port=port, ssh_port=ssh_port, templates=templates, pve=pve)


def _tell(about: Mapping[str, Any], output: str) -> None:
    """Print where everything is; lines to be copied are not wrapped."""
    if output != "table":
        emit(dict(about), output, str)
        return
    for name in ("proxmox", "fingerprint", "token", "control", "sshPort", "rate"):
        click.echo(f"{name:<12} {about[name]}")
    header = f"Authorization: PVEAPIToken={about['token']}"
    click.echo(f"try          curl -k -H '{header}' {about['proxmox']}/api2/json/nodes")
    click.echo(f"and          cpcd run --lab {about['control']}  (docs/lab.md)")
