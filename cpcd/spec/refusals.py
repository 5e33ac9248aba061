"""pydantic's errors in the words of this project, each with its place in the file and what to write instead.

A value is repeated in a message only where no secret can stand: never under a `…Ref` field.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from cpcd.spec.load import Document
from cpcd.spec.mistakes import Mistake, seen
from cpcd.spec.paths import Path, secret
from cpcd.spec.suggestions import meant, nearest

__all__ = ["refusals"]

_SAYINGS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_long": "must hold at most {max_length}, not {actual_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
}


def refusals(error: ValidationError, document: Document) -> Iterator[Mistake]:
    """Yield the mistakes that an error stands for."""
    for detail in error.errors(include_url=False):
        # pydantic adds this word where the key of a mapping is meant; the file has no such step.
        path: Path = tuple(key for key in detail["loc"] if key != "[key]")
        context = detail.get("ctx", {})
        match detail["type"]:
            case "cpcd_findings":
                for tail, message, hint in context["findings"]:
                    yield document.mistake((*path, *tail), message, hint)
            case "cpcd":
                yield document.mistake(path, _guarded(path, context["message"]), context["hint"])
            case "too_short" if detail["input"]:
                continue  # its items are wrong, and have their own mistakes
            case "extra_forbidden":
                yield document.mistake(path, "unknown key", meant(path), key=True)
            case kind:
                yield document.mistake(path, _saying(kind, detail, path), _advice(kind, detail["input"], context))


def _saying(kind: str, detail: Any, path: Path) -> str:
    known = _SAYINGS.get(kind)
    words = known.format(**detail.get("ctx", {})) if known else detail["msg"].replace("Input should", "must")
    if kind == "missing" or "too_" in kind or secret(path):
        return words
    return f"{words}, not {seen(detail['input'])}"


def _guarded(path: Path, message: str) -> str:
    return message.partition(", not ")[0] if secret(path) else message


def _advice(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    match kind, value:
        case "bool_type", str():
            return "only true and false are booleans" if value.lower() in ("yes", "no", "on", "off", "y", "n") else ""
        case "string_type", bool() | int() | float():
            return f'put it in quotes: "{seen(value)}"'
        case (("model_type" | "tuple_type" | "dict_type"), None):
            return "remove the key, or write its value"
        case "literal_error", bool():
            return f'put it in quotes: "{value}"'
        case "literal_error", str():
            near = nearest(value, [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")])
            return f"did you mean {near}?" if near else ""
    return ""
