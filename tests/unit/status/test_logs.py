"""Log lines: one shape, one sentence, no secret."""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cpcd.model.errors import Code, Failure
from cpcd.model.report import Outcome, Pass
from cpcd.status import configure_logs
from cpcd.status.logs import log_pass, pass_context, redact
from cpcd.status.words import told
from tests.unit.status.scene import NOW, W1, done, key

KEY = key(W1)
FAILURE = Failure(Code.NETWORK, "connection reset")
TOKEN = "PVEAPIToken=cpcd@pve!d=0c2a8d4e-aaaa-bbbb-cccc-1234567890ab"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(*passes: tuple[Pass, bool], level: str = "info") -> list[dict]:
    """Fields of each line."""
    stream = io.StringIO()
    configure_logs(level, stream=stream)
    for one, news in passes:
        log_pass(one, name=W1.name, at=NOW, news=news)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("one", "news", "levels"),
    [
        (done(KEY, Outcome.ACTED, "clone"), True, ["info"]),
        (done(KEY, Outcome.WAITING, "booting"), True, ["info"]),
        (done(KEY, Outcome.WAITING, "booting"), False, []),
        (done(KEY, Outcome.FAILED, "reset", failure=FAILURE), False, ["warning"]),
        (done(KEY, Outcome.FAILED, "reset", failure=FAILURE, degraded=True), False, ["error"]),
        (done(KEY, Outcome.REFUSED, "foreign"), True, ["warning"]),
    ],
)
def test_the_level_follows_the_outcome(one: Pass, news: bool, levels: list[str]) -> None:
    """Waiting is no failure and no noise; a failure is a warning until it is Degraded."""
    assert levels == [line["level"] for line in logged((one, news))]


def fall(secret: str) -> None:
    """Raise with a secret in a variable and another one in the words."""
    raise KeyError(f"{len(secret)}: {TOKEN}")


def broken(code: Code) -> Pass:
    """Return a pass that failed of an exception."""
    failure = Failure(code, "KeyError: 'x'")
    try:
        fall("geheim")
    except KeyError as error:
        failure.__cause__ = error
    return done(KEY, Outcome.FAILED, "KeyError: 'x'", failure=failure)


def test_where_a_bug_was_is_found_by_its_run() -> None:
    """In the same line as the run id, and without what variables held; any other failure is its sentence alone."""
    bug, other = logged((broken(Code.UNKNOWN), False), (broken(Code.EXECUTION), False))
    frames = bug["exception"][0]["frames"]

    assert (broken(Code.UNKNOWN).run, "KeyError") == (bug["run"], bug["exception"][0]["exc_type"])
    assert "fall" == frames[-1]["name"]
    assert ["geheim" in json.dumps(bug), "0c2a8d4e" in json.dumps(bug)] == [False, False]
    assert "exception" not in other


def test_a_terminal_shows_where_a_bug_was_too() -> None:
    """As text, and as blank of secrets as the rest."""
    stream = io.StringIO()
    configure_logs("info", stream=stream, pretty=True)
    log_pass(broken(Code.UNKNOWN), name=W1.name, at=NOW, news=False)
    shown = stream.getvalue()

    assert "in fall" in shown
    assert ["secret = " in shown, "0c2a8d4e" in shown] == [False, False]


def test_a_line_is_the_sentence_with_its_object_and_run() -> None:
    """The message is the sentence that status shows; code, hint and run id stand beside it."""
    one = done(KEY, Outcome.FAILED, "reset by pve1", failure=FAILURE, failures=2, next_in=4.04)
    (line,) = logged((one, True))
    line.pop("at")

    assert {
        "level": "warning", "message": told(one, W1.name, NOW), "run": "r-0001", "cluster": "home", "kind": "machine",
        "name": W1.uid, "outcome": "failed", "code": "CPCD-100", "hint": FAILURE.hint, "failures": 2, "next_in": 4.0,
    } == line  # fmt: skip


def test_lines_inside_a_pass_carry_its_run_and_object() -> None:
    """An adapter that logs need not know for whom it works."""
    stream = io.StringIO()
    configure_logs("info", stream=stream)
    with pass_context(KEY, "r-7"):
        structlog.get_logger("cpcd.adapters").info("asked")
    structlog.get_logger("cpcd").info("outside")
    inside, outside = (json.loads(line) for line in stream.getvalue().splitlines())

    assert ("r-7", "home", None) == (inside["run"], inside["cluster"], outside.get("run"))


def test_libraries_are_heard_when_they_warn() -> None:
    """Their lines have our shape; their chatter is not for us, even when we debug cpcd."""
    stream = io.StringIO()
    configure_logs("debug", stream=stream)
    logging.getLogger("asyncssh").info("told")
    logging.getLogger("asyncssh").warning("warned")

    assert ["warned"] == [json.loads(line)["message"] for line in stream.getvalue().splitlines()]


def test_a_terminal_gets_no_json() -> None:
    """The pretty form begins with the time and holds the sentence."""
    stream = io.StringIO()
    configure_logs("info", stream=stream, pretty=True)
    log_pass(done(KEY, Outcome.ACTED, "clone it"), name=W1.name, at=NOW, news=True)

    assert ("clone it" in stream.getvalue(), False) == (True, stream.getvalue().startswith("<"))


@pytest.mark.parametrize(("journald", "prefix"), [(True, "<4>"), (False, "")])
def test_a_line_has_its_priority_for_journald_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journald: bool, prefix: str
) -> None:
    """What goes into a file or a pipe is JSON from its first character on."""
    log = tmp_path / "log"
    with log.open("w") as stream:
        reader = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{reader.st_dev}:{reader.st_ino + (not journald)}")
        configure_logs("info", stream=stream)
        log_pass(done(KEY, Outcome.FAILED, "reset", failure=FAILURE), name=W1.name, at=NOW, news=False)
    line = log.read_text()

    assert (prefix, "warning") == (line[: line.index("{")], json.loads(line.removeprefix(prefix))["level"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"token": "abc"}, {"token": "[redacted]"}),
        ({"certificate_key": "abc", "ok": 1}, {"certificate_key": "[redacted]", "ok": 1}),
        ({"event": f"sent {TOKEN} on"}, {"event": "sent PVEAPIToken=[redacted] on"}),
        ({"event": "401 for cpcd@pve!d=0c2a-8d4e"}, {"event": "401 for cpcd@pve!d=[redacted]"}),
        ({"headers": {"Authorization": "x"}}, {"headers": {"Authorization": "[redacted]"}}),
        ({"argv": ["--token", "abcdef.0123456789abcdef"]}, {"argv": ["--token", "abcdef.[redacted]"]}),
        (
            {"event": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY----- end"},
            {"event": "-----BEGIN OPENSSH PRIVATE KEY-----[redacted] end"},
        ),
        ({"event": "vm 301 on pve1.home.arpa"}, {"event": "vm 301 on pve1.home.arpa"}),
    ],
)
def test_no_secret_leaves(line: dict, expected: dict) -> None:
    """By name of the field and by shape of the value, at any depth; ordinary words stay."""
    assert expected == redact(None, "", line)
