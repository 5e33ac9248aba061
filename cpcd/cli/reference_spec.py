"""The page about cluster.yaml, made from the JSON schema that the spec's models give.

One section for each kind of mapping, in the order in which a reader of the file meets them.
"""

import json
from typing import Any, Final

__all__ = ["cluster_yaml"]

JSON = dict[str, Any]
_PREFIX: Final = "#/$defs/"
_HEAD: Final = """# cluster.yaml

Every field, its type, its default and what it does. An unknown field is a mistake, and so is a field that cpcd cannot
act on yet: its line says "Not supported yet". `cpcd validate --show-defaults` prints the whole effective file;
`cpcd schema` prints the JSON schema that this page is made from, for your editor.
"""


def cluster_yaml() -> str:
    """Return the page as Markdown."""
    from cpcd.spec import json_schema

    schema = json_schema()
    parts = [_HEAD]
    for path, shape in _sections(schema):
        described = shape.get("description", "").strip()
        parts.append(f"\n## {path or 'the document'}\n\n" + (f"{described}\n\n" if described else "") + _fields(shape))
    return "".join(parts)


def _sections(schema: JSON) -> list[tuple[str, JSON]]:
    """Return (path of first appearance, shape) of every mapping, in depth first, each once."""
    found: dict[str, tuple[str, JSON]] = {}

    def visit(path: str, name: str, shape: JSON) -> None:
        if name in found or "properties" not in shape:
            return  # a value such as a duration has no fields of its own
        found[name] = (path, shape)
        for field, inner in shape["properties"].items():
            for inside, suffix in _references(inner):
                visit(f"{path}.{field}{suffix}".lstrip("."), inside, schema["$defs"][inside])

    visit("", "", schema)
    return list(found.values())


def _references(shape: JSON) -> list[tuple[str, str]]:
    """Return (definition, what the path gains) of every definition that a field leads to."""
    if "$ref" in shape:
        return [(shape["$ref"].removeprefix(_PREFIX), "")]
    options: list[JSON] = shape.get("anyOf") or shape.get("allOf") or []
    direct = [pair for option in options for pair in _references(option)]
    listed = [(name, f"[]{more}") for name, more in _below(shape, "items")]
    return [*direct, *listed, *((name, f".*{more}") for name, more in _below(shape, "additionalProperties"))]


def _below(shape: JSON, word: str) -> list[tuple[str, str]]:
    inner = shape.get(word)
    return _references(inner) if isinstance(inner, dict) else []


def _fields(shape: JSON) -> str:
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for field, inner in shape["properties"].items():
        default = "required" if field in shape.get("required", ()) else _default(inner)
        cells = (f"`{field}`", _type(inner), default, inner.get("description", "").replace("\n", " "))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _default(shape: JSON) -> str:
    if "default" not in shape or shape["default"] is None:
        return ""
    text = json.dumps(shape["default"], ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see there"


def _type(shape: JSON) -> str:
    match shape:
        case {"$ref": str(name)}:
            told = name.removeprefix(_PREFIX)
        case {"const": value}:
            told = f"`{value}`"
        case {"enum": list(values)}:
            told = ", ".join(f"`{value}`" for value in values)
        case {"anyOf": list(options)} | {"allOf": list(options)}:
            told = " or ".join(_type(option) for option in options if option.get("type") != "null")
        case {"type": "array", "items": dict(items)}:
            told = f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            told = f"map of {_type(values)}"
        case _:
            told = _plain(shape)
    return told


def _plain(shape: JSON) -> str:
    bounds = [f"{word} {shape[name]}" for word, name in (("≥", "minimum"), ("≤", "maximum")) if name in shape]
    return " ".join([str(shape.get("type", "any")), *bounds])
