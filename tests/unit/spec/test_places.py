"""Where things stand: every value, every key and every mistake is shown at the line and column where it was written."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cpcd.spec import listing, read_spec
from cpcd.spec.load import Mark, load
from tests.unit.spec.conftest import VALID

NAMES = st.text(alphabet="abcé", min_size=1, max_size=4)
LEAVES = st.integers(0, 99) | st.sampled_from((True, None, "text", "ü - #"))
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=3,
)
WORDS = {"True": "true", "None": "null"}
Path = tuple[str | int, ...]


class Writer:
    """Writes a tree as YAML in blocks and remembers where it put each value and each key."""

    def __init__(self, before: int) -> None:
        self.lines = ["# a comment"] * before
        self.values: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}

    def write(self, value: Any, path: Path = (), indent: int = 0) -> None:
        """Write a mapping or a list from the next line on."""
        items = value.items() if isinstance(value, dict) else enumerate(value)
        self.values[path] = Mark(len(self.lines) + 1, indent + 1)
        for key, child in items:
            here = (*path, key)
            lead = f"{' ' * indent}{key}:" if isinstance(value, dict) else f"{' ' * indent}-"
            if isinstance(value, dict):
                self.keys[here] = Mark(len(self.lines) + 1, indent + 1)
            if isinstance(child, dict | list):
                self.lines.append(lead)
                self.write(child, here, indent + 2)
            else:
                self.lines.append(f"{lead} {self._leaf(child)}")
                self.values[here] = Mark(len(self.lines), len(lead) + 2)

    def _leaf(self, value: Any) -> str:
        return f'"{value}"' if isinstance(value, str) else WORDS.get(str(value), str(value))


@given(TREES, st.integers(0, 3))
def test_values_and_keys_are_where_they_were_written(tree: dict[str, Any], before: int) -> None:
    """Of all depths, behind comments, letters of two bytes and other values; and the tree is the same."""
    writer = Writer(before)
    writer.write(tree)

    documents, mistakes = load("cluster.yaml", "\n".join(writer.lines).encode())

    assert ([tree], []) == ([document.value for document in documents], mistakes)
    assert (writer.values, writer.keys) == (dict(documents[0].values), dict(documents[0].keys))


def damaged(line: int, new: str) -> list[str]:
    """Return the places of the mistakes when a line of a valid file is another one."""
    lines = VALID.split("\n")
    lines[line] = new
    return [str(mistake).split(": ")[0] for mistake in read_spec({"c": "\n".join(lines).encode()}).mistakes]


MAPPINGS = [at for at, line in enumerate(VALID.split("\n")) if line.strip() and "{" not in line]


@given(st.sampled_from(MAPPINGS), st.text(alphabet="xyz", min_size=3, max_size=6))
def test_an_unknown_key_is_shown_at_itself(at: int, name: str) -> None:
    """Wherever it was put: above any line of a valid file, as deep as that line."""
    line = VALID.split("\n")[at]
    column = len(line) - len(line.lstrip()) + 1

    assert f"c:{at + 1}:{column}" in damaged(at, f"{' ' * (column - 1)}{name}: 1\n{line}")


@given(st.sampled_from(MAPPINGS))
def test_a_key_written_twice_is_shown_at_the_second(at: int) -> None:
    """With the file's own line, whichever it is; what stood below the first then hangs below the second."""
    line = VALID.split("\n")[at]
    column = len(line) - len(line.lstrip()) + 1
    key = line.strip().partition(":")[0]

    assert f"c:{at + 2}:{column}" in damaged(at, f"{' ' * (column - 1)}{key}: {{}}\n{line}")


@given(st.sampled_from([at for at, line in enumerate(VALID.split("\n")) if "{" in line]), st.integers(1, 40))
def test_a_cut_line_is_a_mistake_in_or_behind_it(at: int, keep: int) -> None:
    """An editor that saved half a line: what is missing is noticed there or at the next line, never before."""
    line = VALID.split("\n")[at]
    cut = line[: line.index("{") + 1] + line[line.index("{") + 1 :][:keep]
    if cut.count("{") == cut.count("}") and cut.count("[") == cut.count("]"):
        return

    places = damaged(at, cut)

    assert [at + 1] <= [int(place.split(":")[1]) for place in places]


def test_the_line_under_a_mistake_is_the_one_that_yaml_counts() -> None:
    """A lone carriage return ends a line to libyaml: another line shown below could be one with a secret."""
    text = VALID.replace("spec:\n", "spec:\r").replace("replicas: 1", "replicas: two")

    shown = listing(read_spec({"c": text.encode()}).mistakes, {"c": text.encode()})

    assert "controlPlane: {replicas: two}" in shown
