"""`cpcd run`: reads the settings and hands over to `cpcd/wiring.py`."""

import ctypes
import os
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["command"]

_LEVELS: Final = ("error", "warning", "info", "debug")
# mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of <malloc.h>, in arenas and bytes.
_MALLOC: Final = {-8: 1, -3: 64 * 1024, -1: 64 * 1024}


@click.command(short_help="Run the daemon in the foreground.")
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE",
              help="File of settings  [default: $CPCD_CONFIG, /etc/cpcd/cpcd.toml]")  # fmt: skip
@click.option("--spec", metavar="PATH", help="cluster.yaml, or a directory of such files.")
@click.option("--worktree/--head", default=None, help="Take the files as they are, or what is committed [default].")
@click.option("--state-dir", metavar="DIR", help="Ledger, kubeconfigs, the last good spec.")
@click.option("--listen", metavar="HOST:PORT", help="Address of /metrics, /healthz, /readyz.")
@click.option("--log-format", type=click.Choice(["auto", "json", "pretty"]), help="Shape of log lines.")
@click.option("-v", "--verbose", count=True, help="Log more: every pass.")
@click.option("-q", "--quiet", count=True, help="Log less: warnings; twice: errors only.")
@click.option("--lab", metavar="URL", help="Control address that `cpcd lab` prints; on loopback only (docs/lab.md).")
@click.pass_context
def command(ctx: click.Context, /, config: Path | None, verbose: int, quiet: int, **flags: Any) -> int:
    """Run the daemon in the foreground.

    Flags win over CPCD_* variables, these over the file of settings. Under systemd use `systemctl start cpcd`.
    """
    lean()  # before anything large is imported
    from cpcd import wiring
    from cpcd.settings import load_settings

    socket = ctx.obj.socket or None
    level = _LEVELS[min(max(2 + verbose - quiet, 0), 3)] if verbose or quiet else None
    settings = load_settings({**flags, "socket": socket, "log_level": level}, os.environ, config=config)
    return wiring.main(settings)


def lean() -> None:
    """Have this process's freed memory given back: glibc keeps it, an arena a thread; elsewhere nothing is done."""
    libc = ctypes.CDLL(None)
    for parameter, value in _MALLOC.items() if hasattr(libc, "mallopt") else ():
        libc.mallopt(parameter, value)
