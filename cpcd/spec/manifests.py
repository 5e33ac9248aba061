"""Manifests: the files that addons refer to, as Kubernetes objects of plain JSON.

They are written for kubectl, so that YAML 1.1 is read here as it reads it, timestamps as text. They must never be read
without limits: libyaml's composer overflows the stack of the whole daemon, and a kilobyte of aliases can mean billions.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent

from cpcd.model.errors import Code, Failure

__all__ = ["MAX_DEPTH", "MAX_VALUES", "objects"]

MAX_DEPTH: Final = 100  # an API server reads no deeper; libyaml's composer dies at some ten thousand
MAX_VALUES: Final = 500_000  # ten times the largest bundles of custom resource definitions
_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"  # libyaml says it first from 0.2.6 on, of 1,000
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


def objects(cluster: str, name: str, content: bytes) -> list[Mapping[str, Any]]:
    """Return the objects of a file in their order; raises Failure(InvalidSpec) that names it, whatever the bytes are.

    An emptied file is refused: it never means that everything shall be deleted.
    """
    try:
        _bounded(content)
        documents = [one for one in yaml.load_all(content, Loader=_Loader) if one is not None]
        for document in documents:
            _plain(document)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:  # the last: of odd tags
        said = _DEEP if "nesting depth" in str(error) else " ".join(str(error).split())[:300]
        raise Failure(Code.CONFIG, f"{name} is no YAML of Kubernetes objects: {said}", target=cluster) from error
    if not documents:
        raise Failure(Code.CONFIG, f"{name} holds no object; take it out of the spec if that is meant", target=cluster)
    if not all(map(_named, documents)):
        what = f"{name} holds a document without apiVersion, kind and metadata.name, or with labels that are no mapping"
        raise Failure(Code.CONFIG, what, target=cluster)
    return [{**document, "metadata": _written(document["metadata"])} for document in documents]


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 less its timestamps: JSON has none, and kubectl leaves them text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != _TIMESTAMP]
    for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _bounded(content: bytes) -> None:
    """Read the events alone, which takes no stack, before anything is built of them."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CSafeLoader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(_DEEP)


def _plain(document: Any) -> None:
    """Raise ValueError for what JSON has not, aliases expanded."""
    left, waiting = MAX_VALUES, [document]
    while waiting:
        value = waiting.pop()
        left -= 1
        if left < 0:
            raise ValueError(f"more than {MAX_VALUES:,} values, aliases expanded")
        match value:
            case dict() if all(isinstance(key, str) for key in value):
                waiting.extend(value.values())
            case list():
                waiting.extend(value)
            case dict():
                raise ValueError("a key that is no text; put it in quotes")
            case float() if not math.isfinite(value):
                raise ValueError("a number that is none; put it in quotes")
            case str() | int() | float() | None:  # a bool is an int
                pass
            case other:
                raise ValueError(f"a {type(other).__name__}, which JSON has not")


def _named(document: Any) -> bool:
    """Whether what cpcd itself reads of an object is there and of its shape."""
    match document:
        case {"apiVersion": str(version), "kind": str(kind), "metadata": {"name": str(name), **_rest} as metadata}:
            own = _written(metadata)
            placed = isinstance(own.get("namespace", ""), str) and isinstance(own.get("labels", {}), dict)
            return bool(version and kind and name) and placed
        case _:
            return False


def _written(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """Return metadata without its nulls, which mean nothing to kubectl either (`labels:` with nothing below it)."""
    return {key: value for key, value in metadata.items() if value is not None}
