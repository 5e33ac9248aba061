"""The YAML loader: strict scalars, limits, marks, and never an exception."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcd.spec.load import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_VALUES, Mark, load


def value_of(text: str) -> object:
    """Return the one document of a file without mistakes."""
    documents, mistakes = load("cluster.yaml", text.encode())
    assert mistakes == []
    return documents[0].value


def words_of(content: bytes) -> list[str]:
    """Return the mistakes of a file as people see them."""
    return [str(mistake) for mistake in load("cluster.yaml", content)[1]]


@pytest.mark.parametrize(
    "text",
    ["no", "on", "off", "yes", "y", "0o17", "0x1F", "1_000", "12:30", "12:30:45", "2026-11-24", "1.2.3", "=", "0b1"],
)
def test_yaml_1_1_surprises_stay_text(text: str) -> None:
    """What YAML 1.1 would turn into booleans, octals, sexagesimals or dates stays what was typed."""
    assert {"key": text} == value_of(f"key: {text}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("7", 7), ("-12", -12), ("+3", 3),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-.inf", -math.inf), ('"7"', "7"), ("'true'", "true"),
        ("9" * 30, "9" * 30),
    ],
)  # fmt: skip
def test_core_scalars_have_their_yaml_1_2_meaning(text: str, expected: object) -> None:
    """Numbers, booleans and null are those of the YAML 1.2 core schema; quotes always mean text."""
    assert {"key": expected} == value_of(f"key: {text}")


def test_nan_is_a_number() -> None:
    """`.nan` is the one scalar that equals nothing, so it has a test of its own."""
    assert math.isnan(value_of("key: .nan")["key"])  # type: ignore[index]  # a dict, as the other tests show


def test_every_value_and_key_has_its_place() -> None:
    """Lines and columns count from 1 and are kept for values and keys of all depths."""
    document = load("cluster.yaml", b"a:\n  - b: 1\n    c: [2, 3]\n")[0][0]

    assert Mark(2, 8) == document.mark(("a", 0, "b"))
    assert Mark(3, 12) == document.mark(("a", 0, "c", 1))
    assert Mark(3, 5) == document.mark(("a", 0, "c"), key=True)
    assert Mark(1, 1) == document.mark(("a", "absent"))


def test_columns_count_characters_not_bytes() -> None:
    """A mistake behind a non-ASCII letter is where an editor shows it."""
    assert Mark(1, 10) == load("cluster.yaml", 'é: ["ü", 1]\n'.encode())[0][0].mark(("é", 1))


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Editors of one system put it there."""
    assert value_of("\ufeffa: 1") == {"a": 1}


def test_aliases_repeat_their_anchor() -> None:
    """`&machine` and `*machine` are the way not to repeat oneself."""
    assert value_of("a: &machine {b: [1]}\nc: *machine\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_several_documents_are_kept_apart() -> None:
    """Each document has marks of its own that count from the start of the file."""
    documents, mistakes = load("cluster.yaml", b"a: 1\n---\na: 2\n")

    assert ([document.value for document in documents], mistakes) == ([{"a": 1}, {"a": 2}], [])
    assert Mark(3, 4) == documents[1].mark(("a",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "cluster.yaml: is empty; an empty file never means: delete everything"),
        (b"# only a comment\n", "cluster.yaml: is empty; an empty file never means: delete everything"),
        (b"---\n", "cluster.yaml:1:1: this document is empty; remove the extra `---`"),
        (b"a: 1\n---\n", "cluster.yaml:2:1: this document is empty; remove the extra `---`"),
        (b"a: \xff\n", "cluster.yaml:1:4: is not UTF-8: byte 0xff; save it as UTF-8"),
        (b"a: 1\nb: \0\n", "cluster.yaml:2:4: holds a NUL byte: this is no text file"),
        (b"a: 1\nb: \x01\n", "cluster.yaml:2:4: is no YAML: control characters are not allowed"),
        (b"a: 1\nb: 2\na: 3\n", "cluster.yaml:3:1: a: is written twice, first in line 1; keep one of them"),
        (b"1: a\n", "cluster.yaml:1:1: a key must be text, not 1; put the key in quotes"),
        (b"? [a]\n: b\n", "cluster.yaml:1:3: a key must be text"),
        (b"a: {{ b }}\n", "cluster.yaml:1:5: a: a key must be text; a template is not read: write what {{ }} renders to"),
        (b"a: !secret x\n", "cluster.yaml:1:4: a: the tag !secret is not read; quote the value to make it text"),
        (
            b"<<: {a: 1}\n",
            "cluster.yaml:1:1: merge keys (<<) are not read; `machine` already overrides machineDefaults",
        ),
        (b"a: *b\n", "cluster.yaml:1:4: a: *b has no finished anchor &b before it"),
        (b"a: &a [*a]\n", "cluster.yaml:1:8: a[0]: *a has no finished anchor &a before it"),
        (b"- " * 100_000, f"cluster.yaml:1:131: [0][0][0][0]: is nested deeper than {MAX_DEPTH} levels"),
        (b"x" * (MAX_BYTES + 1), "cluster.yaml: is 1,024 KiB; at most 1,024 KiB are read"),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_their_place(content: bytes, expected: str) -> None:
    """Each way to break a file has its sentence, its line and its column."""
    assert [expected] == words_of(content)


@pytest.mark.parametrize("deep", [100, 5_000, 100_000])
def test_brackets_without_end_are_nested_too_deep(deep: int) -> None:
    """In one line libyaml reads ahead, and may be the first to give up; sentence and place are the same."""
    (said,) = words_of(b"\xc3\xa9: 1\na: " + b"[" * deep)

    assert said.startswith("cluster.yaml:2:68: ")
    assert said.endswith(f"is nested deeper than {MAX_DEPTH} levels")


def test_a_tab_is_called_a_tab() -> None:
    """Libyaml says "cannot start any token"; people need to hear about the tab."""
    said = words_of(b"a:\n\tb: 1\n")

    assert [said[0][:16], said[0].rpartition("; ")[2]] == ["cluster.yaml:2:1", "a tab cannot indent: use spaces"]


def test_a_half_written_file_is_recognised() -> None:
    """An editor that saves in two steps leaves this for a moment (`failures.md` F08)."""
    said = words_of(b"spec: {version: v1.34.2, infra")

    assert said[0].rpartition("; ")[2] == "is the file written to its end?"


def test_documents_before_a_syntax_error_are_returned() -> None:
    """So that their own mistakes are listed too."""
    documents, mistakes = load("cluster.yaml", b"a: 1\n---\nb: [\n")

    assert ([document.value for document in documents], len(mistakes)) == ([{"a": 1}], 1)


def test_an_anchor_bomb_is_refused_quickly() -> None:
    """A billion laughs are counted as they would expand, not laughed."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]

    said = words_of("\n".join(lines).encode())

    assert f"holds more than {MAX_VALUES:,} values, aliases expanded" == said[0].split(": ", 2)[2]


def test_aliases_to_excess_are_refused() -> None:
    """A hundred uses are a file that a person wrote; more are not."""
    said = words_of(("a: &a 1\nb: [" + "*a, " * (MAX_ALIASES + 1) + "]").encode())

    assert f"more than {MAX_ALIASES} aliases; write the values out" == said[0].split(": ", 2)[2]


def test_all_mistakes_of_a_file_are_listed() -> None:
    """Recoverable mistakes do not hide each other."""
    assert len(words_of(b"a: 1\na: 2\nb: !x 1\nc: *d\n")) == 3


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_bytes_raise(content: bytes) -> None:
    """Whatever the bytes are, there are documents or mistakes, and both have places in the file."""
    documents, mistakes = load("cluster.yaml", content)

    assert documents or mistakes
    assert all(mark.line >= 1 and mark.column >= 1 for document in documents for mark in document.values.values())


@given(st.text(alphabet="ab:-?,[]{}&*!|>'\"%@#~<\t \n\\1.", max_size=60))
def test_no_punctuation_raises(text: str) -> None:
    """YAML's own punctuation in every order, which plain random text rarely hits."""
    documents, mistakes = load("cluster.yaml", text.encode())

    assert documents or mistakes


JSON_TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Co", "Cn"]), max_size=8)


@given(
    st.dictionaries(
        JSON_TEXT,
        st.recursive(
            st.none() | st.booleans() | st.integers(-(10**17), 10**17) | JSON_TEXT,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3),
            max_leaves=8,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_json_means_the_same(value: dict[str, object]) -> None:
    """YAML 1.2 is a superset of JSON: what json writes is read back as it was."""
    import json

    text = json.dumps(value, ensure_ascii=False)

    assert ([value], []) == ([d.value for d in load("c", text.encode())[0]], load("c", text.encode())[1])
