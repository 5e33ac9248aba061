"""Manifests: read as kubectl reads them, in bounds, and never an exception but the one that names the file."""

import pytest

from cpcd.model.errors import Code, Failure
from cpcd.spec.manifests import MAX_DEPTH, objects

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


def read(text: str) -> list[dict[str, object]]:
    """Return the objects of a file."""
    return [dict(one) for one in objects("home", "addons/a.yaml", text.encode())]


def refused(content: bytes) -> str:
    """Return why a file is refused."""
    with pytest.raises(Failure) as caught:
        objects("home", "addons/a.yaml", content)
    assert (Code.CONFIG, "home") == (caught.value.code, caught.value.target)
    return caught.value.what


def test_objects_come_in_their_order_and_empty_documents_are_skipped() -> None:
    """A leading or trailing `---` is everybody's habit."""
    found = read(f"---\n{CONFIG}---\n---\n{CONFIG.replace('name: c', 'name: d')}---\n")

    assert ["c", "d"] == [one["metadata"]["name"] for one in found]  # type: ignore[index] # a dict, as it was refused otherwise


def test_dates_stay_text_and_modes_stay_octal() -> None:
    """JSON has no dates; `defaultMode: 0644` is 420 to kubectl."""
    assert {"day": "2026-01-02", "mode": 420, "on": "yes"} == read(
        CONFIG + 'data: {day: 2026-01-02, mode: 0644, "on": "yes"}\n'
    )[0]["data"]


def test_nulls_of_the_metadata_mean_nothing() -> None:
    """`labels:` with nothing below it, as templates leave it."""
    assert [{"name": "c"}] == [read(CONFIG.replace("{name: c}", "{name: c, labels: , namespace: }"))[0]["metadata"]]


def test_anchors_and_merge_keys_are_read() -> None:
    """Manifests may use them, unlike `cluster.yaml`."""
    assert {"a": 1, "b": 2} == read(CONFIG + "x: &x {a: 1}\ny: {<<: *x, b: 2}\n")[0]["y"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        (b"- " * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        (("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9))).encode(), "aliases expanded"),
        (b"a: &a [*a]\n", "aliases expanded"),
        (b"a: !!python/object:os.system x\n", "could not determine a constructor"),
        (b"a: !!timestamp 2026-01-01\n", "a date, which JSON has not"),
        (b"a: !!timestamp never\n", "no YAML of Kubernetes objects"),
        (b"a: !!bool maybe\n", "no YAML of Kubernetes objects"),
        (b"a: !!set {b}\n", "a set, which JSON has not"),
        (b"a: !!binary AAAA\n", "a bytes, which JSON has not"),
        (b"a: .nan\n", "a number that is none"),
        (b"1: a\n", "a key that is no text"),
        (b"a: " + b"9" * 5_000, "no YAML of Kubernetes objects"),
        (b"\xff\xfe\x00", "no YAML of Kubernetes objects"),
        (b"# nothing\n", "holds no object"),
        (b"kind: ConfigMap\n", "without apiVersion, kind and metadata.name"),
        (b"apiVersion: v1\nkind: 7\nmetadata: {name: c}\n", "without apiVersion, kind and metadata.name"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: c, labels: [a]}\n", "labels that are no mapping"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused_by_name(content: bytes, why: str) -> None:
    """Also what would take the daemon with it: libyaml's composer dies of a hundred thousand brackets."""
    said = refused(content)

    assert said.startswith("addons/a.yaml ")
    assert why in said
