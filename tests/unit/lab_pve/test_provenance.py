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
import cpcd.lab.kube
import cpcd.lab.pve
from cpcd.lab.guests.guest import _PROGRAMS
from cpcd.lab.guests.verbs import VERBS
from cpcd.lab.kube.controllers import ORDER
from cpcd.lab.provenance import marks
from cpcd.lab.pve.routes import HANDLERS

LIMIT = 0.10
GUARDS = (
    "_check_destroy",
    "_destroy",
    "check_lock",
    "check_writable",
    "check_protection",
    "_remove",
    "refuse_skiplock",
)
ELSEWHERE = (
    "cpcd.lab.guests.reset.reset",
    "cpcd.lab.kube.budgets.refusal",
    "cpcd.lab.kube.etcd.Etcd._linearizable",
    "cpcd.lab.kube.etcd.Etcd.quorum",
    "cpcd.lab.kube.etcd.Etcd.remove",
    "cpcd.lab.kube.store.Store.delete",
    "cpcd.lab.kube.store.Store.evict",
    "cpcd.lab.kube.store._meant",
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
    "cpcd.lab.kube.errors.ApiError.body": "spells a refusal out",
    "cpcd.lab.kube.fields.copy": "copies",
    "cpcd.lab.kube.fields.value_at": "looks a path up",
    "cpcd.lab.kube.kinds.group": "takes an apiVersion apart",
    "cpcd.lab.kube.selectors.look_up": "looks a path up",
    "cpcd.lab.kube.store._refuse": "refuses with `invalid`",
    **dict.fromkeys(
        (f"cpcd.lab.kube.cluster.Cluster.{name}" for name in ("name", "now", "ca_hash", "ca_pem", "admin_kubeconfig")),
        "shows what its parts have",
    ),
    **dict.fromkeys(
        (f"cpcd.lab.kube.cluster.Cluster.{name}" for name in ("settle", "stamp", "poke", "join", "lost", "forget")),
        "keeps the lab's time and who is there; what follows is the controllers'",
    ),
    **dict.fromkeys(
        (f"cpcd.lab.kube.cluster.Cluster.{name}" for name in ("addresses", "answers", "api_up", "healthy", "serving")),
        "asks `api_since`, `readyz`, `quorum` and `virtual`",
    ),
    **dict.fromkeys(
        (f"cpcd.lab.kube.kubelet.Kubelet.{name}" for name in ("alive", "start", "static_pods")),
        "shows what the guest did with it",
    ),
    **dict.fromkeys(
        (
            f"cpcd.lab.kube.objects.Objects.{name}"
            for name in ("all", "changes", "compact", "drop", "everything", "find", "resource", "resources")
        ),
        "keeps objects; refuses with `unknown_kind` and `expired`",
    ),
    **dict.fromkeys(
        (f"cpcd.lab.kube.store.Store.{name}" for name in ("_found", "changes", "get", "served", "subscribe")),
        "asks `Objects`; refuses with `missing`",
    ),
    **dict.fromkeys(
        (f"cpcd.lab.kube.turn.Turn.{name}" for name in ("changed", "lasted", "objects", "over", "reached", "stamp")),
        "is the lab's own clockwork",
    ),
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
    """Yield what refuses a call and what works over time, in Proxmox and in machines; of Kubernetes also what is public.

    There little refuses: what decides is what controllers, etcd and the store are asked.
    """
    for model in (cpcd.lab.pve, cpcd.lab.guests, cpcd.lab.kube):
        for found in pkgutil.walk_packages(model.__path__, f"{model.__name__}."):
            for function in _own(importlib.import_module(found.name)):
                refuses = re.search(r"\braise (?!AssertionError)\w", inspect.getsource(function))
                public = model is cpcd.lab.kube and not function.__name__.startswith("_")
                if refuses or public or inspect.isgeneratorfunction(function):
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
    """Every guard of destroy, lock and protection, of evictions, deletions and members is recorded or read in source."""
    every = marks(package)
    found = {name.rpartition(".")[2]: attached for name, attached in every.items() if ".lab.pve." in name} | every
    guards = (*GUARDS, *ELSEWHERE)

    assert set(guards) <= found.keys()
    assert [name for name in guards if any(mark.kind == "guess" for mark in found[name])] == []


def test_whatever_answers_a_call_says_where_it_comes_from() -> None:
    """Every handler of Proxmox's API, every verb and program of a machine and every controller: none can be added unmarked."""
    answering = {**HANDLERS, **VERBS, **_PROGRAMS, **{each.__name__: each for each in ORDER}}

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
