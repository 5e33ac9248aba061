"""The mutation tester itself: what it changes, that the change is in force, and that nothing else is."""

import ast
import importlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import live, operators, report
from tests.mutants.live import Mutant, load, mutants
from tests.mutants.runner import KILLED, SURVIVED, TIMEOUT, UNMADE, UNREACHED, Runner

SOURCE = '''
LIMITS = (1, 2)
class Thing:
    kind: ClassVar[int] = 3
    @property
    def big(self):
        """Whether it is big."""
        return self.size > 5 and not self.flat
def told(thing):
    if thing:
        return Wait("Why", f"{thing} and {thing > 1}", after=60)
    return None
'''


def whats(source: str) -> list[str]:
    """Return what can be changed in a source."""
    return [site.what for site in operators.sites(ast.parse(source))]


def test_decisions_are_changed_and_sentences_and_pauses_are_not() -> None:
    """Each in every way that is another decision."""
    assert [
        "without 1", "without 2", "1 → 2", "2 → 3", "3 → 4",
        "return self.size > 5 and (not self.flat) → return None", "self.size > 5 and (not self.flat) → self.size > 5 or not self.flat",
        "self.size > 5 and (not self.flat) → not self.flat", "self.size > 5 and (not self.flat) → self.size > 5",
        "self.size > 5 → self.size >= 5", "self.size > 5 → self.size <= 5", "5 → 6", "not self.flat → self.flat",
        "not thing", "return Wait('Why', f'{thing} and {thing > 1}', after=60) → return None", "'Why' → 'Why!'",
    ] == whats(SOURCE)  # fmt: skip


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of its own that can be mutated."""
    path = tmp_path / "cpcd_sample.py"
    path.write_text(
        "from functools import cached_property\nLIMIT = 5\nTABLE = {'a': 1, 'b': 2}\n"
        "class Box:\n    def __init__(self, size):\n        self.size = size\n"
        "    @property\n    def big(self):\n        return self.size > LIMIT\n"
        "    @cached_property\n    def name(self):\n        return 'big'\n",
        encoding="utf-8",
    )
    made = types.ModuleType("cpcd_sample")
    made.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(made))  # noqa: S102 - the source above
    monkeypatch.setitem(sys.modules, "cpcd_sample", made)
    return made


def after(module: types.ModuleType, what: str, seen: str) -> str:
    """Return what an expression is in a child in which a change was made, and check that it is not made here."""
    root = Path(str(module.__file__)).parent
    mutant = next(one for one in mutants(root, Path(str(module.__file__))) if one.what == what)
    reading, writing = os.pipe()
    if not os.fork():
        try:
            load(mutant)
            os.write(writing, repr(eval(seen, vars(module))).encode())  # noqa: S307 - the expressions below
        finally:
            os._exit(0)
    os.close(writing)
    os.wait()
    return os.read(reading, 100).decode()


def test_a_change_of_a_property_is_in_force_in_the_child_alone(module: types.ModuleType) -> None:
    """Objects that were made before see it, too."""
    assert ("True", True) == (after(module, "self.size > LIMIT → self.size <= LIMIT", "Box(3).big"), module.Box(9).big)


def test_a_change_of_a_value_is_in_force_in_the_child_alone(module: types.ModuleType) -> None:
    """A limit and a table."""
    assert ("6", "{'b': 2}") == (after(module, "5 → 6", "LIMIT"), after(module, "without 'a'", "TABLE"))
    assert (5, {"a": 1, "b": 2}) == (module.LIMIT, module.TABLE)


def test_a_cached_property_is_changed_too(module: types.ModuleType) -> None:
    """Most of what plan knows about a machine is one."""
    assert ("'big!'", "big") == (after(module, "'big' → 'big!'", "Box(3).name"), module.Box(9).name)


def test_every_mutant_of_plan_and_loop_can_be_made() -> None:
    """Each compiles, and its function or value is found and exchanged: in a child, which tells what could not be."""
    reading, writing = os.pipe()
    if not os.fork():
        try:
            with os.fdopen(writing, "w", encoding="utf-8") as said:
                said.write("\n".join(unmade()) or "none")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as said:
        assert "none" == said.read()
    os.wait()


def unmade() -> list[str]:
    """Make every change in this process, one after the other, and return those that cannot be made."""
    root, found = Path(live.__file__).parents[2], list[str]()
    for path in {one.path: None for one in live.everything(root)}:
        module = importlib.import_module(path.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."))
        for statement in ast.parse((root / path).read_text(encoding="utf-8")).body:
            found += [f"{path}:{said}" for said in unmade_of(module, ast.Module([statement], []))]
    return found


def unmade_of(module: types.ModuleType, tree: ast.Module) -> Iterator[str]:
    """Yield the changes of some of a module that cannot be made."""
    kept = snapshot(tree)
    for site in list(operators.sites(tree)):
        try:
            site.make()
            live.put(module, site, tree)
        except Exception as error:  # noqa: BLE001 - whatever it is, the mutant is none
            yield f"{site.line} {site.scope}: {site.what}: {error!r}"
        restore(kept)
        if site.value:  # others may be made of it
            live.put(module, site, tree)


def snapshot(tree: ast.Module) -> list[tuple[ast.AST, dict[str, Any]]]:
    """Return all nodes with what they have now: to parse a module again for each change takes half a minute."""
    return [
        (node, {name: (value, list(value)) if isinstance(value, list) else value for name, value in vars(node).items()})
        for node in ast.walk(tree)
    ]


def restore(kept: list[tuple[ast.AST, dict[str, Any]]]) -> None:
    """Give the nodes back what they had, in the very lists that they had."""
    for node, had in kept:
        for name, value in had.items():
            if isinstance(value, tuple):
                value[0][:] = value[1]
            setattr(node, name, value[0] if isinstance(value, tuple) else value)


def test_a_mutant_that_cannot_be_made_is_not_killed() -> None:
    """It would say of its tests what they never had to show."""
    results: list[str] = []
    runner = Runner(Path("/"), list, lambda _, outcome: results.append(outcome))
    there, missing = (
        Mutant("tests.mutants.report", "tests/mutants/report.py", number, 1, "_git", value=False, what="")
        for number in (0, 1_000_000)
    )
    for mutant in (there, missing):
        running = {runner._start(mutant, []): mutant}
        while running:
            runner._reap(running)

    assert [SURVIVED, UNMADE] == results


def test_the_report_tells_score_modules_and_survivors() -> None:
    """Unreached is alive and so is what could not be made, a hang is killed."""
    made = [Mutant("cpcd.plan.x", "cpcd/plan/x.py", n, n, "f", False, "a → b") for n in range(5)]
    results = dict(zip(made, (KILLED, TIMEOUT, SURVIVED, UNREACHED, UNMADE), strict=True))

    figures = report.summary(results, root=Path("/"), seed=1, whole=9, seconds=2.0)

    assert (40.0, 5, 2, 3, 9) == tuple(figures[name] for name in ("score", "mutants", "killed", "survived", "whole"))
    assert (1, 1, 1) == tuple(figures[name] for name in ("timeouts", "unreached", "unmade"))
    assert {"cpcd/plan/x.py": 40.0} == {path: one["score"] for path, one in figures["modules"].items()}
    assert "- `cpcd/plan/x.py:2 f: a → b [survived]`" in report.page(figures)


def test_a_package_within_is_changed_too() -> None:
    """What became one later stays in the sample: effects decide as well."""
    rooms = {Path(one.path).parent.as_posix() for one in live.everything(Path(__file__).parents[2])}

    assert {"cpcd/loop", "cpcd/plan", "cpcd/plan/effects"} <= rooms
