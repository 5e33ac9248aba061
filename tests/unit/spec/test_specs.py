"""The spec in force: what becomes of a snapshot, whatever goes wrong with it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.disk import Snapshot
from cpcd.adapters.files import SpecFiles
from cpcd.model.errors import Code, Failure
from cpcd.model.ledger import Ledger, PutFact
from cpcd.model.view import View
from cpcd.sources.specs import SpecNews, Specs
from cpcd.spec import Reading, read_spec
from tests.unit.spec.test_files import git


@dataclass
class Files:
    """`sources.specs.Files` that gives what it has, or raises it."""

    given: Snapshot | Exception
    place: str = "/cluster.yaml"
    asked: list[bool] = field(default_factory=list)

    async def read(self, *, lying: bool = False) -> Snapshot:
        self.asked.append(lying)
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    async def watch(self) -> AsyncIterator[None]:
        yield


def specs(files: Files | SpecFiles, ledger: Ledger | None = None) -> Specs:
    """Return the specs of these files beside a ledger."""
    return Specs(files, view=lambda: View(ledger=ledger or Ledger()), operator_key="ssh-ed25519 AAAA")


def snapshot(text: str) -> Files:
    """Return files with one document."""
    return Files(Snapshot({"cluster.yaml": text.encode()}, "abc", uncommitted=False, source="git HEAD"))


def stored(news: SpecNews) -> Ledger:
    """Return the ledger after what the news says is to be stored."""
    return Ledger().after(news.changes)


async def test_a_good_spec_is_in_force_and_kept(valid: str) -> None:
    """With what cannot change; from the ledger it comes back as it was."""
    news = await specs(snapshot(valid)).look()
    kept = specs(snapshot(""), stored(news)).last_good()

    assert (news.mistakes, news.generation) == ((), "abc")
    assert ["spec/last-good", "fixed/home"] == [one.name for one in news.changes if isinstance(one, PutFact)]
    assert kept is not None
    assert kept.desired == news.desired


async def test_a_spec_that_takes_long_holds_up_nothing(valid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon judges in a thread, and its loop goes on meanwhile."""
    begun, gone_on = threading.Event(), threading.Event()

    def slow(*given: Any, **named: Any) -> Reading:
        begun.set()
        assert gone_on.wait(10), "the loop did nothing meanwhile"
        return read_spec(*given, **named)

    monkeypatch.setattr("cpcd.adapters.files.read_spec", slow)
    looking = asyncio.create_task(
        Specs(snapshot(valid), view=View, operator_key="ssh-ed25519 AAAA", judge=SpecFiles.judge).look()
    )
    while not begun.is_set():
        await asyncio.sleep(0.001)
    gone_on.set()
    news = await looking

    assert (news.mistakes, news.generation) == ((), "abc")


@pytest.mark.parametrize(
    ("raised", "said", "code"),
    [
        (Failure(Code.CONFIG, "/x does not exist", hint="Look."), "CPCD-102 /x does not exist. Look.", Code.CONFIG),
        (UnicodeEncodeError("utf-8", "a", 0, 1, "no"), "CPCD-199 UnicodeEncodeError: ", Code.UNKNOWN),
        (KeyError("x"), "CPCD-199 KeyError: 'x'. Please report it", Code.UNKNOWN),
    ],
)
async def test_whatever_goes_wrong_is_published(raised: Exception, said: str, code: Code) -> None:
    """Nothing new is in force, the reason is said, and what nobody foresaw is a bug and not the end."""
    news = await specs(Files(raised)).look()

    assert (None, code) == (news.desired, news.code)
    assert news.mistakes[0].startswith(said)


async def test_a_file_of_an_unspeakable_name_is_a_mistake(valid: str, tmp_path: Path) -> None:
    """Of the whole spec, which stays as it was until the file is renamed."""
    (tmp_path / "cluster.yaml").write_text(valid)
    (tmp_path / b"old\xff.yaml".decode("utf-8", "surrogateescape")).write_text("a: 1\n")
    before = await specs(SpecFiles(tmp_path)).look()
    (tmp_path / b"old\xff.yaml".decode("utf-8", "surrogateescape")).unlink()
    after = await specs(SpecFiles(tmp_path)).look()

    assert before.desired is None
    assert r"old\xff.yaml: the file's name is not UTF-8; rename it" in before.mistakes
    assert after.mistakes == ()


async def test_a_document_that_becomes_a_link_is_not_taken_out(valid: str, tmp_path: Path) -> None:
    """The machines of its cluster would be kept no more: what was in force stays until the file is a file again."""
    place, document = tmp_path / "specs", tmp_path / "specs" / "cluster.yaml"
    place.mkdir()
    (place / "other.yaml").write_text(valid.replace("name: home", "name: away"))
    document.write_text(valid)
    commands = [("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "first")]
    _ = [git(tmp_path, *words) for words in commands]
    document.rename(tmp_path / "moved.yaml")
    document.symlink_to("../moved.yaml")
    _ = [git(tmp_path, *words) for words in commands[1:]]
    news = await specs(SpecFiles(place)).look()

    assert (None, Code.CONFIG, 1) == (news.desired, news.code, len(news.mistakes))
    assert f"CPCD-102 {document} is a symbolic link, and in a git work tree none is followed" in news.mistakes[0]


async def test_what_stands_is_told_of_the_spec_as_it_lies_there(valid: str) -> None:
    """Of this daemon's own spec, committed or not; of one with other mistakes there is nothing to compare."""
    ledger = stored(await specs(snapshot(valid)).look()).after((PutFact("identity/home", {"ca_hash": "x"}),))
    edited, broken = snapshot(valid.replace("v1.34.2", "v1.34.3")), snapshot("a: [")
    told = await specs(edited, ledger).check("/cluster.yaml")

    assert (told["compared"], edited.asked) == (True, [True])
    assert [("cluster.yaml", 5, 12, "spec.version")] == [
        (one["file"], one["line"], one["column"], one["path"]) for one in told["mistakes"]
    ]
    assert [{"compared": False, "mistakes": [], "warnings": []}] * 2 == [
        await specs(edited, ledger).check("/other.yaml"), await specs(broken, ledger).check("/cluster.yaml"),
    ]  # fmt: skip
