"""The door of every command: the list of them, the options before them, and what becomes of a mistake.

It must import nothing but click (`cpcd --help` has 80 ms), and never show a traceback: what fails is printed as
code, sentence and hint by `failures.py`. Exit codes: 0 nothing to do or done, 1 error, 2 usage, 3 changes pending.
"""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final, NoReturn

import click

from cpcd import __version__
from cpcd.cli.session import Session

__all__ = ["COMMANDS", "cli", "invoke", "main"]

COMMANDS: Final = {
    "run": "Run the daemon in the foreground.",
    "plan": "Show all remaining steps, changing nothing.",
    "validate": "Check cluster.yaml; all mistakes at once, with line and column.",
    "status": "Show clusters and objects, or one object with its history.",
    "events": "Show what happened, the newest last.",
    "explain": "Explain an error code, a reason or a condition.",
    "approve": "Give consent to a change that waits for it.",
    "pause": "Stop changing a cluster; it is still observed and reported.",
    "resume": "Go on changing a paused cluster.",
    "reconcile": "Look at an object now, whatever it waits for.",
    "kubeconfig": "Merge a cluster's kubeconfig into your own, or print it.",
    "doctor": "Check settings, spec, state, git, Proxmox and privileges.",
    "schema": "Print the JSON schema of cluster.yaml.",
    "demo": "Play the whole story on the lab; needs no hardware.",
    "lab": "Run the lab: Proxmox, machines and Kubernetes without hardware.",
}
_HIDDEN: Final = {"reference"}
_STAYING: Final = {"run", "demo", "lab"}


class Commands(click.Group):
    """A group that imports a command when it is called and not before."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order of the list above."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, None when there is no such."""
        if cmd_name not in COMMANDS and cmd_name not in _HIDDEN:
            return None
        if cmd_name in _STAYING:
            # `main` turns it off for commands, which are over at once; these stay.
            gc.enable()
        command: click.Command = importlib.import_module(f"cpcd.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of that name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"no such command: {args[0]}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _completion(ctx: click.Context, _option: click.Parameter, shell: str | None) -> None:
    if shell:
        from click.shell_completion import get_completion_class

        found = get_completion_class(shell)
        assert found is not None  # the option's choices are click's own shells
        click.echo(found(ctx.command, {}, "cpcd", "_CPCD_COMPLETE").source())
        ctx.exit()


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`cpcd COMMAND --help` tells more; `cpcd demo` needs no hardware.",
)
@click.option("--socket", metavar="PATH", envvar="CPCD_SOCKET", default="", show_envvar=True,
              help="Control socket of the daemon  [default: as in cpcd.toml, /run/cpcd/control.sock]")  # fmt: skip
@click.option("--no-color", is_flag=True, help="No colours; the variable NO_COLOR does the same.")
@click.option("--show-completion", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]), expose_value=False,
              is_eager=True, callback=_completion, help="Print the completion script for bash, zsh or fish.")  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="cpcd %(version)s")
@click.pass_context
def cli(ctx: click.Context, socket: str, no_color: bool) -> None:
    """Keep Kubernetes clusters on Proxmox VE equal to a file."""
    if no_color or os.environ.get("NO_COLOR"):
        os.environ["NO_COLOR"] = "1"
        ctx.color = False
    ctx.obj = Session(socket)


class _Metadata(ModuleType):
    """Stands for `importlib.metadata` until somebody uses it: a fifteenth of `cpcd validate`, where nobody does.

    pydantic imports it for its plugins' sake, also where there are none: `from importlib.metadata import entry_points`.
    """

    def __init__(self) -> None:
        super().__init__("importlib.metadata")
        self.__path__ = [f"{home}/metadata" for home in importlib.__path__]  # asked for by every import from it

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)

    def entry_points(self, **chosen: Any) -> Any:
        """Be imported from, and import when it is called."""
        return self.__getattr__("entry_points")(**chosen)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Collecting garbage and taking the interpreter down is a quarter of a command that is over in a tenth of a second;
    neither is done, so whatever must be closed is closed where it was opened.
    """
    gc.disable()
    # pydantic would read the metadata of every package that is installed, for plugins; none has a say in what a spec is.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    if "importlib.metadata" not in sys.modules:
        importlib.metadata = sys.modules["importlib.metadata"] = _Metadata()
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123 - `>&-`: nobody listens, nothing is wrong
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows `?`, not a traceback
    code = invoke(args)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed, or its reader left
            stream.flush()
    os._exit(code)


def invoke(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises for what goes wrong."""
    try:
        result: Any = cli.main(args=None if args is None else list(args), prog_name="cpcd", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _mute()  # the reader left (`cpcd events | head`)
        return 0
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:  # noqa: BLE001 - the last door: nothing leaves it as a traceback
        from cpcd.cli.failures import told

        if isinstance(error, OSError) and error.filename is None:
            _mute()  # what could not be written is not tried again at exit
        return told(error)
    return result if isinstance(result, int) else 0


def _mute() -> None:
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
