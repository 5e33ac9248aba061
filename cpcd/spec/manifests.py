"""Manifests: the files that addons refer to, as Kubernetes objects of plain JSON, or all their mistakes with places.

A mistake repeats no value that an object could keep secret. They are written for kubectl, so that YAML 1.1 is read here as it reads it, timestamps as text. They must never be read
without limits: libyaml's composer overflows the stack of the whole daemon, and a kilobyte of aliases can mean billions.
"""

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent

from cpcd.spec.load import NO_TEMPLATE, Mark, decoded, syntax
from cpcd.spec.mistakes import MOST, Mistake, seen
from cpcd.spec.paths import Path, show

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Object", "named", "read_manifest"]

Object = Mapping[str, Any]

MAX_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 100  # an API server reads no deeper; libyaml's composer dies at some ten thousand
MAX_VALUES: Final = 500_000  # ten times the largest bundles of custom resource definitions
_TAG: Final = "tag:yaml.org,2002:"
_JSON: Final = frozenset(f"{_TAG}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge"))
_TEXT: Final = frozenset((f"{_TAG}str", f"{_TAG}merge"))
_STAYS_TEXT: Final = frozenset((f"{_TAG}timestamp", f"{_TAG}value"))

# Kubernetes' own kinds without namespaces: `+genclient:nonNamespaced` in k8s.io/api v0.35.4, and the two that extend it.
_CLUSTER_SCOPED: Final = frozenset(
    f"{kind}.{group}" if group else kind
    for group, kinds in {
        "": "Namespace Node PersistentVolume",
        "admissionregistration.k8s.io": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
        " MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
        " ValidatingWebhookConfiguration",
        "apiextensions.k8s.io": "CustomResourceDefinition",
        "apiregistration.k8s.io": "APIService",
        "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle",
        "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
        "networking.k8s.io": "IPAddress IngressClass ServiceCIDR",
        "node.k8s.io": "RuntimeClass",
        "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding",
        "resource.k8s.io": "DeviceClass DeviceTaintRule ResourceSlice",
        "scheduling.k8s.io": "PriorityClass",
        "storage.k8s.io": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
        "storagemigration.k8s.io": "StorageVersionMigration",
    }.items()
    for kind in kinds.split()
)


def read_manifest(file: str, content: bytes) -> tuple[tuple[Object, ...], list[Mistake]]:
    """Return the objects of a file in their order, and its mistakes; never raises, whatever the bytes are.

    An emptied file is a mistake: it never means that everything shall be deleted.
    """
    text = decoded(file, content, most=MAX_BYTES)
    if isinstance(text, Mistake):
        return (), [text]
    reader = _Reader(file)
    found = tuple(reader.objects(text))
    if not found and not reader.mistakes:
        hint = "take it out of the spec if that is meant"
        reader.mistakes.append(Mistake(file, 0, 0, "", "holds no object", hint))
    return found, reader.mistakes


def named(found: Object) -> str:
    """Return what an object is told apart by: kind, group, namespace and name, as `Kind.group namespace/name`.

    Without a namespace it goes into `default`, if its kind has namespaces at all: of Kubernetes' own that is known here,
    of custom resources only to the API (`AddonSeen.doubled`).
    """
    group, metadata = found["apiVersion"].rpartition("/")[0], found["metadata"]
    kind = f"{found['kind']}.{group}" if group else found["kind"]
    space = "" if kind in _CLUSTER_SCOPED else metadata.get("namespace") or "default"
    return f"{kind} {metadata['name']}" if space in {"", "default"} else f"{kind} {space}/{metadata['name']}"


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 less its timestamps and its `=`: JSON has neither, and kubectl leaves them text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in _STAYS_TEXT]
    for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class _Reader:
    """Reads one file document by document, so that one bad document hides no other."""

    def __init__(self, file: str) -> None:
        self.mistakes: list[Mistake] = []
        self._file = file
        self._lines: dict[str, int] = {}

    def objects(self, text: str) -> Iterator[Object]:
        try:
            if not self._bounded(text):
                return
            loader = _Loader(text)
            # Document by document, as they are read: what stands before a syntax error is told beside it.
            while (
                len(self.mistakes) <= MOST and (node := loader.get_node() if loader.check_node() else None) is not None
            ):
                yield from self._document(loader, node)
        except yaml.YAMLError as error:
            self.mistakes.append(syntax(self._file, text, error, deepest=MAX_DEPTH, within=MAX_DEPTH))

    def _bounded(self, text: str) -> bool:
        """Read the events alone, which takes no stack, before anything is built of them."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                self._wrong(event, (), f"is nested deeper than {MAX_DEPTH} levels")
                return False
        return True

    def _document(self, loader: _Loader, node: yaml.Node) -> Iterator[Object]:
        before = len(self.mistakes)
        self._plain(loader, node)
        # What was objected to is not built: the constructor would raise for it, and end the file there.
        document = loader.construct_document(node) if len(self.mistakes) == before else None
        if document is not None:
            yield from self._items(document, node, ())

    def _items(self, document: Any, root: yaml.Node, here: Path) -> Iterator[Object]:
        """Yield an object, or each that a List holds, which kubectl applies one by one too."""
        if not _is_list(document):
            yield from self._object(document, root, here)
        elif not isinstance(items := document.get("items"), list):
            path = (*here, "items")
            self._wrong(_nearest(root, path), path, f"must be the {document['kind']}'s objects, not {seen(items)}")
        else:
            for at, item in enumerate(items):
                if len(self.mistakes) <= MOST:
                    yield from self._items(_typed(item, document), root, (*here, "items", at))

    def _object(self, document: Any, root: yaml.Node, here: Path) -> Iterator[Object]:
        before = len(self.mistakes)
        for path, message, hint in _unfit(document):
            self._wrong(_nearest(root, (*here, *path)), (*here, *path), message, hint)
        if len(self.mistakes) == before:
            found = _encoded({**document, "metadata": _written(document["metadata"])})
            self._once(found, root, (*here, "metadata", "name"))
            yield found

    def _once(self, found: Object, root: yaml.Node, path: Path) -> None:
        """Of an object that is there twice, one would be applied over the other at every look."""
        name, node = named(found), _nearest(root, path)
        if name in self._lines:
            why = f"{name} is there twice, first in line {self._lines[name]}"
            self._wrong(node, path, why, "keep one of them")
        # The first place stays: a third one is told of it too.
        self._lines.setdefault(name, node.start_mark.line + 1)

    def _plain(self, loader: _Loader, root: yaml.Node) -> None:
        """Note what JSON has not, aliases expanded; what is left can be built."""
        left, waiting = MAX_VALUES, [root]
        while waiting and len(self.mistakes) <= MOST:
            left -= 1
            if left < 0:
                self._wrong(root, (), f"holds more than {MAX_VALUES:,} values, aliases expanded")
                return
            waiting.extend(self._within(loader, waiting.pop()))

    def _within(self, loader: _Loader, node: yaml.Node) -> Sequence[yaml.Node]:
        """Note what is wrong with one value itself, and return the values that stand in it."""
        if node.tag not in _JSON:
            self._wrong(node, (), f"the tag {node.tag.replace(_TAG, '!!')} is not read", "JSON has no such value")
        elif isinstance(node, yaml.MappingNode):
            self._keys([key for key, _ in node.value])
            return [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            return list(node.value)
        elif node.tag not in _TEXT and not _built(loader, node):
            self._wrong(node, (), f"is no {node.tag.removeprefix(_TAG)} that JSON has", "put it in quotes")
        return ()

    def _keys(self, keys: Sequence[yaml.Node]) -> None:
        # Before anything is built: in what is built the last of two would have taken the place of the first, unseen.
        lines: dict[str, int] = {}
        for key in keys:
            hint = NO_TEMPLATE if isinstance(key, yaml.MappingNode) else "put the key in quotes"
            if key.tag not in _TEXT or not isinstance(key, yaml.ScalarNode):
                self._wrong(key, (), "a key must be text", hint)
            elif key.value in lines:
                self._wrong(
                    key, (key.value,), f"is written twice, first in line {lines[key.value]}", "keep one of them"
                )
            else:
                lines[key.value] = key.start_mark.line + 1

    def _wrong(self, node: yaml.Node | yaml.Event, path: Path, message: str, hint: str = "") -> None:
        assert node.start_mark is not None, "the parser marks everything"
        place = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        self.mistakes.append(Mistake(self._file, *place, show(path), message, hint))


def _built(loader: _Loader, node: yaml.Node) -> bool:
    """Whether a number, boolean or null is one, and one that JSON has."""
    try:
        value = loader.construct_object(node)
    except (ValueError, LookupError, yaml.YAMLError):  # a tag that lies, or more digits than int() takes
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _is_list(document: Any) -> bool:
    """Whether it is a List, or one of a kind, such as RoleBindingList: what has no `items` is an object by itself."""
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind == "List" or (isinstance(kind, str) and kind.endswith("List") and "items" in document)


def _typed(item: Any, whole: Object) -> Any:
    """Return an item as kubectl reads it: one that does not say what it is is what the list is of."""
    if whole["kind"] == "List" or not isinstance(item, dict) or {"apiVersion", "kind"} & item.keys():
        return item
    return {"apiVersion": whole.get("apiVersion"), "kind": whole["kind"].removesuffix("List"), **item}


def _unfit(document: Any) -> Iterator[tuple[Path, str, str]]:
    """Yield (path, what is wrong, hint) for what cpcd itself reads of an object."""
    if not isinstance(document, dict):
        yield (), f"must be a Kubernetes object, not {seen(document)}", "a mapping with apiVersion, kind and metadata"
        return
    for key in ("apiVersion", "kind"):
        yield from _worded((key,), document.get(key))
    metadata = document.get("metadata")
    if isinstance(metadata, dict | None):
        yield from _misnamed(_written(metadata or {}))
    else:
        yield ("metadata",), f"must be a mapping, not {seen(metadata)}", ""
    if _is_secret(document):
        yield from _repeated(document)


def _repeated(secret: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """What the API would refuse in words that repeat it: `expected string, got …{Value:12345}` (seen on v1.35.4)."""
    for part in ("data", "stringData"):
        values = secret.get(part)
        if not isinstance(values, dict | None):
            yield (part,), "must be a mapping", ""
            continue
        for key, value in (values or {}).items():
            if not isinstance(value, str | None):
                yield (part, key), "must be text", "put it in quotes"


def _misnamed(own: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    yield from _worded(("metadata", "name"), own.get("name"))
    if not isinstance(own.get("namespace", ""), str):
        yield from _worded(("metadata", "namespace"), own["namespace"])
    for key in ("name", "namespace"):
        if isinstance(value := own.get(key), str) and (value in (".", "..") or {"/", "%"} & set(value)):
            yield ("metadata", key), f"{seen(value)} is no name", "it is part of the object's path: no /, no %"
    if not isinstance(own.get("labels", {}), dict):
        yield ("metadata", "labels"), f"must be a mapping, not {seen(own['labels'])}", ""


def _worded(path: Path, value: Any) -> Iterator[tuple[Path, str, str]]:
    if value is None:
        yield path, "is missing", "an object has apiVersion, kind and metadata.name"
    elif not (isinstance(value, str) and value):
        yield path, f"must be text, not {seen(value)}", ""


def _nearest(node: yaml.Node, path: Path) -> yaml.Node:
    """Return what stands at a path, or the last thing on the way that is there."""
    for key in path:
        if isinstance(key, int) and isinstance(node, yaml.SequenceNode):
            node = node.value[key]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == key), node)
        else:
            return node
    return node


def _encoded(found: dict[str, Any]) -> dict[str, Any]:
    """Return a Secret with its `stringData` in `data`, where the API itself puts it.

    Nobody owns what came through the first: a key taken out of it stays at the API for ever (seen on v1.35.4).
    """
    plain = found.get("stringData")
    if not _is_secret(found) or plain is None:
        return found
    # A null is empty text to the API (seen on v1.35.4).
    data = {key: base64.b64encode((value or "").encode()).decode() for key, value in plain.items()}
    # What stands in both is that of `stringData`, as at the API (Kubernetes: Secret v1).
    return {key: value for key, value in found.items() if key != "stringData"} | {
        "data": (found.get("data") or {}) | data
    }


def _is_secret(document: Mapping[str, Any]) -> bool:
    return (document.get("apiVersion"), document.get("kind")) == ("v1", "Secret")


def _written(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """Return metadata without its nulls, which mean nothing to kubectl either (`labels:` with nothing below it)."""
    return {key: value for key, value in metadata.items() if value is not None}
