"""What others answer: JSON as it is defined, and words that can be shown and stored."""

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcd.adapters.answers import parse, part, reason, words

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_what_json_writes_is_read_as_it_was(tree: Any) -> None:
    """Escaped or not, surrogate pairs included."""
    assert [tree, tree] == [parse(json.dumps(tree, ensure_ascii=ascii_).encode()) for ascii_ in (True, False)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"{", b'{"a": NaN}', b"[Infinity]", b"-Infinity", b"1e999", b'"\\ud800"', b'"\\uDFFF x"', b"\xff",
        b"[" * 100_000, b'{"a":' * 100_000, '{"a": 1}'.encode("utf-16"), b'"\xed\xa0\x80"', b"9" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_value_error_and_nothing_else(body: bytes) -> None:
    """Also what Python would read: NaN, half characters, UTF-16; and what would end its recursion."""
    with pytest.raises(ValueError):
        parse(body)


def test_what_nobody_needs_is_left_out_while_it_is_read() -> None:
    """In every object, however deep."""

    def lean(obj: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in obj.items() if name != "images"}

    body = b'{"items": [{"name": "a", "images": [1]}, {"name": "b", "status": {"images": []}}]}'

    assert {"items": [{"name": "a"}, {"name": "b", "status": {}}]} == parse(body, lean)
    assert [{"images": [1]}] == parse(b'[{"images": [1]}]')


def test_a_part_is_of_its_kind_or_a_value_error() -> None:
    """Whatever stands in its way."""
    reply = {"metadata": {"name": "n", "labels": None}, "items": []}

    assert ("n", []) == (part(str, reply, "metadata", "name"), part(list, reply, "items"))
    for names in (("metadata", "labels"), ("items", "name"), ("gone",), ("metadata", "name", "x")):
        with pytest.raises(ValueError, match="in the place of dict"):
            part(dict, reply, *names)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("VM 301 already exists\n", "VM 301 already exists\n"), ("\x1b[2Jgone", "�[2Jgone"), ("half \ud800", "half �"),
        ("ü · ok", "ü · ok"), ("x" * 2_000, "x" * 1_000 + " …"), (b"raw", "b'raw'"), (None, "None"),
    ],
)  # fmt: skip
def test_words_can_be_shown_anywhere(said: object, shown: str) -> None:
    """No control characters, no half ones, and an end."""
    assert shown == words(said)
    shown.encode()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 6443)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("Multiple exceptions: two of them"), "Multiple exceptions: two of them"),
        (ConnectionResetError(), "the connection was lost"),
    ],
)
def test_why_nobody_answered_is_said_in_the_systems_words(error: OSError, said: str) -> None:
    """Neither a class's name nor what a library made of it is for people."""
    assert said == reason(error)
