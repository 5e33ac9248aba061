"""`cpcd kubeconfig`: merged on the caller's side, so that the daemon never writes into anybody's home.

It must never lose an entry that is not ours: the file is replaced whole, and what was there before is kept beside it.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from cpcd.cli.objects import complete_clusters
from cpcd.cli.output import emit, output_option
from cpcd.cli.session import Session
from cpcd.model.errors import Code, Failure

__all__ = ["command", "merged"]

_LISTS: Final = ("clusters", "users", "contexts")


@click.command(short_help="Merge a cluster's kubeconfig into your own, or print it.")
@click.argument("cluster", default="", shell_complete=complete_clusters)
@click.option("--print", "to_stdout", is_flag=True, help="Print it and change nothing.")
@click.option("--file", "path", type=click.Path(dir_okay=False, path_type=Path),
              help="File to merge into  [default: $KUBECONFIG, else ~/.kube/config]")  # fmt: skip
@click.option("--use", is_flag=True, help="Make it the current context.")
@output_option
@click.pass_obj
def command(session: Session, /, cluster: str, to_stdout: bool, output: str, **options: Any) -> None:
    """Merge a cluster's kubeconfig into your own, or print it.

    CLUSTER may be left out when there is only one. What the file held before is kept as FILE.before-cpcd. With --print
    the kubeconfig itself is printed, as YAML unless -o says json; else what was done is.
    """
    import yaml

    if to_stdout and any(options.values()):
        raise click.UsageError("--print changes nothing; leave out --file and --use")
    text = session.client().get("/kubeconfig", cluster=cluster)["kubeconfig"]
    new = yaml.safe_load(text)
    if to_stdout:
        emit(new, output, lambda: text.rstrip("\n"))
        return
    target = options["path"] or _default()
    whole = merged(_read(target), new, use=options["use"])
    _replace(target, yaml.safe_dump(whole, sort_keys=False))
    done = {"context": new["current-context"], "file": str(target), "current": whole["current-context"]}
    emit(done, output, lambda: "context {context} is in {file}; current is {current}".format(**done))


def merged(own: dict[str, Any], new: dict[str, Any], *, use: bool) -> dict[str, Any]:
    """Return the caller's kubeconfig with the new entries, each replacing the one of its name."""
    whole = {"apiVersion": "v1", "kind": "Config", **own}
    for part in _LISTS:
        fresh = {entry["name"] for entry in new.get(part) or []}
        kept = [entry for entry in own.get(part) or [] if entry.get("name") not in fresh]
        whole[part] = [*kept, *(new.get(part) or [])]
    if use or not own.get("current-context"):
        whole["current-context"] = new["current-context"]
    return whole


def _default() -> Path:
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path.home() / ".kube" / "config"


def _read(path: Path) -> dict[str, Any]:
    """Return the caller's own kubeconfig, {} where there is none yet; raises Failure for what cannot be merged into."""
    import yaml

    try:
        own = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unfit(path, error.strerror or type(error).__name__) from error
    # An impossible date, or a tag that its value does not fit, is each another exception of Python's own.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # Not in the library's words, which quote the file: it holds keys.
        raise _unfit(path, f"line {mark.line + 1} is no YAML" if mark else "it is no YAML") from error
    if own is None:
        return {}
    if mistake := _mistake(own):
        raise _unfit(path, mistake)
    return dict(own)


def _mistake(own: Any) -> str:
    """Return why nothing can be merged into it, "" when something can."""
    if not isinstance(own, dict):
        return "it is no mapping"
    for part in _LISTS:
        entries = own.get(part)
        if not isinstance(entries, list | None):
            return f"{part} is no list"
        for number, entry in enumerate(entries or []):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                return f"{part}[{number}] is no mapping with a name that is text"
    return ""


def _unfit(path: Path, why: str) -> Failure:
    what = f"it cannot be read as a kubeconfig and is left as it is: {why}"
    return Failure(Code.INPUT, what, target=str(path), hint="Mend it, or name another file with --file.")


def _replace(path: Path, text: str) -> None:
    """Write beside, sync, keep the old one, rename: a crash leaves one of the two whole (`failures.md` D02)."""
    path = path.resolve()  # a link stays a link
    try:
        _write(path, text)
    except OSError as error:
        what, hint = f"it cannot be written: {error.strerror}", "Name another file with --file, or use --print."
        raise Failure(Code.EXECUTION, what, target=str(path), hint=hint) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        shutil.copy2(path, path.with_name(f"{path.name}.before-cpcd"))
    Path(new).rename(path)
