"""A file with more mistakes than anybody reads: the first are told, the rest are not even looked for."""

import pytest

from cpcd.spec import Mistake, listing, read_spec
from cpcd.spec.mistakes import MOST

ADDON = "  addons: [{name: a, manifests: [{file: a.yaml}]}]\n"


def many(valid: str, kind: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return files with many mistakes of one kind, and what they refer to."""
    keys = "".join(f"  a{at}: 1\n" for at in range(300))
    names = ", ".join(f"{{name: a, replicas: -{at}}}" for at in range(1, 300))
    match kind:
        case "unknown keys":
            return {"c": f"{valid}{keys}".encode()}, {}
        case "values":
            return {"c": valid.replace("{name: general, replicas: 2}", names).encode()}, {}
        case "documents":
            return {"c": b"--- {a: 1}\n" * 300}, {}
        case "clusters":
            return {f"{at}.yaml": valid.replace("home}", f"h{at}}}").encode() for at in range(30)}, {}
        case "doubles":
            return {"c": b"a: 1\n" * 300}, {}
        case _:
            return {"c": f"{valid}{ADDON}".encode()}, {"a.yaml": b"- !a b\n" * 300}


@pytest.mark.parametrize("kind", ["unknown keys", "values", "documents", "clusters", "doubles", "manifest"])
def test_the_first_are_told_and_that_there_are_more(valid: str, kind: str) -> None:
    """Wherever they come from; they stand in order, and the last line says that there are more."""
    files, referred = many(valid, kind)
    found = read_spec(files, referred=referred).mistakes
    lines = listing(found, {**files, **referred}).splitlines()

    assert len(found) == MOST + 1
    assert list(found) == sorted(found)
    assert lines[-1] == "CPCD-102 more than 100 mistakes; nothing of this spec is put in force"


def test_a_hundred_are_all_there_are(valid: str) -> None:
    """Then that is their number."""
    keys = "".join(f"  a{at}: 1\n" for at in range(MOST))
    found = read_spec({"c": f"{valid}{keys}".encode()}).mistakes

    assert {"unknown key"} == {mistake.message for mistake in found}
    assert "CPCD-102 100 mistakes;" in listing(found)


def test_what_comes_after_enough_mistakes_is_not_read(valid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte holds ten thousands of little documents, each of which takes its time."""
    asked = list[object]()
    monkeypatch.setattr("cpcd.spec.read.normalise", lambda document: asked.append(document) or (document, []))
    read_spec({"c": b"--- {a: 1}\n" * 2_000})

    assert len(asked) < MOST


def test_a_listing_takes_each_file_apart_once(valid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of its mistakes anew, a file of 230 KiB took minutes."""
    split = list[str]()

    class Break:
        def split(self, text: str) -> list[str]:
            split.append(text)
            return text.split("\n")

    monkeypatch.setattr("cpcd.spec.mistakes._BREAK", Break())
    listing([Mistake("c", line, 1, "", "is wrong") for line in range(1, 12)], {"c": valid.encode(), "d": b"a"})

    assert [valid] == split


def test_clusters_of_different_proxmoxes_are_not_looked_at_beside_each_other(
    valid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of them are half a million pairs."""
    pairs = list[object]()
    monkeypatch.setattr("cpcd.spec.checks._sharing", lambda *pair: pairs.append(pair) or iter(()))
    files = {str(at): valid.replace("home", f"h{at}").encode() for at in range(20)}

    assert read_spec(files).mistakes == ()
    assert (
        read_spec(
            {**files, "x": valid.replace("name: home", "name: x").replace("pve.home", "pve.h3").encode()}
        ).mistakes
        == ()
    )
    assert len(pairs) == 1
