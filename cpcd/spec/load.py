"""YAML in: a strict subset of YAML 1.2, with the line and column of every value.

libyaml's events are read without recursion in C (its composer overflows the stack on deep nesting), so that no file
can do harm: a bad one gives mistakes, never an exception. Shapes and words are judged by `schema`, not here.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from cpcd.spec.mistakes import MOST, Mistake
from cpcd.spec.paths import Path, show
from cpcd.spec.scalars import resolve

__all__ = [
    "MAX_ALIASES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "NO_TEMPLATE",
    "Document",
    "Mark",
    "decoded",
    "load",
    "syntax",
]

NO_TEMPLATE: Final = "a template is not read: write what {{ }} renders to"
"""The hint for a mapping as a key, which is what YAML makes of `{{ }}`, and for the line that its complaint is about."""
MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_ALIASES: Final = 100
MAX_VALUES: Final = 50_000  # after aliases are expanded: a kilobyte of nested aliases can mean billions

_TEMPLATE: Final = re.compile(r"""[^'"#]*\{[{%]""")  # outside of quotes and comments, where it would be text

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Mark(NamedTuple):
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain dicts, lists and scalars, and where each of them stands.

    `values` and `keys` hold the mark of each value and of each key by path.
    """

    file: str
    value: Any
    values: Mapping[Path, Mark]
    keys: Mapping[Path, Mark]

    def mark(self, path: Path, *, key: bool = False) -> Mark:
        """Return where a value (or its key) stands, or the nearest thing around it that is in the file."""
        marks = self.keys if key else self.values
        if path in marks:
            return marks[path]
        if path and isinstance(path[-1], int) and path[:-1] in self.values:
            return self.values[path[:-1]]  # one value written where a list may stand
        return self.mark(path[:-1], key=True) if path else self.values.get((), Mark(1, 1))

    def mistake(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> Mistake:
        """Return a mistake at a path of this document."""
        return Mistake(self.file, *self.mark(path, key=key), show(path), message, hint)


def load(file: str, content: bytes) -> tuple[list[Document], list[Mistake]]:
    """Return the documents of one file and its mistakes; never raises, whatever the bytes are.

    A syntax error ends the file where it stands: the documents before it are returned beside the mistake.
    """
    documents, mistakes = _loaded(content)
    return [replace(document, file=file) for document in documents], [replace(each, file=file) for each in mistakes]


@lru_cache(maxsize=4)  # who reads a spec has looked before for the files that it refers to
def _loaded(content: bytes) -> tuple[tuple[Document, ...], tuple[Mistake, ...]]:
    text = decoded("", content)
    if isinstance(text, Mistake):
        return (), (text,)
    builder = _Builder("")
    documents = tuple(builder.documents(text))
    if not documents and not builder.mistakes:
        builder.mistakes.append(Mistake("", 0, 0, "", "is empty", "an empty file never means: delete everything"))
    return documents, tuple(builder.mistakes)


def decoded(file: str, content: bytes, *, most: int = MAX_BYTES) -> str | Mistake:
    """Return a file as text, or the mistake that it is none, or too long (`most` in bytes)."""
    if len(content) > most:
        return Mistake(file, 0, 0, "", f"is {len(content) / 1024:,.0f} KiB", f"at most {most // 1024:,} KiB are read")
    try:
        # Some editors begin a file with a byte order mark, which is no part of its first key.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        return Mistake(file, *_end(before), "", f"is not UTF-8: byte 0x{content[error.start]:02x}", "save it as UTF-8")
    if "\0" in text:
        return Mistake(file, *_end(text[: text.index("\0")]), "", "holds a NUL byte: this is no text file")
    return text


def _end(text: str) -> Mark:
    lines = text.split("\n")
    return Mark(len(lines), len(lines[-1]) + 1)


class _GivenUpError(Exception):
    """A limit was passed: reading on would be unbounded or misleading."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


class _Builder:
    """Builds the values of one file from libyaml's events, collecting mistakes as it goes."""

    def __init__(self, file: str) -> None:
        self.mistakes: list[Mistake] = []
        self._file = file
        self._events: Iterator[Event] = iter(())
        self._values: dict[Path, Mark] = {}
        self._keys: dict[Path, Mark] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._aliases = 0
        self._count = 0

    def documents(self, text: str) -> Iterator[Document]:
        try:
            self._events = iter(yaml.parse(text, Loader=_LOADER))
            for event in self._events:
                if len(self.mistakes) > MOST:
                    return
                if isinstance(event, DocumentStartEvent):
                    yield from self._document(event)
        except _GivenUpError as given_up:
            self.mistakes.append(given_up.mistake)
        except yaml.YAMLError as error:
            self.mistakes.append(syntax(self._file, text, error))

    def _document(self, start: Event) -> Iterator[Document]:
        # In YAML an anchor ends with its document; so do the limits.
        self._values, self._keys, self._anchors = {}, {}, {}
        self._aliases = self._count = 0
        value = self._node(next(self._events), ())
        if value is None:
            where = _mark(start)
            self.mistakes.append(Mistake(self._file, *where, "", "this document is empty", "remove the extra `---`"))
        else:
            yield Document(self._file, value, self._values, self._keys)

    def _node(self, event: Event, path: Path) -> Any:
        assert isinstance(event, NodeEvent), "libyaml's grammar: a node follows"
        self._values[path] = _mark(event)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        self._tally(1, event, path)
        before = self._count
        value = self._value(event, path)
        # Only now, so that nothing holds itself: an alias inside of it has no finished anchor yet.
        if event.anchor:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _value(self, event: NodeEvent, path: Path) -> Any:
        if tag := getattr(event, "tag", None):
            self._wrong(event, path, f"the tag {tag} is not read", "quote the value to make it text")
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, ScalarEvent), "libyaml knows three kinds of node and the alias"
        return resolve(event.value) if event.implicit[0] else event.value

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if _merges(event):
                self._wrong(event, path, "merge keys (<<) are not read", "`machine` already overrides machineDefaults")
                # Read and thrown away: the next event is to be the next key.
                self._node(next(self._events), (*path, "<<"))
                continue
            key = self._key(event, path)
            here = (*path, key)
            if key in found:
                first = self._keys[here].line
                self._wrong(event, here, f"is written twice, first in line {first}", "keep one of them")
            else:
                self._keys[here] = _mark(event)
            # Of a key that is there twice as well: its value may have mistakes of its own.
            found[key] = self._node(next(self._events), here)
        return found

    def _key(self, event: Event, path: Path) -> str:
        if not isinstance(event, ScalarEvent):
            hint = NO_TEMPLATE if isinstance(event, MappingStartEvent) else ""
            # What stands below such a key has no path that a mistake could name.
            raise _GivenUpError(self._at(event, path, "a key must be text", hint))
        if event.implicit[0] and not isinstance(resolve(event.value), str):
            self._wrong(event, path, f"a key must be text, not {event.value or 'empty'}", "put the key in quotes")
        return event.value

    def _alias(self, event: AliasEvent, path: Path) -> Any:
        known = self._anchors.get(event.anchor or "")
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _GivenUpError(self._at(event, path, f"more than {MAX_ALIASES} aliases", "write the values out"))
        if known is None:
            self._wrong(event, path, f"*{event.anchor} has no finished anchor &{event.anchor} before it")
            return {}
        # With all that it repeats: it costs nothing here, but whoever walks the value meets all of it.
        self._tally(known[1], event, path)
        return known[0]

    def _tally(self, values: int, event: Event, path: Path) -> None:
        self._count += values
        # Where it begins is told: a path of 64 parts is no sentence.
        if len(path) > MAX_DEPTH:
            raise _GivenUpError(self._at(event, path[:4], f"is nested deeper than {MAX_DEPTH} levels"))
        if self._count > MAX_VALUES:
            raise _GivenUpError(self._at(event, path[:4], f"holds more than {MAX_VALUES:,} values, aliases expanded"))

    def _wrong(self, event: Event, path: Path, message: str, hint: str = "") -> None:
        self.mistakes.append(self._at(event, path, message, hint))

    def _at(self, event: Event, path: Path, message: str, hint: str = "") -> Mistake:
        return Mistake(self._file, *_mark(event), show(path), message, hint)


def _merges(event: Event) -> bool:
    return isinstance(event, ScalarEvent) and event.value == "<<" and event.implicit[0]


def _mark(event: Event) -> Mark:
    assert event.start_mark is not None, "the parser marks every event"
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def syntax(
    file: str, text: str, error: yaml.YAMLError, *, deepest: int = MAX_DEPTH, within: int = MAX_DEPTH + 1
) -> Mistake:
    """Return libyaml's complaint about a text as a mistake with its place.

    `deepest` is what its sentence says of nesting; what is inside `within` mappings and lists is what its reader refuses.
    """
    match error:
        case yaml.MarkedYAMLError(problem_mark=mark) if mark is not None:
            where, words = Mark(mark.line + 1, mark.column + 1), f"{error.problem}"
            if "nesting depth" in words:  # libyaml's own limit of 1,000, from 0.2.6 on
                where = _too_deep(text[: mark.index], within) or where
                return Mistake(file, *where, "", f"is nested deeper than {deepest} levels")
        case yaml.reader.ReaderError():
            where, words = _unprintable(text), f"{error.reason}"
        case _:
            where, words = Mark(1, 1), str(error).splitlines()[0]
    context = getattr(error, "context", None)
    hint = NO_TEMPLATE if _template(text, error) else _advice(text, where)
    return Mistake(file, *where, "", f"is no YAML: {words}" + (f" ({context})" if context else ""), hint)


def _template(text: str, error: yaml.YAMLError) -> bool:
    """Whether a complaint is about a line with a template: its own, or that of what it could not finish reading."""
    lines = text.split("\n")
    return any(_TEMPLATE.match(lines[line]) for line in _suspected(text, error) if line < len(lines))


def _suspected(text: str, error: yaml.YAMLError) -> Iterator[int]:
    if isinstance(error, yaml.MarkedYAMLError):
        yield from (mark.line for mark in (error.problem_mark, error.context_mark) if mark is not None)
        # `{{ }}` alone in its line is a whole document to YAML, which wonders about what comes after it.
        if error.problem_mark is not None and "<document start>" in f"{error.problem}":
            yield _end(text[: error.problem_mark.index].rstrip()).line - 1


def _too_deep(text: str, within: int) -> Mark | None:
    """Return where the first mapping or list inside `within` others begins.

    In one line libyaml reads 1,024 characters ahead and may complain first; of a text that is cut before its complaint
    it gives what stands there.
    """
    depth = 0
    with contextlib.suppress(yaml.YAMLError):  # the text was cut
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, CollectionStartEvent) and depth == within:
                return _mark(event)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
    return None


def _unprintable(text: str) -> Mark:
    bad = (at for at, c in enumerate(text) if not c.isprintable() and c not in "\t\n\r\x85\ufeff")
    return _end(text[: next(bad, 0)])


def _advice(text: str, where: Mark) -> str:
    lines = text.split("\n")
    line = lines[where.line - 1] if where.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab cannot indent: use spaces"
    return "is the file written to its end?" if where >= _end(text.rstrip()) else ""
