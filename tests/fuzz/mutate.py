"""Damage with a plan: bytes, lines and JSON trees that are almost right, which is where readers go wrong.

Everything comes from the one `random.Random` that is given, so that a case is the same whenever it is made again.
"""

import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["ODD", "bytes_of", "chance", "damaged", "encoded", "lines_of", "tree", "within"]

JSON = Any
Damage = Callable[[random.Random, bytes], bytes]

# What JSON of another program can hold in the place of what is expected.
ODD: Final[tuple[JSON, ...]] = (
    None, True, False, 0, 1, -1, 2, 301, 2**31, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), float("-inf"), "", " ", "0", "1", "no", "-1", "1e999", "301", "301.0", "٣٠١", "true", "null", "unknown",
    "\ud800", "a\udfffb", "\0", "\x1b[2J", "a\nb", "é" * 40, "x" * 9000, "{text}", "{0}", "%s", "2026-01-01T00:00:00Z",
    "9999999-13-45T99:99:99Z", "UPID:", "cpcd/1", "cpcd/1 a b c d", [], {}, [[]], [None], [{}], {"": None}, {"name": []},
    ["a", 1, None], [["a", "b"], ["c"]], {"vmid": {}}, {"metadata": None}, {"items": 7},
)  # fmt: skip
_DEEP: Final = 100_000
_TOKENS: Final[tuple[bytes, ...]] = (
    b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x85", b"\xe2\x80\xa8", b"\r", b"\n", b"\t", b"---\n",
    b"...\n", b"- ", b": ", b": [", b"{", b"}", b"]", b"[", b"&a ", b"*a", b"!!binary ", b"!!set ", b"!!python/object:os.x ",
    b"<<: ", b"? ", b"| \n", b">-\n", b"'", b'"', b"\\ud800", b"\\x00", b"\\", b"#", b"%YAML 1.1\n", b"null", b"~", b"yes",
    b"0o17", b"0x1F", b"1e9999", b".nan", b"-.inf", b"2001-12-14", b"12:30:45", b"9" * 400, b"1_000", b"<html>", b"<!DOCTYPE",
    b",", b"NaN", b"Infinity", b"{}", b"[]", b'{"a":', b"=",
)  # fmt: skip

_LIKE: Final = (
    string.digits,
    string.ascii_lowercase,
    string.ascii_uppercase,
)  # each may stand where another of it does


def chance(rng: random.Random, share: float) -> bool:
    """Return whether something that happens in that share of cases happens now."""
    return rng.random() < share


def bytes_of(rng: random.Random, seed: bytes) -> bytes:
    """Return the bytes with one to four pieces of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        seed = rng.choice(_DAMAGE)(rng, seed)
    return seed


def _span(rng: random.Random, seed: bytes) -> tuple[int, int]:
    start = rng.randrange(len(seed) + 1)
    return start, min(len(seed), start + rng.choice((1, 1, 2, 4, 8, 30, 200)))


def _flip(rng: random.Random, seed: bytes) -> bytes:
    if not seed:
        return seed
    at = rng.randrange(len(seed))
    return seed[:at] + bytes([seed[at] ^ (1 << rng.randrange(8))]) + seed[at + 1 :]


def _put(rng: random.Random, seed: bytes) -> bytes:
    at = rng.randrange(len(seed) + 1)
    return seed[:at] + rng.choice(_TOKENS) + seed[at:]


def _noise(rng: random.Random, seed: bytes) -> bytes:
    start, end = _span(rng, seed)
    return seed[:start] + rng.randbytes(rng.randrange(1, 9)) + seed[end:]


def _drop(rng: random.Random, seed: bytes) -> bytes:
    start, end = _span(rng, seed)
    return seed[:start] + seed[end:]


def _repeat(rng: random.Random, seed: bytes) -> bytes:
    start, end = _span(rng, seed)
    return seed[:end] + seed[start:end] * rng.choice((1, 1, 2, 50)) + seed[end:]


def _cut(rng: random.Random, seed: bytes) -> bytes:
    return seed[: rng.randrange(len(seed) + 1)]


def _nest(rng: random.Random, seed: bytes) -> bytes:
    at, depth = rng.randrange(len(seed) + 1), rng.choice((70, 1100, _DEEP))
    return seed[:at] + rng.choice((b"[", b'{"a":', b"- ", b"{")) * depth + seed[at:]


def _wide(rng: random.Random, seed: bytes) -> bytes:
    at = rng.randrange(len(seed) + 1)
    return (
        seed[:at]
        + rng.choice((b"a", b"9", b"[],", b"\\u0000", b" ", b"\xc3\xa9")) * rng.choice((300, 9000))
        + seed[at:]
    )


_DAMAGE: Final[tuple[Damage, ...]] = (
    *(_flip, _put, _put, _noise, _drop, _drop, _repeat, _cut) * 6, _nest, _wide,
)  # fmt: skip


def lines_of(rng: random.Random, seed: bytes) -> bytes:
    """Return the text with whole lines taken out, doubled, swapped or indented otherwise."""
    lines = seed.split(b"\n")
    for _ in range(rng.randrange(1, 4)):
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(5):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(to, lines[at])
            case 2:
                lines[at], lines[to] = lines[to], lines[at]
            case 3:
                lines[at] = rng.choice((b"  ", b" ", b"\t", b"- ")) + lines[at]
            case _:
                lines[at] = lines[at].lstrip() if chance(rng, 0.5) else lines[at].replace(b"- ", b"", 1)
    return b"\n".join(lines)


def tree(rng: random.Random, value: JSON) -> JSON:
    """Return the tree with one to three of its places replaced, dropped, doubled, wrapped or renamed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _replaced(rng, value, depth=rng.randrange(7))
    return value


def _replaced(rng: random.Random, value: JSON, *, depth: int) -> JSON:
    """Go down at random for `depth` steps and change what is there."""
    if depth and isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return {**value, key: _replaced(rng, value[key], depth=depth - 1)}
    if depth and isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return [*value[:at], _replaced(rng, value[at], depth=depth - 1), *value[at + 1 :]]
    return _changed(rng, value)


def _changed(rng: random.Random, value: JSON) -> JSON:
    match value:
        case dict() if value and chance(rng, 0.7):
            return _changed_mapping(rng, value)
        case list() if value and chance(rng, 0.7):
            at = rng.randrange(len(value))
            return rng.choice((value[:at], [*value, value[at]], value[::-1], [*value, rng.choice(ODD)], value[at]))
        case str() if chance(rng, 0.5):
            return bytes_of(rng, value.encode("utf-8", "replace")).decode("utf-8", "surrogateescape")
        case bool():
            return rng.choice((not value, str(value), int(value), rng.choice(ODD)))
        case int() | float() if chance(rng, 0.6):
            return rng.choice((value + 1, -value, str(value), value * 2**40, value / 3 if abs(value) < 2**900 else 0))
        case _:
            return rng.choice((rng.choice(ODD), rng.choice(ODD), rng.choice(ODD), [value], {"value": value}))


def _changed_mapping(rng: random.Random, value: dict[str, JSON]) -> dict[str, JSON]:
    key, other = rng.choice(list(value)), rng.choice(list(value))
    rest = {name: child for name, child in value.items() if name != key}
    match rng.randrange(4):
        case 0:
            return rest
        case 1:
            return {**rest, rng.choice((f"{key}x", key.upper(), "", other, "\ud800")): value[key]}
        case 2:
            return {**value, key: value[other]}
        case _:
            return {**value, rng.choice(("extra", "kind", "type", "lock", "error")): rng.choice(ODD)}


def within(rng: random.Random, value: JSON) -> JSON:
    """Return the tree with one or two of its places changed to what could stand there as well, often enough."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = list(_places(value))
        values = [(path, old) for path, old in places if not isinstance(old, dict | list)]
        path, old = rng.choice(values if values and chance(rng, 0.7) else places)  # most keys are required ones
        value = _put_at(value, path, _near(rng, old))
    return value


def _places(value: JSON, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], JSON]]:
    yield path, value
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(child, (*path, key))


def _put_at(value: JSON, path: tuple[Any, ...], new: JSON) -> JSON:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _put_at(value[path[0]], path[1:], new)
    return copy


def _near(rng: random.Random, value: JSON) -> JSON:
    """Return a value of the same type: a key or a member less, another order, another number, digit or letter."""
    match value:
        case dict() if value:
            dropped = rng.choice(list(value))
            return {key: child for key, child in value.items() if key != dropped}
        case list() if value:
            at = rng.randrange(len(value))
            return rng.choice((value[::-1], value[:at] + value[at + 1 :]))
        case bool():
            return not value
        case int():
            return rng.choice((value + 1, value + 2, value * 2, value - 1, value * 8))
        case str() if value:
            at = rng.randrange(len(value))
            others = next((group for group in _LIKE if value[at] in group), value[at])
            return value[:at] + rng.choice(others) + value[at + 1 :]
        case _:
            return value


def encoded(rng: random.Random, value: JSON) -> bytes:
    """Return a tree as JSON text: mostly as others write it, sometimes pretty, in another encoding or cut."""
    text = json.dumps(value, indent=rng.choice((None, None, None, 1)), ensure_ascii=chance(rng, 0.8))
    match rng.randrange(40):
        case 0:
            return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")), "surrogatepass")
        case 1 | 2 | 3 | 4:
            return bytes_of(rng, text.encode("utf-8", "surrogatepass"))
        case _:
            return text.encode("utf-8", "surrogatepass")


def damaged(rng: random.Random, value: JSON) -> bytes:
    """Return a tree, damaged as a tree, as bytes, or not at all, as JSON text."""
    match rng.randrange(10):
        case 0:
            return encoded(rng, value)
        case 1 | 2:
            return bytes_of(rng, json.dumps(value).encode())
        case _:
            return encoded(rng, tree(rng, value))
