"""Reading and watching the spec: git HEAD, work tree, file and directory, and all that can be wrong with them."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cpcd.adapters import files as adapter
from cpcd.adapters.disk import MAX_BYTES, Snapshot
from cpcd.adapters.files import SpecFiles, watch
from cpcd.model.errors import Code, Failure

ADDON = b"spec: {addons: [{name: a, manifests: [{file: extras/*.yaml}]}]}\n"


def git(where: Path, *words: str) -> str:
    """Run git as a person would, with nothing of this machine's configuration."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(where), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *words], cwd=where, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git work tree with a spec and a manifest, committed."""
    top = tmp_path / "infra"
    (top / "home" / "extras").mkdir(parents=True)
    (top / "home" / "cluster.yaml").write_bytes(ADDON)
    (top / "home" / "extras" / "a.yaml").write_bytes(b"a: 1\n")
    (top / "README").write_bytes(b"unrelated\n")
    git(top, "init", "--quiet")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "first")
    return top


async def refusal(spec: SpecFiles) -> Failure:
    """Return the failure of a read."""
    with pytest.raises(Failure) as caught:
        await spec.read()
    return caught.value


# --- git ---


async def test_what_is_committed_is_read(repository: Path) -> None:
    """The blobs at HEAD, the files they refer to, the commit's id and a sentence."""
    commit = git(repository, "rev-parse", "HEAD")
    snapshot = await SpecFiles(repository / "home" / "cluster.yaml").read()

    assert snapshot == Snapshot(
        files={"cluster.yaml": ADDON},
        generation=commit,
        uncommitted=False,
        source=f"git HEAD {commit[:7]} (main)",
        referred={"extras/a.yaml": b"a: 1\n"},
    )


@pytest.mark.parametrize("name", ["cluster.yaml", "extras/a.yaml"])
async def test_an_edit_is_reported_and_not_read(repository: Path, name: str) -> None:
    """Until it is committed, the old content is in force; a referred file counts as the spec does."""
    (repository / "home" / name).write_bytes(b"edited: true\n")
    snapshot = await SpecFiles(repository / "home" / "cluster.yaml").read()

    assert (snapshot.uncommitted, snapshot.files) == (True, {"cluster.yaml": ADDON})


async def test_an_edit_of_something_else_is_no_edit(repository: Path) -> None:
    """Other files of the repository are not the spec's business."""
    (repository / "README").write_bytes(b"edited\n")

    assert not (await SpecFiles(repository / "home" / "cluster.yaml").read()).uncommitted


async def test_a_deleted_file_is_still_what_was_committed(repository: Path) -> None:
    """Removing the file without a commit deletes nothing."""
    (repository / "home" / "cluster.yaml").unlink()
    snapshot = await SpecFiles(repository / "home" / "cluster.yaml").read()

    assert (snapshot.uncommitted, snapshot.files) == (True, {"cluster.yaml": ADDON})


async def test_a_directory_in_git_is_its_committed_files(repository: Path) -> None:
    """Only its own YAML files; an untracked one is an uncommitted edit."""
    (repository / "home" / "other.yml").write_bytes(b"b: 1\n")
    snapshot = await SpecFiles(repository / "home").read()

    assert (sorted(snapshot.files), sorted(snapshot.referred), snapshot.uncommitted) == (
        ["cluster.yaml"],
        ["extras/a.yaml"],
        True,
    )


async def test_the_top_of_the_work_tree_may_be_the_spec(repository: Path) -> None:
    """`spec = <repository>` is a directory like any other."""
    (repository / "cluster.yaml").write_bytes(b"top: 1\n")
    git(repository, "add", "cluster.yaml")
    git(repository, "commit", "--quiet", "-m", "second")

    assert (await SpecFiles(repository).read()).files == {"cluster.yaml": b"top: 1\n"}


async def test_a_detached_head_is_fine(repository: Path) -> None:
    """It is shown, not refused."""
    git(repository, "checkout", "--quiet", "--detach")

    assert (await SpecFiles(repository / "home" / "cluster.yaml").read()).source.endswith(" (detached)")


async def test_a_linked_work_tree_has_its_own_head(repository: Path, tmp_path: Path) -> None:
    """In `git worktree add`, `.git` is a file."""
    git(repository, "worktree", "add", "--quiet", "-b", "next", str(tmp_path / "linked"))
    snapshot = await SpecFiles(tmp_path / "linked" / "home" / "cluster.yaml").read()

    assert (snapshot.files, snapshot.source[-7:]) == ({"cluster.yaml": ADDON}, " (next)")


async def test_a_link_into_a_repository_is_followed(repository: Path, tmp_path: Path) -> None:
    """/etc/cpcd/cluster.yaml may point at a checkout."""
    link = tmp_path / "cluster.yaml"
    link.symlink_to(repository / "home" / "cluster.yaml")

    assert (await SpecFiles(link).read()).source.startswith("git HEAD ")


@pytest.mark.parametrize("link", ["other.yaml", "extras/b.yaml", "extras"])
async def test_a_link_that_is_committed_is_a_sentence(repository: Path, tmp_path: Path, link: str) -> None:
    """A commit has only where it points to: a document or manifest would silently be missing, or the folder of them."""
    place = repository / "home"
    if (place / link).exists():
        (place / link).rename(place / "moved")
    (place / link).symlink_to(tmp_path / "infra" / "README" if link != "extras" else "moved")
    before = await SpecFiles(place).read()
    lying = await refusal(SpecFiles(place, worktree=True))
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "second")
    committed = await refusal(SpecFiles(place))

    assert (before.uncommitted, list(before.files)) == (True, ["cluster.yaml"])
    assert (str(committed), committed.code) == (str(lying), Code.CONFIG)
    assert committed.what == f"{place}/{link} is a symbolic link, and in a git work tree none is followed"


async def test_a_submodule_is_a_sentence(repository: Path) -> None:
    """A commit has only which commit of it is meant: what a pattern finds there on the disk would silently be missing."""
    place = repository / "home"
    (place / "cluster.yaml").write_bytes(ADDON.replace(b"extras/*", b"'*/*").replace(b"yaml}", b"yaml'}"))
    git(repository, "commit", "--quiet", "-am", "second")
    git(repository, "init", "--quiet", "home/inner")
    (place / "inner" / "b.yaml").write_bytes(b"b: 1\n")
    git(place / "inner", "add", ".")
    git(place / "inner", "commit", "--quiet", "-m", "inner")
    lying = await refusal(SpecFiles(place, worktree=True))
    git(repository, "-c", "advice.addEmbeddedRepo=false", "add", ".")
    git(repository, "commit", "--quiet", "-m", "third")
    committed = await refusal(SpecFiles(place))

    assert str(committed) == str(lying)
    assert committed.what.startswith(f"{place}/inner is a git repository of its own")


async def test_other_links_of_a_repository_are_no_ones_business(repository: Path) -> None:
    """Neither an editor's lock beside the spec nor what no pattern stands for."""
    place = repository / "home"
    for name in (".#cluster.yaml", "extras/README", "docs", "values"):
        (place / name).symlink_to(repository / "README")
    (place / "cluster.yaml").write_bytes(ADDON.replace(b"*.yaml", b"a.yaml"))
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "second")
    lying, committed = await SpecFiles(place, worktree=True).read(), await SpecFiles(place).read()

    assert (["extras/a.yaml"], lying.files) == (list(committed.referred), committed.files)
    assert not committed.uncommitted


async def test_worktree_mode_reads_what_lies_there(repository: Path) -> None:
    """Edits count at once, and nothing is called uncommitted because nothing is held back."""
    (repository / "home" / "cluster.yaml").write_bytes(b"edited: true\n")
    snapshot = await SpecFiles(repository / "home" / "cluster.yaml", worktree=True).read()

    assert (snapshot.files, snapshot.uncommitted, snapshot.source) == (
        {"cluster.yaml": b"edited: true\n"},
        False,
        f"work tree file {repository}/home/cluster.yaml",
    )


async def test_line_ends_are_no_edit(repository: Path) -> None:
    """A checkout with core.autocrlf differs from the blob without anybody's edit."""
    (repository / "home" / "cluster.yaml").write_bytes(ADDON.replace(b"\n", b"\r\n"))

    assert not (await SpecFiles(repository / "home" / "cluster.yaml").read()).uncommitted


async def test_nothing_of_a_repository_is_executed(repository: Path, tmp_path: Path) -> None:
    """Neither its fsmonitor, its hooks, its filters nor its remotes run, whoever owns it."""
    trap = tmp_path / "trap"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(script))
    git(repository, "config", "core.hooksPath", str(tmp_path))
    git(repository, "config", "filter.evil.clean", str(script))
    git(repository, "config", "filter.evil.smudge", str(script))
    git(repository, "config", "core.pager", str(script))
    (repository / ".gitattributes").write_text("* filter=evil\n")
    await SpecFiles(repository / "home" / "cluster.yaml").read()

    assert not trap.exists()


async def test_gits_own_variables_do_not_lead_elsewhere(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_DIR of a caller is not the spec's repository."""
    monkeypatch.setenv("GIT_DIR", "/nonexistent")

    assert (await SpecFiles(repository / "home" / "cluster.yaml").read()).files == {"cluster.yaml": ADDON}


async def test_an_uncommitted_spec_is_a_sentence(repository: Path) -> None:
    """It names the commit that lacks it and what to do."""
    (repository / "home" / "new.yaml").write_bytes(b"a: 1\n")
    failure = await refusal(SpecFiles(repository / "home" / "new.yaml"))

    assert failure.code is Code.CONFIG
    assert failure.what.startswith(
        f"{repository}/home/new.yaml is not committed, or holds no committed *.yaml (HEAD is "
    )
    assert "Commit it, or set worktree" in failure.hint


async def test_a_repository_without_a_commit_is_a_sentence(tmp_path: Path) -> None:
    """An unborn HEAD has nothing to read."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "cluster.yaml").write_bytes(b"a: 1\n")
    failure = await refusal(SpecFiles(tmp_path / "cluster.yaml"))

    assert (failure.code, failure.what) == (Code.CONFIG, f"{tmp_path} is a git work tree without a commit")


async def test_a_broken_repository_is_a_sentence(tmp_path: Path) -> None:
    """Git's own words are kept."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "cluster.yaml").write_bytes(b"a: 1\n")
    failure = await refusal(SpecFiles(tmp_path / "cluster.yaml"))

    assert failure.code is Code.CONFIG
    assert "not a git repository" in failure.what


async def test_no_git_is_a_sentence(repository: Path) -> None:
    """Only where git is needed."""
    failure = await refusal(SpecFiles(repository / "home" / "cluster.yaml", git="git-that-is-not-there"))

    assert (failure.code, failure.what) == (
        Code.DEPENDENCY,
        "the spec is in a git work tree, but git-that-is-not-there does not run: No such file or directory",
    )


async def test_a_git_that_hangs_is_ended(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is killed, and the failure says how long it was waited for."""
    slow = tmp_path / "slow-git"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(adapter, "GIT_SECONDS", 1.0)
    failure = await refusal(SpecFiles(repository / "home" / "cluster.yaml", git=str(slow)))

    assert failure.code is Code.TIMEOUT
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("answer", ["", "abc", "0000 commit 900\ntree 1"], ids=["nothing", "half a line", "half"])
async def test_a_git_that_dies_midway_is_a_sentence(repository: Path, tmp_path: Path, answer: str) -> None:
    """What it says of itself is told."""
    dying = tmp_path / "dying-git"
    dying.write_text(f"#!/bin/sh\nread line\nprintf '{answer}'\necho 'fatal: object file is empty' >&2\nexit 128\n")
    dying.chmod(0o755)
    failure = await refusal(SpecFiles(repository / "home" / "cluster.yaml", git=str(dying)))

    assert (Code.CONFIG, True) == (failure.code, failure.what.endswith("failed: object file is empty"))


# --- files and directories ---


async def test_a_file_outside_git(tmp_path: Path) -> None:
    """Its generation is its content."""
    (tmp_path / "cluster.yaml").write_bytes(b"a: 1\n")
    first = await SpecFiles(tmp_path / "cluster.yaml").read()
    (tmp_path / "cluster.yaml").write_bytes(b"a: 2\n")
    second = await SpecFiles(tmp_path / "cluster.yaml").read()

    assert (first.files, first.source) == ({"cluster.yaml": b"a: 1\n"}, f"file {tmp_path}/cluster.yaml")
    assert first.generation.startswith("sha256:")
    assert first.generation != second.generation


async def test_a_directory_is_its_visible_yaml(tmp_path: Path) -> None:
    """Sorted, not recursive, without hidden and other files."""
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "notes.txt", "a.yaml~"):
        (tmp_path / name).write_bytes(b"a: 1\n")
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "c.yaml").write_bytes(b"c: 1\n")

    assert list((await SpecFiles(tmp_path).read()).files) == ["a.yaml", "b.yml"]


UNSPEAKABLE = b"clust\xff.yaml".decode("utf-8", "surrogateescape")


async def test_a_name_that_is_no_text_is_read_like_another(tmp_path: Path, repository: Path) -> None:
    """What is wrong with it says who judges the spec; nothing here falls over it."""
    for place in (tmp_path / "plain", repository / "home"):
        place.mkdir(exist_ok=True)
        (place / UNSPEAKABLE).write_bytes(b"a: 1\n")
        (place / "b.yaml").write_bytes(b"b: 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "second")

    assert [{UNSPEAKABLE, "b.yaml"}] * 2 == [
        set((await SpecFiles(place).read()).files) - {"cluster.yaml"}
        for place in (tmp_path / "plain", repository / "home")
    ]


@pytest.mark.parametrize(
    "pattern", ["'**'", "extras/**", "'**/a.yaml'", "e**/a.yaml", '"a\\0b"', "'[a-'", "extras//./a.yaml"]
)
async def test_a_pattern_is_taken_as_on_every_other_way(tmp_path: Path, repository: Path, pattern: str) -> None:
    """Stars stay within one directory and strange patterns stand for nothing, on the disk as in git."""
    text = f"spec: {{addons: [{{name: a, manifests: [{{file: {pattern}}}]}}]}}\n".encode()
    (repository / "home" / "cluster.yaml").write_bytes(text)
    git(repository, "commit", "--quiet", "-am", "second")
    committed = await SpecFiles(repository / "home" / "cluster.yaml").read()
    lying = await SpecFiles(repository / "home" / "cluster.yaml", worktree=True).read()

    assert committed.referred == lying.referred
    assert bool(committed.referred) is pattern.endswith(("**", ".yaml", ".yaml'"))


async def test_a_referred_file_changes_the_generation(tmp_path: Path) -> None:
    """It is part of the spec."""
    (tmp_path / "cluster.yaml").write_bytes(ADDON)
    (tmp_path / "extras").mkdir()
    before = await SpecFiles(tmp_path).read()
    (tmp_path / "extras" / "a.yaml").write_bytes(b"a: 1\n")
    after = await SpecFiles(tmp_path).read()

    assert ((before.referred, after.referred), before.generation == after.generation) == (
        ({}, {"extras/a.yaml": b"a: 1\n"}),
        False,
    )


async def test_a_mounted_config_map_is_followed(tmp_path: Path) -> None:
    """Kubernetes swaps a `..data` link (`failures.md` F02)."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "cluster.yaml").write_text(f"a: {version}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "cluster.yaml").symlink_to("..data/cluster.yaml")
    spec = SpecFiles(tmp_path)
    before = (await spec.read()).files
    (tmp_path / "..swap").symlink_to("..2")
    (tmp_path / "..swap").rename(tmp_path / "..data")

    assert (before, (await spec.read()).files) == ({"cluster.yaml": b"a: 1\n"}, {"cluster.yaml": b"a: 2\n"})


def fifo(path: Path) -> None:
    """Put something there that would block who opens it."""
    os.mkfifo(path)


def huge(path: Path) -> None:
    """Put a file there that is too large, without its bytes."""
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "does not exist"),
        (fifo, "is no regular file"),
        (huge, "is 16 MiB, at most 16 MiB are read"),
        (lambda path: path.mkdir(), "holds no *.yaml"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ],
    ids=["absent", "fifo", "huge", "empty directory", "link to itself"],
)
async def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    """And each keeps the last good spec in force."""
    path = tmp_path / "cluster.yaml"
    make(path)
    failure = await refusal(SpecFiles(path))

    assert (failure.code, failure.what) == (Code.CONFIG, f"{path} {what}")
    assert "Nothing new is put in force until that is mended." in failure.hint


async def test_a_directory_that_vanished_is_a_sentence(tmp_path: Path) -> None:
    """An unmounted disk deletes nothing."""
    failure = await refusal(SpecFiles(tmp_path / "gone" / "cluster.yaml"))

    assert failure.what == f"{tmp_path}/gone/cluster.yaml does not exist"


# --- watching ---


@contextlib.asynccontextmanager
async def watching(hints: AsyncIterator[None]) -> AsyncIterator[asyncio.Queue[None]]:
    """Collect hints into a queue while the block runs."""
    queue: asyncio.Queue[None] = asyncio.Queue()

    async def collect() -> None:
        async for _ in hints:
            queue.put_nowait(None)

    task = asyncio.create_task(collect())
    await queue.get()  # the first hint comes at once
    await asyncio.sleep(0.2)  # inotify's watches are set up in a thread; nothing says when
    yield queue
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def heard(queue: asyncio.Queue[None]) -> bool:
    """Return whether a hint comes."""
    try:
        async with asyncio.timeout(15):
            await queue.get()
    except TimeoutError:
        return False
    return True


def replace(path: Path, content: bytes) -> None:
    """Save as editors do: a temporary file renamed over the old one (`failures.md` F01)."""
    temporary = path.with_name(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


async def test_every_atomic_save_is_noticed(tmp_path: Path) -> None:
    """Not only the first, as when the file itself is watched."""
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"a: 0\n")
    noticed = []
    async with watching(watch(path)) as queue:
        for number in range(1, 4):
            replace(path, b"a: %d\n" % number)
            noticed.append(await heard(queue))

    assert noticed == [True, True, True]


async def test_a_commit_is_noticed(repository: Path) -> None:
    """In git it is the commit that counts, also one that touches no watched directory."""
    spec = SpecFiles(repository / "home" / "cluster.yaml")
    await spec.read()
    async with watching(spec.watch()) as queue:
        git(repository, "commit", "--quiet", "--allow-empty", "-m", "second")
        noticed = await heard(queue)

    assert noticed


async def test_a_referred_file_is_noticed(tmp_path: Path) -> None:
    """Its directory is watched once it was read."""
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "a.yaml").write_bytes(b"a: 1\n")
    (tmp_path / "cluster.yaml").write_bytes(ADDON)
    spec = SpecFiles(tmp_path / "cluster.yaml")
    await spec.read()
    async with watching(spec.watch()) as queue:
        (tmp_path / "extras" / "a.yaml").write_bytes(b"a: 22\n")
        noticed = await heard(queue)

    assert noticed


async def test_a_manifest_that_appears_is_noticed(tmp_path: Path) -> None:
    """The first one of a pattern too: its directory need not even be there when the spec is read."""
    (tmp_path / "cluster.yaml").write_bytes(ADDON)
    spec = SpecFiles(tmp_path / "cluster.yaml")
    await spec.read()
    noticed = []
    async with watching(spec.watch()) as queue:
        (tmp_path / "extras").mkdir()
        for name in ("a.yaml", "b.yaml"):
            (tmp_path / "extras" / name).write_bytes(b"a: 1\n")
            noticed.append(await heard(queue))

    assert noticed == [True, True]


async def test_a_file_that_appears_later_is_noticed(tmp_path: Path) -> None:
    """The nearest directory that exists is watched meanwhile (`failures.md` F10)."""
    path = tmp_path / "later" / "cluster.yaml"
    async with watching(watch(path, tick=0.2)) as queue:
        path.parent.mkdir()
        path.write_bytes(b"a: 1\n")
        noticed = await heard(queue)

    assert noticed


async def test_foreign_files_wake_nobody(tmp_path: Path) -> None:
    """Swap files and neighbours change all the time (`failures.md` F09)."""
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"a: 0\n")
    async with watching(watch(path)) as queue:
        (tmp_path / ".cluster.yaml.swp").write_bytes(b"swap")
        (tmp_path / "notes.txt").write_bytes(b"notes")
        await asyncio.sleep(0.3)
        silent = queue.empty()
        replace(path, b"a: 1\n")
        noticed = await heard(queue)

    assert (silent, noticed) == (True, True)


async def test_without_inotify_changes_are_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that cannot be started, or dies, is replaced by looking (`failures.md` F03, F06)."""

    def broken(*_places: object, **_options: object) -> AsyncIterator[None]:
        async def fail() -> AsyncIterator[None]:
            raise OSError(28, "No space left on device")
            yield

        return fail()

    monkeypatch.setattr(adapter, "awatch", broken)
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"a: 0\n")
    async with watching(watch(path, sleep=lambda _: asyncio.sleep(0.01))) as queue:
        replace(path, b"a: 1\n")
        noticed = await heard(queue)

    assert noticed


async def test_the_tick_finds_what_no_event_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems and overflows are silent (`failures.md` F05, F07): stat tells all the same."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(adapter, "_places", lambda *_: (str(elsewhere),))
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"a: 0\n")
    async with watching(watch(path, tick=0.05)) as queue:
        replace(path, b"a: 1\n")
        noticed = await heard(queue)

    assert noticed


def in_the_watcher() -> int:
    """Return how many of anyio's threads run what they were given, which is no Python; an idle one waits in its queue."""
    frames = sys._current_frames()
    tops = (frames[one.ident] for one in threading.enumerate() if one.ident in frames and one.name.startswith("AnyIO"))
    return sum(Path(top.f_code.co_filename).name == "_asyncio.py" for top in tops)


async def test_the_watchers_thread_ends_with_the_watch(tmp_path: Path) -> None:
    """The next look by itself is an hour off: what is cancelled is told so, and does not wait for it (`failures.md` F11)."""
    (tmp_path / "cluster.yaml").write_bytes(ADDON)
    async with watching(watch(tmp_path / "cluster.yaml", tick=3600)):
        during = in_the_watcher()
    async with asyncio.timeout(60):
        while in_the_watcher():
            await asyncio.sleep(0.01)

    assert during == 1
