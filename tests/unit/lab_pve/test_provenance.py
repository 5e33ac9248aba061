"""Where the lab's behaviours come from."""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import cpcd.lab as package
import cpcd.lab.guests
import cpcd.lab.pve
from cpcd.lab.guests.guest import _PROGRAMS
from cpcd.lab.guests.verbs import VERBS
from cpcd.lab.provenance import marks
from cpcd.lab.pve.routes import HANDLERS

LIMIT = 0.10
GUARDS = (
    "_check_destroy",
    "_destroy",
    "check_lock",
    "check_writable",
    "_check_protection",
    "_remove",
    "refuse_skiplock",
)


# What carries a call or an answer and decides nothing of it: its parts are marked where they are.
CARRIERS = {
    "cpcd.lab.pve.config.attach_all": "makes each drive with `attaching`",
    "cpcd.lab.pve.formats._like": "makes a rule; the formats that are made of it are the schema's",
    "cpcd.lab.pve.http._call": "walks the steps of a call, each marked",
    "cpcd.lab.pve.pve.Pve.handle": "hands a request to `http.answer`",
    "cpcd.lab.pve.schema._numbered": "spells out the schema's numbered names",
    "cpcd.lab.guests.guest.Guest.call": "looks a verb up",
    "cpcd.lab.guests.guest.Guest.submit": "looks a program up",
    "cpcd.lab.guests.kubeadm.until": "waits",
}


def _own(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """Yield the functions that a module defines, methods and properties too; no generated ones."""
    for value in vars(module).values():
        members = vars(value).values() if inspect.isclass(value) else (value,)
        for member in members:
            function = getattr(member, "fget", getattr(member, "__func__", member))
            if inspect.isfunction(function) and function.__code__.co_filename == module.__file__:
                yield function


def _behaviours() -> Iterator[Callable[..., Any]]:
    """Yield what refuses a call and what works over time, in Proxmox and in machines."""
    for model in (cpcd.lab.pve, cpcd.lab.guests):
        for found in pkgutil.walk_packages(model.__path__, f"{model.__name__}."):
            for function in _own(importlib.import_module(found.name)):
                refuses = re.search(r"\braise (?!AssertionError)\w", inspect.getsource(function))
                if refuses or inspect.isgeneratorfunction(function):
                    yield function


def test_whatever_refuses_or_works_says_where_it_comes_from() -> None:
    """A refusal or a worker without a mark fails here, unless it is a carrier; no carrier is listed in vain."""
    bare = {f"{each.__module__}.{each.__qualname__}" for each in _behaviours() if not hasattr(each, "__provenance__")}

    assert set(CARRIERS) == {name for name in bare if "<locals>" not in name}


def test_at_most_a_tenth_is_guessed(capsys) -> None:
    """The shares are printed; a behaviour counts as guessed when any part of it is."""
    found = marks(package)
    kinds = [{mark.kind for mark in attached} for attached in found.values()]
    shares = {
        kind: sum(kind in each for each in kinds) / len(kinds) for kind in ("recorded", "schema", "source", "guess")
    }
    with capsys.disabled():
        text = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
        sys.stdout.write(f"\nlab provenance: {len(kinds)} behaviours, {text}\n")

    guessed = [name for name, attached in found.items() if any(mark.kind == "guess" for mark in attached)]
    assert len(kinds) > 100
    assert len(guessed) <= LIMIT * len(kinds), guessed


def test_no_destructive_guard_rests_on_a_guess() -> None:
    """Every guard of destroy, lock and protection is recorded or read in source."""
    found = {name.rpartition(".")[2]: attached for name, attached in marks(package).items() if ".lab.pve." in name}

    assert set(GUARDS) <= found.keys()
    assert [name for name in GUARDS if any(mark.kind == "guess" for mark in found[name])] == []


def test_whatever_answers_a_call_says_where_it_comes_from() -> None:
    """Every handler of Proxmox's API, every verb and every program of a machine: none can be added without a mark."""
    answering = {**HANDLERS, **VERBS, **_PROGRAMS}

    assert [] == [call for call, function in answering.items() if not getattr(function, "__provenance__", ())]


def test_marks_name_something_that_can_be_looked_up() -> None:
    """A recording is a number; everything else is a word."""
    wrong = [
        name
        for name, attached in marks(package).items()
        for mark in attached
        if not mark.of or (mark.kind == "recorded") != all(re.fullmatch(r"\d+", each) for each in mark.of)
    ]

    assert wrong == []
