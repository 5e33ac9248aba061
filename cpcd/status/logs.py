"""Log lines: JSON for machines, with a priority in front of it for journald alone, colours for a terminal, one shape for all of them.

Every line of a pass carries its run id, cluster, kind and name from context variables. No secret may leave here:
fields with such a name are blanked, and token-shaped text inside other fields too (the last line of defence; secrets
are redacting types in `cpcd/spec/secrets.py` already).
"""

import logging
import os
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

from cpcd.model.errors import Code
from cpcd.model.keys import Key, Wall
from cpcd.model.ledger import Event
from cpcd.model.report import Outcome, Pass
from cpcd.status.words import told

# structlog.dev takes rich in where it is installed, for tracebacks that are not shown here: 3 MB of every daemon.
_rich = sys.modules.setdefault("rich", None)  # type: ignore[arg-type] # how the import system is told that there is none
import structlog  # noqa: E402 - as above

if _rich is None:
    del sys.modules["rich"]

__all__ = ["LEVELS", "configure_logs", "log_event", "log_pass", "pass_context", "redact"]

LEVELS: Final = ("error", "warning", "info", "debug")  # what -q … -vv and the setting choose among

# Chatty at INFO, or repeating what our own line says already; asyncssh logs each session.
_TAMED: Final = ("aiohttp", "ansible_runner", "asyncio", "asyncssh", "kubernetes", "proxmoxer", "urllib3", "watchfiles")
# sd-daemon(3): <3> error, <4> warning, <6> info, <7> debug
_PRIORITY: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_NAMES: Final = re.compile(r"token|password|secret|authorization|cookie|private_key|certificate_key", re.IGNORECASE)
_VALUES: Final = re.compile(
    r"(PVEAPIToken=)[^\s\"']+"
    r"|(\b[\w.-]+@[\w-]+![\w.-]+=)[^\s\"']+"  # user@realm!token=secret
    r"|(Bearer\s+)\S+"
    r"|(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(\b[a-z0-9]{6}\.)[a-z0-9]{16}\b",  # a kubeadm bootstrap token
    re.DOTALL,
)
_BLANK: Final = "[redacted]"
# Where it was, without what variables held: secrets among them have no name and no shape to be blanked by.
_STACK: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

Line = MutableMapping[str, Any]


def configure_logs(level: str = "info", *, stream: TextIO | None = None, pretty: bool | None = None) -> None:
    """Send our own and everybody else's lines to one stream, at one level out of `LEVELS`.

    `pretty` None means: when the stream is a terminal. Libraries stay at WARNING.
    """
    out = stream or sys.stdout
    human = out.isatty() if pretty is None else pretty
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.dev.set_exc_info,
        structlog.processors.ExceptionRenderer(*(() if human else (_STACK,))),
        redact,
    ]
    final = _terminal(out) if human else _journal if _for_journald(out) else _json
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, final],
        )
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.root.handlers = [handler]
    logging.root.setLevel(number)
    for name in _TAMED:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


@contextmanager
def pass_context(key: Key, run: str) -> Iterator[None]:
    """Give every line that is logged inside the run id and the object that it is about."""
    with structlog.contextvars.bound_contextvars(**_identity(key, run)):
        yield


def log_pass(done: Pass, *, name: str, at: Wall, news: bool, muted: bool = False) -> None:
    """Log the sentence of a pass over what people call `name`.

    A failure is a warning (an error once degraded), news is info, the rest debug; so is what is `muted`, because it is
    told elsewhere.
    """
    log = structlog.get_logger("cpcd")
    sentence, fields = told(done, name, at), _fields(done)
    match done.outcome:
        case _ if muted:
            log.debug(sentence, **fields)
        case Outcome.FAILED if done.degraded:
            log.error(sentence, **fields)
        case Outcome.FAILED:
            log.warning(sentence, **fields)
        case Outcome.REFUSED if news:
            log.warning(sentence, **fields)
        case _ if news:
            log.info(sentence, **fields)
        case _:
            log.debug(sentence, **fields)


def _fields(done: Pass) -> dict[str, Any]:
    fields: dict[str, Any] = {**_identity(done.key, done.run), "outcome": done.outcome.value}
    fields |= {word: value for word, value in (("verb", done.verb), ("target", done.target)) if value}
    if done.failure:
        fields |= {"code": str(done.failure.code), "hint": done.failure.hint, "failures": done.failures}
    if done.failure and done.failure.code is Code.UNKNOWN:
        fields["exc_info"] = done.failure.__cause__ or done.failure
    if done.next_in is not None:
        fields["next_in"] = round(done.next_in, 1)
    return fields


def log_event(event: Event) -> None:
    """Log what is history and came of no pass: what became of an endpoint."""
    log = structlog.get_logger("cpcd")
    cluster, kind, name = event.key.split("/", maxsplit=2)
    fields = {"run": event.run, "cluster": cluster, "kind": kind, "name": name, "reason": event.reason}
    fields |= {"code": event.code} if event.code else {}
    (log.warning if event.severity == "Warning" else log.info)(event.message, **fields)


def redact(_logger: Any, _method: str, line: Line) -> Line:
    """Blank what is or looks like a secret, at any depth."""
    return {name: _BLANK if _NAMES.search(name) and value else _clean(value) for name, value in line.items()}


def _clean(value: Any) -> Any:
    match value:
        case str():
            return _VALUES.sub(lambda found: f"{next(filter(None, found.groups()), '')}{_BLANK}", value)
        case dict():
            return redact(None, "", value)
        case list() | tuple():
            return [_clean(part) for part in value]
        case _:
            return value


def _identity(key: Key, run: str) -> dict[str, str]:
    return {
        "run": run,
        **{word: name for word, name in key.owner.items() if name},
        "kind": key.kind.value,
        "name": key.name,
    }


def _for_journald(out: TextIO) -> bool:
    """Whether journald reads a stream (systemd.exec(5)): another reader would take the priority for a part of the line."""
    try:
        reader = os.fstat(out.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{reader.st_dev}:{reader.st_ino}"


def _journal(logger: Any, method: str, line: Line) -> str:
    priority = _PRIORITY.get(str(line.get("level")), 6)
    return f"<{priority}>{_json(logger, method, line)}"


def _json(logger: Any, method: str, line: Line) -> str:
    ordered = {"at": line.pop("at", ""), "level": line.pop("level", "info"), "message": line.pop("event", ""), **line}
    return str(structlog.processors.JSONRenderer(ensure_ascii=False)(logger, method, ordered))


def _terminal(out: TextIO) -> Any:
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(
        colors=out.isatty(), timestamp_key="at", pad_event_to=48, exception_formatter=plain
    )
