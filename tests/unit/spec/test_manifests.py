"""Manifests: read as kubectl reads them, in bounds, and all mistakes with their places and never an exception."""

import pytest

from cpcd.lab.kube.kinds import BUILTIN
from cpcd.spec.manifests import MAX_DEPTH, named, read_manifest

FILE = "addons/a.yaml"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


def read(text: str) -> list[dict[str, object]]:
    """Return the objects of a file."""
    found, mistakes = read_manifest(FILE, text.encode())
    assert mistakes == []
    return [dict(one) for one in found]


def test_objects_come_in_their_order_and_empty_documents_are_skipped() -> None:
    """A leading or trailing `---` is everybody's habit."""
    found = read(f"---\n{CONFIG}---\n---\n{CONFIG.replace('name: c', 'name: d')}---\n")

    assert ["c", "d"] == [one["metadata"]["name"] for one in found]  # type: ignore[index] # a dict, as it was refused otherwise


def test_dates_stay_text_and_modes_stay_octal() -> None:
    """JSON has no dates, nor a meaning for `=`; `defaultMode: 0644` is 420 to kubectl."""
    assert {"day": "2026-01-02", "mode": 420, "on": "yes", "is": "="} == read(
        CONFIG + 'data: {day: 2026-01-02, mode: 0644, "on": "yes", is: =}\n'
    )[0]["data"]


def test_nulls_of_the_metadata_mean_nothing() -> None:
    """`labels:` with nothing below it, as templates leave it."""
    assert [{"name": "c"}] == [read(CONFIG.replace("{name: c}", "{name: c, labels: , namespace: }"))[0]["metadata"]]


def test_a_secret_in_plain_text_is_applied_as_data() -> None:
    """As the API would store it, and so that a key that is taken out goes: `stringData` has no owner there."""
    text = b'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: eA==, b: eA==}\nstringData: {b: y, c: ""}\n'

    (found,), mistakes = read_manifest("s.yaml", text)

    assert ([], {"a": "eA==", "b": "eQ==", "c": ""}) == (mistakes, found["data"])
    assert "stringData" not in found


def test_a_null_of_a_secret_is_empty_text() -> None:
    """As the API takes it (v1.35.4), and owned like every other key."""
    text = b"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\nstringData: {a: , b: x}\n"

    (found,), mistakes = read_manifest("s.yaml", text)

    assert ([], {"a": "", "b": "eA=="}) == (mistakes, found["data"])
    assert "stringData" not in found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("stringData: {password: 12345678}", "4:24: stringData.password: must be text; put it in quotes"),
        ("data: {a: eA==, password: 12345678}", "4:27: data.password: must be text; put it in quotes"),
        ("stringData: {password: [12345678]}", "4:24: stringData.password: must be text; put it in quotes"),
        ("data: {password: {12345678: x}}", "4:19: a key must be text; put the key in quotes"),
        ("data: {password: {'12345678': x}}", "4:18: data.password: must be text; put it in quotes"),
        ("stringData: '12345678'", "4:13: stringData: must be a mapping"),
        ("data: [12345678]", "4:7: data: must be a mapping"),
    ],
)
def test_what_the_api_would_repeat_of_a_secret_is_refused_without_that(written: str, said: str) -> None:
    """On v1.35.4: `.stringData.password: expected string, got &value.valueUnstructured{Value:12345}`."""
    text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{written}\n"

    found, mistakes = read_manifest(FILE, text.encode())

    assert ((), [f"{FILE}:{said}"]) == (found, [str(one) for one in mistakes])
    assert "12345678" not in str(mistakes)


def test_anchors_and_merge_keys_are_read() -> None:
    """Manifests may use them, unlike `cluster.yaml`."""
    assert {"a": 1, "b": 2} == read(CONFIG + "x: &x {a: 1}\ny: {<<: *x, b: 2}\n")[0]["y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- " * 100_000, f":1:201: is nested deeper than {MAX_DEPTH} levels"),
        (("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9))).encode(), ":1:1: holds more than 500,000 values, aliases expanded"),
        (b"a: &a [*a]\n", ":1:1: holds more than 500,000 values, aliases expanded"),
        (b"a: *b\n", ":1:4: is no YAML: found undefined alias"),
        (b"a: [1\n", ":2:1: is no YAML: did not find expected ',' or ']' (while parsing a flow sequence); is the file written to its end?"),
        (b"a:\n\tb: 1\n", ":2:1: is no YAML: found character that cannot start any token (while scanning for the next token); a tab cannot indent: use spaces"),
        (b"a: !!python/object:os.system x\n", ":1:4: the tag !!python/object:os.system is not read; JSON has no such value"),
        (b"a: !!timestamp 2026-01-01\n", ":1:4: the tag !!timestamp is not read; JSON has no such value"),
        (b"a: !!set {b}\n", ":1:4: the tag !!set is not read; JSON has no such value"),
        (b"a: !!binary AAAA\n", ":1:4: the tag !!binary is not read; JSON has no such value"),
        (b"a: !!bool maybe\n", ":1:4: is no bool that JSON has; put it in quotes"),
        (b"a: !!int {b: c}\n", ":1:4: is no YAML: expected a scalar node, but found mapping"),
        (b"a: !!map [b]\n", ":1:4: is no YAML: expected a mapping node, but found sequence"),
        (b"a: {<<: [1]}\n", ":1:10: is no YAML: expected a mapping for merging, but found scalar (while constructing a mapping)"),
        (b"a: .nan\n", ":1:4: is no float that JSON has; put it in quotes"),
        (b"a: 1.0e+400\n", ":1:4: is no float that JSON has; put it in quotes"),
        (b"a: " + b"9" * 5_000, ":1:4: is no int that JSON has; put it in quotes"),
        (b"1: a\n", ":1:1: a key must be text; put the key in quotes"),
        (b"? {a: b}\n: c\n", ":1:3: a key must be text; a template is not read: write what {{ }} renders to"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: c}\ndata:\n  a: 1\n  a: 2\n", ":6:3: a: is written twice, first in line 5; keep one of them"),
        (b"apiVersion: v1\nkind: List\nitems: [5]\n", ":3:9: items[0]: must be a Kubernetes object, not 5; a mapping with apiVersion, kind and metadata"),
        (b"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A}]\n", ":3:9: items[0].metadata.name: is missing; an object has apiVersion, kind and metadata.name"),
        (b"apiVersion: v1\nkind: List\nitems: {a: b}\n", ":3:8: items: must be the List's objects, not a mapping"),
        (b"apiVersion: v1\nkind: List\n", ":1:1: items: must be the List's objects, not null"),
        (b"apiVersion: v1\nkind: ConfigMapList\nitems: []\n", ": holds no object; take it out of the spec if that is meant"),
        (b"!!str {a: b}: c\n", ":1:1: a key must be text; a template is not read: write what {{ }} renders to"),
        (b"apiVersion: v1\n{{ if .a }}\nkind: A\n{{ end }}\n", ":3:1: is no YAML: could not find expected ':' (while scanning a simple key); a template is not read: write what {{ }} renders to"),
        (b"a: b\n# {{\nc: {{ .d }}-e\n", ":3:12: is no YAML: did not find expected key (while parsing a block mapping); a template is not read: write what {{ }} renders to"),
        (b"{{ if .a }}\n\nkind: A\n{{ end }}\n", ":3:1: is no YAML: did not find expected <document start>; a template is not read: write what {{ }} renders to"),
        (b"{{- if .c }}\na: b\n{{- end }}\n", ":1:3: is no YAML: did not find expected node content (while parsing a flow node); a template is not read: write what {{ }} renders to"),
        (b"a: b\n{{ end }}\n", ":3:1: is no YAML: could not find expected ':' (while scanning a simple key); a template is not read: write what {{ }} renders to"),
        (b"{% if a %}\n", ":1:2: is no YAML: found character that cannot start any token (while scanning for the next token); a template is not read: write what {{ }} renders to"),
        (b"a: '{{ b }}' c\n", ":1:14: is no YAML: did not find expected key (while parsing a block mapping)"),
        (b"a: b # {{ c }}\n d: e\n", ":2:2: is no YAML: did not find expected key (while parsing a block mapping)"),
        (b"metadata: {name: {{ .Release.Name }}}\n", ":1:19: a key must be text; a template is not read: write what {{ }} renders to"),
        (b"\xff\xfe\x00", ":1:1: is not UTF-8: byte 0xff; save it as UTF-8"),
        (b"a: \0\n", ":1:4: holds a NUL byte: this is no text file"),
        (b"# nothing\n", ": holds no object; take it out of the spec if that is meant"),
        (b"- a\n", ":1:1: must be a Kubernetes object, not a list; a mapping with apiVersion, kind and metadata"),
        (b"apiVersion: v1\nkind: 7\nmetadata: {name: c}\n", ":2:7: kind: must be text, not 7"),
        (b"apiVersion: v1\nkind: A\n", ":1:1: metadata.name: is missing; an object has apiVersion, kind and metadata.name"),
        (b"apiVersion: v1\nkind: A\nmetadata: [c]\n", ":3:11: metadata: must be a mapping, not a list"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: c, labels: [a]}\n", ":3:29: metadata.labels: must be a mapping, not a list"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: ..}\n", ':3:18: metadata.name: ".." is no name; it is part of the object\'s path: no /, no %'),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: c/d}\n", ':3:32: metadata.namespace: "c/d" is no name; it is part of the object\'s path: no /, no %'),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: c, namespace: 3}\n", ":3:32: metadata.namespace: must be text, not 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused_with_its_place(content: bytes, said: str) -> None:
    """Also what would take the daemon with it: libyaml's composer dies of a hundred thousand brackets."""
    found, mistakes = read_manifest(FILE, content)

    assert ((), [f"{FILE}{said}"]) == (found, [str(mistake) for mistake in mistakes])


def test_every_bad_document_of_a_file_is_told() -> None:
    """One does not hide the next, and a good one is no mistake."""
    text = f"kind: A\n---\n{CONFIG}---\napiVersion: v1\nkind: B\nmetadata: {{name: b}}\nx: .nan\n"

    assert [f"{FILE}:{said}" for said in (
        "1:1: apiVersion: is missing; an object has apiVersion, kind and metadata.name",
        "1:1: metadata.name: is missing; an object has apiVersion, kind and metadata.name",
        "10:4: is no float that JSON has; put it in quotes",
    )] == [str(mistake) for mistake in read_manifest(FILE, text.encode())[1]]  # fmt: skip


@pytest.mark.parametrize("deep", [200, 5_000, 100_000])
def test_brackets_without_end_are_nested_too_deep(deep: int) -> None:
    """In one line libyaml reads ahead, and may be the first to give up; sentence and place are the same."""
    (said,) = read_manifest(FILE, b"[" * deep)[1]

    assert f"{FILE}:1:101: is nested deeper than {MAX_DEPTH} levels" == str(said)


def test_the_items_of_a_list_are_objects_of_their_own() -> None:
    """As kubectl applies them; an item of a typed list need not say what it is, and lists may hold lists."""
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMapList\n  items:\n"
        "  - metadata: {name: a}\n  - apiVersion: v1\n    kind: Secret\n    metadata: {name: b}\n    stringData: {c: d}\n"
    )
    found, mistakes = read_manifest(FILE, text.encode())

    assert [] == mistakes
    assert ["ConfigMap a", "Secret b"] == [named(one) for one in found]
    assert {"c": "ZA=="} == found[1]["data"]


def test_an_object_in_a_list_and_beside_it_is_there_twice() -> None:
    """The place is that of the second."""
    text = "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: extra}}, {metadata: {name: extra}}]\n"
    (said,) = read_manifest(FILE, text.encode())[1]

    assert (
        f"{FILE}:3:54: items[1].metadata.name: ConfigMap extra is there twice, first in line 3; keep one of them"
        == str(said)
    )


def test_a_kind_whose_name_ends_in_list_is_an_object() -> None:
    """Only what has items is a list."""
    found, mistakes = read_manifest(FILE, b"apiVersion: a.example/v1\nkind: AllowList\nmetadata: {name: a}\n")

    assert (["AllowList.a.example a"], []) == ([named(one) for one in found], mistakes)


def test_a_namespace_counts_where_the_kind_has_any() -> None:
    """As the API serves the kinds that the lab models (compared with a real one in `contract/test_kube_port.py`)."""
    given = {row.kind: {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "a", "namespace": "x"}}
             for row in BUILTIN.values()}  # fmt: skip

    assert {kind: named(one).endswith(" x/a") for kind, one in given.items()} == {
        row.kind: row.namespaced for row in BUILTIN.values()
    }
