"""The wire: what is written and read at both ends, and that the bundle is one text for old Pythons."""

import ast

import pytest

from cpcd.guest.wire import COMMAND, bundle, decode_reply, decode_request, encode_reply, encode_request


def test_a_request_comes_out_as_it_went_in() -> None:
    """On one line, whatever is in it."""
    sent = encode_request("join", {"config": "a: ü\n"}, op="op1")

    assert (decode_request(sent), sent.count(b"\n")) == (("join", {"config": "a: ü\n"}, "op1"), 1)


@pytest.mark.parametrize("output", [{}, {"token": "x"}])
def test_an_answer_comes_out_as_it_went_in(output: dict[str, str]) -> None:
    """An empty output is still an answer."""
    assert decode_reply(encode_reply(output)) == {"ok": True, "output": output}


def test_a_refusal_comes_out_as_it_went_in() -> None:
    """Reason and message."""
    reply = encode_reply(None, reason="busy", message="held")

    assert decode_reply(reply) == {"ok": False, "reason": "busy", "message": "held"}


@pytest.mark.parametrize("line", [b"", b"\n", b"Last login: today\n", b'{"ok": true, "outp', b"[]\n"])
def test_what_is_no_reply_is_said(line: bytes) -> None:
    """Cut off, or something else altogether."""
    with pytest.raises(ValueError):
        decode_reply(line)


def test_the_bundle_is_python_3_9_of_the_standard_library_alone() -> None:
    """It must run on Debian 11 and import nothing of cpcd."""
    tree = ast.parse(bundle(), feature_version=(3, 9))

    imports = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imports |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(name.startswith("cpcd") for name in imports)


def test_a_call_imports_no_tls() -> None:
    """A poll comes every few seconds, and TLS would be a third of what it costs: only facts asks for it."""
    heads = {alias.name for node in ast.parse(bundle()).body if isinstance(node, ast.Import) for alias in node.names}

    assert not {name for name in heads if name.partition(".")[0] in {"ssl", "http", "urllib"}}


def test_the_bundle_defines_each_name_once() -> None:
    """Modules that are joined to one text must not shadow each other."""
    names = [node.name for node in ast.parse(bundle()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]

    assert sorted(set(names)) == sorted(names)


def test_the_command_is_constant_and_one_line() -> None:
    """Nothing variable, so nothing secret, ever stands in a process list."""
    assert "\n" not in COMMAND
    assert "{" not in COMMAND
