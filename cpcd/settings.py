"""The daemon's own settings: flags win over `CPCD_*` variables, these over `/etc/cpcd/cpcd.toml`, that over defaults.

What clusters should be is never here but in the spec. All mistakes are told at once. Nothing but the one TOML file is
read, and nothing is created.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cpcd.model.errors import Code, Failure

__all__ = ["CONFIG", "Settings", "forbidden", "load_settings"]

CONFIG: Final = Path("/etc/cpcd/cpcd.toml")
_MEND: Final = "Mend cpcd's own settings where it says; nothing was started."


@dataclass(frozen=True, slots=True)
class Settings:
    """How this daemon runs on this machine."""

    spec: Path = Path("/etc/cpcd/cluster.yaml")
    """A file or a directory of `*.yaml`."""
    worktree: bool = False
    """Take the files of a git work tree as they are, instead of what is committed."""
    state_dir: Path = Path("/var/lib/cpcd")
    """Ledger, kubeconfigs, the last good spec."""
    listen: str = "127.0.0.1:9469"
    """Address of `/metrics`, `/healthz`, `/readyz`."""
    socket: Path = Path("/run/cpcd/control.sock")
    """Control socket of the commands."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "auto"
    """`json`, `pretty`, or `auto`: pretty on a terminal."""
    lab: str = ""
    """Control URL of a lab on loopback, `http://` when no scheme is given; empty against the real world."""


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str], *, config: Path | None = None) -> Settings:
    """Return the settings in force.

    `flags` are settings by name, None where the flag was not given; `config` (or `CPCD_CONFIG`) names the TOML file,
    which may be absent only when nobody named it. Raises Failure with Code.CONFIG that lists every mistake with where
    it was made.
    """
    given: dict[str, tuple[str, Any]] = {}
    for source, values in (_file(config, environment), _environment(environment), ("--{}", flags)):
        told = {name: value for name, value in values.items() if value is not None}
        given.update({name: (source.format(_dashed(source, name)), value) for name, value in told.items()})
    mistakes: list[str] = []
    settings = {name: _read(name, where, value, mistakes) for name, (where, value) in given.items()}
    if mistakes:
        raise Failure(Code.CONFIG, "; ".join(mistakes), hint=_MEND)
    return Settings(**settings)


def forbidden(path: Path | str) -> Failure:
    """Return the failure of who may not read what belongs to root and the group `cpcd`."""
    hint = "Use sudo, or have yourself added to the group `cpcd` (usermod -aG cpcd YOU) and log in again."
    return Failure(Code.AUTH, "you may not read it", target=str(path), hint=hint)


def _dashed(source: str, name: str) -> str:
    return name.replace("_", "-") if source.startswith("--") else name.upper() if source.startswith("CPCD") else name


def _file(config: Path | None, environment: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    named = config or (Path(environment["CPCD_CONFIG"]) if environment.get("CPCD_CONFIG") else None)
    path = named or CONFIG
    import tomllib  # with difflib a tenth of the start of a command that only needs to know who may read what

    try:
        return f"{path}: {{}}", tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return "{}", {}
        raise Failure(Code.CONFIG, f"{path} does not exist", hint="It was named as the file of settings.") from error
    except PermissionError as error:
        raise forbidden(path) from error
    except OSError as error:
        raise Failure(Code.CONFIG, f"{path} cannot be read: {error.strerror}", hint=_MEND) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure(Code.CONFIG, f"{path} is no TOML: {error}", hint=_MEND) from error


def _environment(environment: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Take the variables that are settings, or nearly one; others may hold secrets that the spec refers to."""
    names = {key: key.removeprefix("CPCD_").lower() for key in environment if key.startswith("CPCD_")}
    taken = {
        name: environment[key] for key, name in names.items() if name != "config" and (_known(name) or _near(name))
    }
    return "CPCD_{}", taken


def _known(name: str) -> bool:
    return name in _READERS


def _near(name: str) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name.replace("-", "_"), list(_READERS), n=1, cutoff=0.75)), "")


def _read(name: str, where: str, value: Any, mistakes: list[str]) -> Any:
    if not _known(name):
        meant = _near(name)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(_READERS)}"
        mistakes.append(f"{where} is no setting; {hint}")
        return None
    try:
        return _READERS[name](value)
    except ValueError as error:
        mistakes.append(f"{where} {error}")
        return None


def _path(value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"must be a path, not {value!r}")
    return Path(value)


def _switch(value: Any) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError(f"must be true or false, not {value!r}")


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}")

    return read


def _address(value: Any) -> str:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise ValueError(f"must be an address such as 127.0.0.1:9469, not {value!r}")
    return f"{host}:{port}"


def _loopback(value: Any) -> str:
    """A lab may speed up clocks and answer for machines, so it must never be mistaken for the world."""
    if value == "":
        return ""
    bare = value.removeprefix("https://").removeprefix("http://").rstrip("/") if isinstance(value, str) else value
    host = _address(bare).rpartition(":")[0]
    try:
        loopback = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"must be a loopback address such as 127.0.0.1:8006, not {value!r}")
    return value.rstrip("/") if "://" in value else f"http://{bare}"


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "spec": _path,
    "worktree": _switch,
    "state_dir": _path,
    "listen": _address,
    "socket": _path,
    "log_level": _one_of("debug", "info", "warning", "error"),
    "log_format": _one_of("auto", "json", "pretty"),
    "lab": _loopback,
}
assert set(_READERS) == {field.name for field in fields(Settings)}, "each setting has a reader"
