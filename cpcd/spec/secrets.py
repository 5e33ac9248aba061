"""Secrets: named in the file by reference, read when they are used, never shown.

A reference is what the spec, the plan and the ledger hold. `Secret` wraps what was read and prints as stars; its value
goes only into the request that needs it. Reading is the caller's: this module opens nothing.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from cpcd.model.errors import Code, Failure

if TYPE_CHECKING:
    from cpcd.model.desired import SecretRef

__all__ = ["Secret", "resolve"]

_STARS: Final = "**********"


class Secret:
    """A value that prints as stars, is not pickled, and is taken out only by `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; never put it into argv, an environment, a log or an error."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_STARS})"

    def __str__(self) -> str:
        return _STARS

    def __format__(self, spec: str) -> str:
        return format(_STARS, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")


def resolve(
    ref: "SecretRef", read: Callable[[str], bytes], environment: Mapping[str, str], *, target: str = ""
) -> Secret:
    """Return what a reference names, less surrounding white space.

    `file` is a path, `systemdCredential` a name under `$CREDENTIALS_DIRECTORY`, `env` a variable. Raises Failure with
    Code.AUTH, naming the reference and never the value, when it is absent, unreadable, no text or empty.
    """
    # Editors end a file with a line break, which no header of a request may hold.
    text = _read(ref, read, environment, target).strip()
    if not text:
        raise _refusal(ref, "is empty", target)
    return Secret(text)


def _read(ref: "SecretRef", read: Callable[[str], bytes], environment: Mapping[str, str], target: str) -> str:
    if ref.kind == "env":
        return environment.get(ref.name, "")
    try:
        return read(_path(ref, environment, target)).decode("utf-8")
    except OSError as error:
        raise _refusal(ref, f"cannot be read: {error.strerror or type(error).__name__}", target) from error
    except UnicodeDecodeError:
        raise _refusal(ref, "is not UTF-8 text", target) from None  # the error would carry the bytes


def _path(ref: "SecretRef", environment: Mapping[str, str], target: str) -> str:
    if ref.kind == "file":
        return ref.name
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        raise _refusal(ref, "is not there: cpcd was not started by systemd with LoadCredential=", target)
    return f"{directory}/{ref.name}"


def _refusal(ref: "SecretRef", what: str, target: str) -> Failure:
    hint = "Provide the secret where the spec says it is kept."
    return Failure(Code.AUTH, f"secret {ref.kind} {ref.name} {what}", target=target, hint=hint)
