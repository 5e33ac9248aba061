"""The mutation tester itself: what it changes, that the change is in force, and that nothing else is."""

import ast
import os
import sys
import types
from pathlib import Path

import pytest

from tests.mutants import live, operators, report
from tests.mutants.live import Mutant, load, mutants

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
        "LIMIT = 5\nTABLE = {'a': 1, 'b': 2}\n"
        "class Box:\n    def __init__(self, size):\n        self.size = size\n"
        "    @property\n    def big(self):\n        return self.size > LIMIT\n",
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
        load(mutant)
        os.write(writing, repr(eval(seen, vars(module))).encode())  # noqa: S307 - the expressions below
        os._exit(0)
    os.wait()
    return os.read(reading, 100).decode()


def test_a_change_of_a_property_is_in_force_in_the_child_alone(module: types.ModuleType) -> None:
    """Objects that were made before see it, too."""
    assert ("True", True) == (after(module, "self.size > LIMIT → self.size <= LIMIT", "Box(3).big"), module.Box(9).big)


def test_a_change_of_a_value_is_in_force_in_the_child_alone(module: types.ModuleType) -> None:
    """A limit and a table."""
    assert ("6", "{'b': 2}") == (after(module, "5 → 6", "LIMIT"), after(module, "without 'a'", "TABLE"))
    assert (5, {"a": 1, "b": 2}) == (module.LIMIT, module.TABLE)


def test_every_mutant_of_plan_and_loop_can_be_made() -> None:
    """Each compiles, and its function or value is found."""
    root = Path(live.__file__).parents[2]
    for where in ("plan", "loop"):
        for path in sorted((root / "cpcd" / where).glob("*.py")):
            for site in operators.sites(ast.parse(path.read_text(encoding="utf-8"))):
                assert site.scope


def test_the_report_tells_score_modules_and_survivors() -> None:
    """Unreached is alive, a hang is killed."""
    made = [Mutant("cpcd.plan.x", "cpcd/plan/x.py", n, n, "f", False, "a → b") for n in range(4)]
    results = dict(zip(made, ("killed", "timeout", "survived", "unreached"), strict=True))

    figures = report.summary(results, root=Path("/"), seed=1, whole=9, seconds=2.0)

    assert (50.0, 4, 2, 2, 9) == tuple(figures[name] for name in ("score", "mutants", "killed", "survived", "whole"))
    assert {"cpcd/plan/x.py": 50.0} == {path: one["score"] for path, one in figures["modules"].items()}
    assert "- `cpcd/plan/x.py:2 f: a → b [survived]`" in report.page(figures)


def test_a_package_within_is_changed_too() -> None:
    """What became one later stays in the sample: effects decide as well."""
    rooms = {Path(one.path).parent.as_posix() for one in live.everything(Path(__file__).parents[2])}

    assert {"cpcd/loop", "cpcd/plan", "cpcd/plan/effects"} <= rooms
