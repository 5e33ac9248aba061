"""pydantic's errors in the words of this project, each with its place in the file and what to write instead.

A value is repeated in a message only where no secret can stand: never under a `…Ref` field.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from cpcd.spec.load import Document
from cpcd.spec.mistakes import Mistake
from cpcd.spec.paths import Path
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.schema.common import Model

__all__ = ["fields_at", "nearest", "refusals"]

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
    "too_long": "must have at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
}
_SHORT_LIST: Final = 14


def refusals(error: ValidationError, document: Document) -> Iterator[Mistake]:
    """Yield the mistakes that an error stands for."""
    for detail in error.errors(include_url=False):
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
                yield _unknown(path, document)
            case kind:
                yield document.mistake(path, _saying(kind, detail, path), _advice(kind, detail["input"], context))


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return the known word that was probably meant, or an empty text."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def fields_at(path: Path) -> dict[str, FieldInfo]:
    """Return the fields of the model at a path of the document, by the file's word; empty where there is no model."""
    model: Any = ClusterDocument
    for key in path:
        fields = _fields(model)
        model = _model(fields[key].annotation) if isinstance(key, str) and key in fields else _model(model)
    return _fields(model)


def _fields(model: Any) -> dict[str, FieldInfo]:
    if not (isinstance(model, type) and issubclass(model, Model)):
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model(annotation: Any) -> Any:
    """Return the model inside an annotation such as `tuple[Model, ...]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _unknown(path: Path, document: Document) -> Mistake:
    return document.mistake(path, "unknown key", _meant(str(path[-1]), fields_at(path[:-1])), key=True)


def _meant(key: str, known: Mapping[str, FieldInfo]) -> str:
    if meant := nearest(key, known):
        return f"did you mean {meant}?"
    if inner := [word for word, field in known.items() if key in _fields(_model(field.annotation))]:
        return f"it belongs into {inner[0]}"
    return f"known here: {', '.join(sorted(known))}" if len(known) <= _SHORT_LIST else ""


def _saying(kind: str, detail: Any, path: Path) -> str:
    known = _SAYINGS.get(kind)
    words = known.format(**detail.get("ctx", {})) if known else detail["msg"].replace("Input should", "must")
    if kind == "missing" or kind.startswith("string_too") or _secret(path):
        return words
    return f"{words}, not {_seen(detail['input'])}"


def _seen(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value[:40]}{"…" if len(value) > 40 else ""}"'
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return str(value)[:40]


def _secret(path: Path) -> bool:
    return any(isinstance(key, str) and key.endswith("Ref") for key in path)


def _guarded(path: Path, message: str) -> str:
    return message.partition(", not ")[0] if _secret(path) else message


def _advice(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    match kind, value:
        case "bool_type", str():
            return "only true and false are booleans" if value.lower() in ("yes", "no", "on", "off", "y", "n") else ""
        case "string_type", bool() | int() | float():
            return f'put it in quotes: "{_seen(value)}"'
        case (("model_type" | "tuple_type" | "dict_type"), None):
            return "remove the key, or write its value"
        case "literal_error", bool():
            return f'put it in quotes: "{value}"'
        case "literal_error", str():
            meant = nearest(value, [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")])
            return f"did you mean {meant}?" if meant else ""
    return ""
