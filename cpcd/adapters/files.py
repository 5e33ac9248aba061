"""The spec's bytes: what is committed in a git work tree, else the file or directory as it lies there.

git is asked only for objects (`cat-file`), so that no hook, filter, fsmonitor or remote of a
repository ever runs. Nothing is parsed here but the names of referred files; what lies on the disk is read by
`disk.py`, and `cpcd.spec.read_spec` judges the bytes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from watchfiles import awatch

from cpcd.adapters.disk import (
    KEPT,
    MAX_BYTES,
    Snapshot,
    linked,
    matches,
    members,
    nested,
    read_disk,
    too_large,
    work_tree,
)
from cpcd.model.errors import Code, Failure
from cpcd.spec import Reading, matching, patterns, read_spec

__all__ = ["SpecFiles", "watch"]

GIT_SECONDS: Final = 10.0
TICK_SECONDS: Final = 5.0  # `failures.md` F05: an overflow of inotify is silent; so is what changed before it ran
POLL_SECONDS: Final = 5.0  # `failures.md` F03: without inotify
# A commit is seen when so long nothing more has happened, and after so long whatever happens: looking again is cheap.
# watchfiles' thread wakes up once a step; its own 50 ms would be half of what an edit may take to its first write.
STEP_MS: Final = 20
DEBOUNCE_MS: Final = 200
_SHARED: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
_TREE: Final = "40000"  # modes in a tree (git-fast-import(1)): a directory
_ELSEWHERE: Final = {"120000": linked, "160000": nested}  # a symbolic link, a submodule
_NEVER: Final[tuple[object, ...]] = (None,)


class SpecFiles:
    """Reads and watches one spec; `path` is a file or a directory whose `*.yaml` and `*.yml` are one spec."""

    def __init__(self, path: Path | str, worktree: bool = False, *, git: str = "git") -> None:
        self._path = Path(path)
        self._worktree = worktree
        self._git = git
        self._wanted: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it is: an absolute path, links resolved."""
        return os.path.realpath(self._path)

    async def read(self, *, lying: bool = False) -> Snapshot:
        """Return the spec as it is now, with `lying` as it lies there, committed or not; repeatable, changes nothing.

        Raises Failure: Code.CONFIG when it is absent, empty, not committed or not readable; Code.DEPENDENCY when git
        is needed and not installed; Code.TIMEOUT when git does not answer within 10 s. Each leaves the last good spec
        in force: an absent spec never means that everything shall be deleted (`failures.md` F04).
        """
        spec, top = await asyncio.to_thread(_located, self._path)
        if top is None or self._worktree or lying:
            snapshot = await asyncio.to_thread(read_disk, spec)
        else:
            snapshot = await self._head(spec, top)
        self._wanted = await asyncio.to_thread(patterns, snapshot.files)
        return snapshot

    @staticmethod
    async def judge(files: Mapping[str, bytes], referred: Mapping[str, bytes]) -> Reading:
        """Return what `read_spec` makes of it; in a thread, since a mistaken file can take seconds."""
        return await asyncio.to_thread(read_spec, files, referred=referred)

    def watch(self) -> AsyncGenerator[None]:
        """Yield when the spec, a file that it refers to, or the commit at HEAD may have changed; see `watch`."""
        return watch(self._path, also=lambda: self._wanted)

    async def _head(self, spec: Path, top: Path) -> Snapshot:
        where = spec.relative_to(top).parts
        async with _objects(self._git, top) as git:
            commit, tree = await git.head()
            below = await git.directory(tree, where)
            names = (await git.directory(tree, where[:-1]) or Directory()) if below is None else below
            base, own = (spec.parent, where[-1:]) if below is None else (spec, members(names))
            files = await git.blobs(_regular(base, names, (name for name in own if name in names)))
            referred = await git.blobs(await _beside(git, base, names, files))
        if not files:
            what = f"{spec} is not committed, or holds no committed *.yaml (HEAD is {commit[:7]})"
            raise Failure(Code.CONFIG, what, hint=f"Commit it, or set worktree. {KEPT}")
        uncommitted = await asyncio.to_thread(_differs, spec, files, referred)
        source = f"git HEAD {commit[:7]} ({_branch(top) or 'detached'})"
        return Snapshot(files, commit, uncommitted, source, referred)


async def _beside(git: "_Git", base: Path, names: "Directory", files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the ids of what the spec's files refer to, by name."""
    wanted = await asyncio.to_thread(patterns, files)
    found = [await git.matching(base, names, each) for each in wanted]
    return dict(sorted((name, oid) for each in found for name, oid in each.items() if name not in files))


# --- what is committed --------------------------------------------------------------------------------------------


def _located(path: Path) -> tuple[Path, Path | None]:
    """Return what a path really is and the work tree that holds it; resolved anew at every read (`failures.md` F02)."""
    spec = Path(os.path.realpath(path))
    return spec, work_tree(spec)


def _differs(spec: Path, files: Mapping[str, bytes], referred: Mapping[str, bytes]) -> bool:
    """Return whether the work tree says something else than HEAD; line ends are git's business, not an edit."""
    try:
        disk = read_disk(spec)
    except Failure:
        return True
    plain = [{name: content.replace(b"\r\n", b"\n") for name, content in each.items()}
             for each in (files, referred, disk.files, disk.referred)]  # fmt: skip
    return plain[:2] != plain[2:]


class _Entry(NamedTuple):
    """What a name in a directory of a commit stands for."""

    mode: str
    oid: str

    @property
    def regular(self) -> bool:
        """Whether it is a file."""
        return self.mode.startswith("100")


Directory = dict[str, _Entry]


def _allowed(base: Path, names: Directory, chosen: Iterable[str]) -> Iterator[tuple[str, _Entry]]:
    """Yield what stands behind names of a directory; a symbolic link's blob is where it points to and not what is there."""
    for name in chosen:
        if refused := _ELSEWHERE.get(names[name].mode):
            raise refused(base / name)
        yield name, names[name]


def _regular(base: Path, names: Directory, chosen: Iterable[str]) -> dict[str, str]:
    return {name: entry.oid for name, entry in _allowed(base, names, chosen) if entry.regular}


class _Git:
    """Reads the objects of one repository from one `git cat-file --batch`, where a start is dearer than all it answers."""

    def __init__(self, process: asyncio.subprocess.Process, top: Path) -> None:
        self._process, self._top = process, top

    async def head(self) -> tuple[str, str]:
        """Return the ids of the commit at HEAD and of its tree; a detached HEAD is as good as a branch."""
        found = await self._read("HEAD^{commit}", "the commit")
        if found is None:
            what = f"{self._top} is a git work tree without a commit"
            raise Failure(Code.CONFIG, what, hint=f"Commit the spec, or set worktree. {KEPT}")
        commit, content = found
        return commit, content.split(maxsplit=2)[1].decode()  # `tree <oid>` is its first line

    async def directory(self, tree: str, where: Sequence[str]) -> Directory | None:
        """Return what a directory below a tree holds, None when there is no such."""
        names = await self._tree(tree, "its directory")
        for part in where:
            if part not in names or names[part].mode != _TREE:
                return None
            names = await self._tree(names[part].oid, part)
        return names

    async def matching(self, base: Path, names: Directory, wanted: str) -> dict[str, str]:
        """Return the files that a pattern stands for, by path from `names`, which is `base`, with their ids."""
        *folders, last = wanted.split("/")
        level = [("", names)]
        for piece in folders:
            level = [
                (f"{place}{name}/", await self._tree(entry.oid, name))
                for place, inner in level for name, entry in _allowed(base / place, inner, matching(piece, inner))
                if entry.mode == _TREE
            ]  # fmt: skip
        return {
            f"{place}{name}": oid
            for place, inner in level for name, oid in _regular(base / place, inner, matching(last, inner)).items()
        }  # fmt: skip

    async def blobs(self, wanted: Mapping[str, str]) -> dict[str, bytes]:
        """Return the content of objects by name."""
        return {name: await self._content(oid, name) for name, oid in wanted.items()}

    async def _tree(self, oid: str, called: str) -> Directory:
        found, content, size, at = Directory(), await self._content(oid, called), len(oid) // 2, 0
        while at < len(content):
            # `<mode> SP <name> NUL <oid in bytes>` for each.
            end = content.index(b"\0", at)
            mode, _, name = content[at:end].partition(b" ")
            at = end + 1 + size
            found[os.fsdecode(name)] = _Entry(mode.decode(), content[end + 1 : at].hex())
        return found

    async def _content(self, oid: str, name: str) -> bytes:
        found = await self._read(oid, name)
        if found is None:
            raise Failure(Code.CONFIG, f"git has no content of {name}: {oid} is missing", hint=KEPT)
        return found[1]

    async def _read(self, revision: str, name: str) -> tuple[str, bytes] | None:
        """Return id and content of an object, None when there is none; one that is too large is told by its size."""
        put, get = self._process.stdin, self._process.stdout
        assert put is not None, "a pipe"
        assert get is not None, "a pipe"
        put.write(f"{revision}\n".encode())
        # `<oid> SP <type> SP <size> LF <content> LF`, or `<revision> SP missing LF` (git-cat-file(1)).
        try:
            words = (await get.readuntil(b"\n")).split()
            if len(words) != 3:
                return None
            if (size := int(words[2])) > MAX_BYTES:
                raise too_large(name, size)
            return words[0].decode(), (await get.readexactly(size + 1))[:-1]
        except asyncio.IncompleteReadError as error:
            raise await self._fallen() from error

    async def _fallen(self) -> Failure:
        said = (await self._process.communicate())[1].decode("utf-8", "replace").strip().removeprefix("fatal: ")
        what = f"git in {self._top} failed: {said.splitlines()[0] if said else 'it says nothing'}"
        return Failure(Code.CONFIG, what, hint=f"Commit the spec, or set worktree. {KEPT}")


@contextlib.asynccontextmanager
async def _objects(program: str, top: Path) -> AsyncGenerator[_Git]:
    """Run git for the time of one read; none of the repository's configuration can make it run anything."""
    pipe, own = asyncio.subprocess.PIPE, ("safe.directory=*", "core.fsmonitor=false", "core.hooksPath=/dev/null")
    argv = (program, "-C", str(top), *(word for each in own for word in ("-c", each)), "cat-file", "--batch")
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment())
    except OSError as error:
        what = f"the spec is in a git work tree, but {program} does not run: {error.strerror}"
        raise Failure(
            Code.DEPENDENCY, what, hint="Install git, or set worktree to read the files as they are."
        ) from error
    try:
        async with asyncio.timeout(GIT_SECONDS):
            yield _Git(process, top)
            await process.communicate(b"")
    except TimeoutError as error:
        raise Failure(Code.TIMEOUT, f"git did not answer within {GIT_SECONDS:.0f} s", hint=KEPT) from error
    finally:
        if process.returncode is None:
            # Also when the waiter is cancelled: nobody else would end it.
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """Return an environment with every prompt, lock and remote forbidden, and nothing of ours but where things are.

    A partial clone would fetch missing objects, and its remote may name a command: no protocol is allowed. Ours may
    hold the secrets that `credentialsRef.env` names, which no child is to see.
    """
    kept = {key: os.environ[key] for key in _SHARED if key in os.environ}
    own = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
    }
    return {**kept, **own, "LC_ALL": "C"}


# --- watching -----------------------------------------------------------------------------------------------------


async def watch(
    path: Path | str,
    *,
    also: Callable[[], Iterable[str]] = tuple,
    tick: float = TICK_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[None]:
    """Yield at once and whenever the spec may have changed; endless, cancellable, never raises for the file system.

    Directories are watched, not files (`failures.md` F01), and compared with stat at every wake and every `tick`
    seconds (F05, F07), so that foreign files in them wake nobody (F09). `also` returns the patterns of referred files,
    relative to the spec's directory: one that appears is news too. A watcher that fails is started again; without
    inotify it is stat every 5 s (F03, F06).
    """
    given, seen = Path(path), _NEVER
    while True:
        places = await asyncio.to_thread(_places, given, tuple(also()))
        wakes = _wakes(places, tick, sleep)
        async with contextlib.aclosing(wakes):
            async for _ in wakes:
                now = await asyncio.to_thread(_trace, given, tuple(also()))
                if now != seen:
                    seen = now
                    yield
                # A directory was made, or a link points elsewhere: the watcher itself knows only those that it began
                # with.
                if places != await asyncio.to_thread(_places, given, tuple(also())):
                    break


async def _wakes(places: Sequence[str], tick: float, sleep: Callable[[float], Awaitable[None]]) -> AsyncGenerator[None]:
    changes = awatch(
        *places, watch_filter=None, recursive=False, yield_on_timeout=True, rust_timeout=max(1, round(tick * 1000)),
        step=STEP_MS, debounce=DEBOUNCE_MS,
    )  # fmt: skip
    yield  # what changed while nothing was watched
    try:
        async with contextlib.aclosing(changes):
            async for _ in changes:
                yield
    except (OSError, RuntimeError):  # WatchfilesRustInternalError is a RuntimeError
        await sleep(POLL_SECONDS)


def _spec_and_git(path: Path) -> tuple[Path, Path | None]:
    spec, top = _located(path)
    return spec, None if top is None else _git_directory(top)


def _places(path: Path, also: Sequence[str]) -> tuple[str, ...]:
    """Return the directories to watch; a link is watched at both ends (`failures.md` F02, F10)."""
    spec, git = _spec_and_git(path)
    base = spec if spec.is_dir() else spec.parent
    names = (name for each in also for name in (each, *matches(base, each)))
    wanted = [base, path.parent, *((base / name).parent for name in names)]
    wanted += [] if git is None else [pointer.parent for pointer in _pointers(git)]
    return tuple(sorted({str(_existing(each)) for each in wanted}))


def _existing(place: Path) -> Path:
    return next((each for each in (place, *place.parents) if each.is_dir()), Path("/"))


def _trace(path: Path, also: Sequence[str]) -> tuple[object, ...]:
    """Return something that differs whenever the spec may: the identity and times of every file that counts."""
    spec, git = _spec_and_git(path)
    base = spec if spec.is_dir() else spec.parent
    own = [base / name for name in members(entry.name for entry in spec.iterdir())] if spec.is_dir() else [spec]
    pointers = () if git is None else _pointers(git)
    referred = (base / name for each in also for name in matches(base, each))
    return tuple((str(each), _identity(each)) for each in (*own, *referred, *pointers))


def _identity(path: Path) -> tuple[int, ...]:
    try:
        known = path.stat()
    except OSError:
        return ()
    return (known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns)


def _git_directory(top: Path) -> Path:
    """Return the repository of a work tree; in a linked one or a submodule, `.git` is a file that names it."""
    dot = top / ".git"
    return top / _text(dot).removeprefix("gitdir:").strip() if dot.is_file() else dot


def _pointers(git: Path) -> tuple[Path, ...]:
    """Return the files of which one changes when HEAD comes to mean another commit."""
    common = git / (_text(git / "commondir") or ".")
    reference = _text(git / "HEAD").removeprefix("ref:").strip()
    named = (common / reference,) if reference.startswith("refs/") else ()
    return (git / "HEAD", git / "logs" / "HEAD", common / "packed-refs", common / "reftable" / "tables.list", *named)


def _branch(top: Path) -> str:
    reference = _text(_git_directory(top) / "HEAD").removeprefix("ref:").strip()
    return reference.removeprefix("refs/heads/") if reference.startswith("refs/") else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
