"""The JSON schema of `cluster.yaml`, for editors and for the reference in the docs.

It is committed as `specs/cluster.schema.json` and compared with the models by a test. The sentence of each field is
the text under it in `schema`, read from the source here and nowhere else, since that costs time at start.
"""

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from cpcd.spec.paths import pattern
from cpcd.spec.schema import ClusterDocument, cluster, common, kubeadm, machine, policy, proxmox, roles, services
from cpcd.spec.schema.common import Model
from cpcd.spec.support import UNSUPPORTED, Unsupported

__all__ = ["json_schema"]

JSON = dict[str, Any]

_MODULES: Final = (common, proxmox, machine, kubeadm, roles, policy, services, cluster)


def json_schema() -> JSON:
    """Return the schema (draft 2020-12); fields that cpcd cannot act on yet say so in their description."""
    schema = ClusterDocument.model_json_schema(by_alias=True)
    for module in _MODULES:
        for owner, field, sentence in _sentences(module):
            shape = schema["$defs"].get(owner.__name__) or (schema if owner is ClusterDocument else {})
            word = owner.model_fields[field].alias
            if word in shape.get("properties", {}):
                shape["properties"][word] |= {"description": sentence, **_default(owner, field)}
    for row in UNSUPPORTED:
        _mark(schema, row)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "cpcd cluster.yaml"}


def _default(owner: type[Model], field: str) -> JSON:
    """Return a field's default in the words of the file; pydantic would show seconds and Python values."""
    if owner.model_fields[field].is_required():
        return {}
    shown = owner.model_construct().model_dump(mode="json", by_alias=True, include={field})
    return {"default": next(iter(shown.values()))}


def _sentences(module: ModuleType) -> Iterator[tuple[type[Model], str, str]]:
    """Yield (model, attribute, sentence) for every text that stands under an attribute."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef) and issubclass(getattr(module, node.name, object), Model):
            for above, below in zip(node.body, node.body[1:], strict=False):
                match above, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=field)),
                        ast.Expr(value=ast.Constant(value=str(sentence))),
                    ):
                        yield getattr(module, node.name), field, sentence


def _mark(schema: JSON, row: Unsupported) -> None:
    *parents, field = pattern(row.path)
    shape = schema
    for part in parents:
        shape = _inside(schema, shape, part)
    shape = _resolved(schema, shape)
    if field in shape.get("properties", {}):
        only = [str(value) for value in row.harmless if value]
        others = f" but {' or '.join(only)}" if only else ""
        note = f"Not supported yet{others}: {row.reason}."
        known = shape["properties"][field].get("description", "")
        if note not in known:
            shape["properties"][field]["description"] = f"{known} {note}".strip()


def _inside(schema: JSON, shape: JSON, part: str) -> JSON:
    shape = _resolved(schema, shape)
    found: JSON = shape["properties"][part] if part in shape.get("properties", {}) else shape.get("items", {})
    return found


def _resolved(schema: JSON, shape: JSON) -> JSON:
    """Follow a reference, also through `X | null`."""
    options = [option for option in shape.get("anyOf", ()) if option.get("type") != "null"]
    shape = options[0] if options else shape
    found: JSON = schema["$defs"][shape["$ref"].rpartition("/")[2]] if "$ref" in shape else shape
    return found
