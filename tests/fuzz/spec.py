"""The spec: bytes to documents or mistakes, to what is wanted, and printed back.

Whatever the bytes are: mistakes with a place in the file, or documents that compile and whose printed form means the
same. The manifests that a spec refers to are read by the same rule.
"""

import functools
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cpcd.model.desired import Desired
from cpcd.plan import applyset
from cpcd.spec import Reading, listing, patterns, read_spec, show_defaults
from cpcd.spec.compile import compile_spec, fixed
from tests.fuzz import mutate
from tests.fuzz.shapes import conforms, demand, sayable

__all__ = ["Case", "check", "make"]

SPECS: Final = Path(__file__).parents[2] / "specs"
BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # YAML 1.1 ends lines at all of these
FILE, MANIFEST, KEY = "cluster.yaml", "addons/hello.yaml", "ssh-ed25519 AAAA cpcd"


@dataclass(frozen=True, slots=True)
class Case:
    """The files of a spec and what they refer to."""

    files: Mapping[str, bytes]
    referred: Mapping[str, bytes] = field(default_factory=dict)


@functools.cache
def _seeds() -> dict[str, bytes]:
    return {name: (SPECS / f"{name}.yaml").read_bytes() for name in ("minimal", "demo", "full")}


@functools.cache
def _trees() -> dict[str, Any]:
    return {name: yaml.safe_load(content) for name, content in _seeds().items()}


@functools.cache
def _manifest() -> bytes:
    return (SPECS / MANIFEST).read_bytes()


def make(rng: random.Random) -> Case:
    """Return a spec with damage in its file, its lines, its manifest, its tree; most have one value that is another."""
    name = rng.choice(("minimal",) * 2 + ("demo",) * 7 + ("full",) * 3)
    seed = _seeds()[name]
    referred = {MANIFEST: _manifest()}
    match rng.randrange(10):
        case 0:
            return Case({FILE: mutate.bytes_of(rng, seed)}, referred)
        case 1:
            return Case({FILE: mutate.lines_of(rng, seed)}, referred)
        case 2:
            return Case({FILE: _seeds()["demo"]}, {MANIFEST: _damaged_manifest(rng)})
        case 3:
            other = mutate.within(rng, _trees()[rng.choice(("minimal", "demo"))])
            return Case({FILE: seed, "other.yaml": _written(rng, other)}, referred)
        case 4:
            return Case({FILE: _written(rng, mutate.tree(rng, _trees()[name]))}, referred)
        case _:
            return Case({FILE: _written(rng, mutate.within(rng, _trees()[name]))}, referred)


def _written(rng: random.Random, tree: Any) -> bytes:
    if mutate.chance(rng, 0.5):
        return mutate.encoded(rng, tree)
    try:
        return yaml.safe_dump(tree, allow_unicode=mutate.chance(rng, 0.5)).encode("utf-8", "surrogatepass")
    except ValueError:  # a number with more digits than Python prints
        return json.dumps(str(tree)[:100]).encode()


def _damaged_manifest(rng: random.Random) -> bytes:
    match rng.randrange(4):
        case 0:
            documents = list(yaml.safe_load_all(_manifest()))
            return b"\n---\n".join(_written(rng, mutate.tree(rng, document)) for document in documents)
        case 1:
            return mutate.lines_of(rng, _manifest())
        case _:
            return mutate.bytes_of(rng, _manifest())


def check(case: Case) -> str:
    """Hold one case to what is promised for every file; return how far it got."""
    reading = read_spec(case.files, referred=case.referred)
    if reading.mistakes:
        _told(reading, case)
        return "refused"
    demand(reading.documents, "a spec without documents and without mistakes")
    demand(all(_text(content) for content in case.files.values()), "what is no text is read as a spec")
    _same_when_commented(case, reading)
    _same_when_printed(case, reading)
    patterns(case.files)
    desired = compile_spec(reading, operator_key=KEY)
    demand(conforms(desired, Desired), "what is wanted is not of its shape")
    demand({one.name for one in reading.documents} == set(desired.clusters), "a document is lost")
    for cluster in desired.clusters.values():
        json.dumps([fixed(cluster), *(applyset.objects(addon.name, addon.objects) for addon in cluster.addons)])
    return "compiled"


def _told(reading: Reading, case: Case) -> None:
    """Each mistake is a line that can be shown, at a place that is in its file."""
    for mistake in reading.mistakes:
        content = {**case.referred, **case.files}.get(mistake.file, b"")
        lines = len(BREAK.findall(content.decode("utf-8", "replace"))) + 1
        demand(0 <= mistake.line <= lines + 1 and mistake.column >= 0, "a mistake outside of its file")
        demand(sayable(str(mistake)) and "\n" not in str(mistake), "a mistake that is no line")
    listing(reading.mistakes, case.files).encode()


def _text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False


def _same_when_commented(case: Case, reading: Reading) -> None:
    """A comment never causes an action."""
    files = {name: b"# a comment\n" + content for name, content in case.files.items()}
    if any(content.startswith((b"\xef\xbb\xbf", b"%")) for content in case.files.values()):
        return
    again = read_spec(files, referred=case.referred)
    demand((again.mistakes, again.digest) == ((), reading.digest), "a comment changes the meaning")


def _same_when_printed(case: Case, reading: Reading) -> None:
    """What is printed with all defaults means the same."""
    printed = "---\n".join(show_defaults(document) for document in reading.documents)
    again = read_spec({"printed": printed.encode()}, referred=case.referred)
    demand((again.mistakes, again.digest) == ((), reading.digest), "the printed form means something else")
