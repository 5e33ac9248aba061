"""The closed lists of conditions and reasons are closed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import cpcd
from cpcd.cli.explain import explained
from cpcd.model.report import Outcome
from cpcd.status import CONDITIONS, REASONS, cluster_conditions
from cpcd.status.report import conditions_of
from cpcd.status.words import camel
from tests.unit.status.scene import W1, done, key, settled, view

# where the reason stands among the positional arguments of what makes waits, refusals and conditions
_AT = {"Wait": 0, "waiting": 0, "progressing": 0, "Refusal": 1, "Condition": 2}
_ELSEWHERE = {"lab", "guest", "playbooks"}  # they speak for the other side


def reasons(tree: ast.AST) -> Iterator[str]:
    """Yield every reason that is written out in a module."""
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        at = _AT.get(getattr(call.func, "id", getattr(call.func, "attr", "")))
        if at is not None:
            given = [*call.args[at : at + 1], *(k.value for k in call.keywords if k.arg == "reason")]
            constants = (n.value for arg in given for n in ast.walk(arg) if isinstance(n, ast.Constant))
            yield from (c for c in constants if isinstance(c, str) and c[:1].isupper())


def test_every_reason_in_the_code_is_explained() -> None:
    """A reason that `cpcd explain` does not know is added to cpcd/status/reasons.py."""
    root = Path(cpcd.__file__).parent
    modules = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in _ELSEWHERE]
    used = {reason for path in modules for reason in reasons(ast.parse(path.read_text(encoding="utf-8")))}

    assert set() == used - REASONS.keys()


def verbs() -> Iterator[str]:
    """Yield the verb of every action there is."""
    root = Path(cpcd.__file__).parent
    for path in (*root.glob("plan/effects/*.py"), *root.glob("reconcilers/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.AnnAssign(target=ast.Name(id="verb"), value=ast.Constant(value=str(verb))):
                    yield verb


def test_every_step_that_an_event_tells_of_is_explained() -> None:
    """The reason of its event is its verb, and there is no explanation of a step that does not exist."""
    steps = {camel(verb): verb for verb in verbs()}
    told = {
        name: verb for name, meaning in REASONS.items() for verb in re.findall(r"The step `(.+)` was begun", meaning)
    }

    assert steps == told
    assert "The step `clone` was begun" in explained("Clone")["meaning"]


def test_every_reason_of_the_cluster_is_explained() -> None:
    """The computed conditions stay inside the list, too."""
    assert set() == {condition.reason for condition in cluster_conditions(view(), settled(), "home")} - REASONS.keys()


def test_every_condition_is_explained_and_every_one_explained_is_shown() -> None:
    """Those of an object and of a cluster, under the names that `cpcd status` shows."""
    own = conditions_of(done(key(W1), Outcome.SETTLED, "as wanted"), {})
    shown = {condition.type for condition in (*own, *cluster_conditions(view(), settled(), "home"))}

    assert shown == set(CONDITIONS)
    assert all(explained(name.lower())["condition"] == name for name in shown)


def test_what_is_kept_is_not_said_to_be_removed() -> None:
    """Retain is the only `deletionPolicy`: nothing of a cluster goes with its document."""
    assert all("kept as" in words and "being removed" not in words
               for words in (REASONS["Deleting"], CONDITIONS["Deleting"]))  # fmt: skip
