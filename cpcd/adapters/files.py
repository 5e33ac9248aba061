"""The spec's bytes: what is committed in a git work tree, else the file or directory as it lies there.

git is asked only for objects (`rev-parse`, `ls-tree`, `cat-file`), so that no hook, filter, fsmonitor or remote of a
repository ever runs. Nothing is parsed here but the names of referred files; what lies on the disk is read by
`disk.py`, and `cpcd.spec.read_spec` judges the bytes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from watchfiles import awatch

from cpcd.adapters.disk import KEPT, MAX_BYTES, Snapshot, matches, members, read_disk, too_large
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
            snapshot = await asyncio.to_thread(read_disk, spec, worktree=top is not None)
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
        git = _Git(self._git, top)
        commit = await git.head()
        names, own = _committed(await git.list(commit), spec.relative_to(top).as_posix())
        if not own:
            what = f"{spec} is not committed, or holds no committed *.yaml (HEAD is {commit[:7]})"
            raise Failure(Code.CONFIG, what, hint=f"Commit it, or set worktree. {KEPT}")
        files = await git.blobs({name: names[name] for name in own})
        wanted = await asyncio.to_thread(_referred, files, names)
        referred = await git.blobs({name: names[name] for name in wanted})
        uncommitted = await asyncio.to_thread(_differs, spec, files, referred)
        source = f"git HEAD {commit[:7]} ({_branch(top) or 'detached'})"
        return Snapshot(files, commit, uncommitted, source, referred)


def _committed(entries: Mapping[str, str], where: str) -> tuple[dict[str, str], list[str]]:
    """Return all files below the spec's directory (name -> object id), and the names of the spec's own files."""
    directory = where == "." or any(name.startswith(f"{where}/") for name in entries)
    base = where if directory else Path(where).parent.as_posix()
    names = {_below(name, base): oid for name, oid in entries.items() if _below(name, base)}
    return names, members(names) if directory else [name for name in (Path(where).name,) if name in names]


def _referred(files: Mapping[str, bytes], names: Iterable[str]) -> list[str]:
    known = tuple(names)
    return sorted({name for each in patterns(files) for name in matching(each, known)} - files.keys())


# --- what is committed --------------------------------------------------------------------------------------------


def _located(path: Path) -> tuple[Path, Path | None]:
    """Return what a path really is and the work tree that holds it; resolved anew at every read (`failures.md` F02)."""
    spec = Path(os.path.realpath(path))
    return spec, _work_tree(spec)


def _work_tree(spec: Path) -> Path | None:
    """Return the nearest directory at or above the spec that has a `.git` (a file in linked work trees)."""
    places = (spec, *spec.parents)
    return next((place for place in places if os.access(place / ".git", os.F_OK)), None)


def _below(name: str, base: str) -> str:
    if base in ("", "."):
        return name
    return name[len(base) + 1 :] if name.startswith(f"{base}/") else ""


def _differs(spec: Path, files: Mapping[str, bytes], referred: Mapping[str, bytes]) -> bool:
    """Return whether the work tree says something else than HEAD; line ends are git's business, not an edit."""
    try:
        disk = read_disk(spec)
    except Failure:
        return True
    plain = [{name: content.replace(b"\r\n", b"\n") for name, content in each.items()}
             for each in (files, referred, disk.files, disk.referred)]  # fmt: skip
    return plain[:2] != plain[2:]


class _Git:
    """Object reads of one repository; none of its configuration can make git run anything."""

    def __init__(self, program: str, top: Path) -> None:
        self._top = top
        self._argv = (
            program, "-C", str(top), "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
        )  # fmt: skip

    async def head(self) -> str:
        """Return the id of the commit at HEAD; a detached HEAD is as good as a branch."""
        unborn = f"{self._top} is a git work tree without a commit"
        output = await self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", refused=unborn)
        return output.decode().strip()

    async def list(self, commit: str) -> dict[str, str]:
        """Return the regular files of a commit: path from the top -> object id."""
        found: dict[str, str] = {}
        for line in (await self._run("ls-tree", "-r", "-z", "--full-tree", commit)).split(b"\0")[:-1]:
            meta, _, name = line.partition(b"\t")
            mode, kind, oid = meta.decode().split()
            # 120000 is a symbolic link: its blob is where it points to and not what is there.
            if kind == "blob" and mode != "120000":
                found[os.fsdecode(name)] = oid
        return found

    async def blobs(self, wanted: Mapping[str, str]) -> dict[str, bytes]:
        """Return the content of objects by name."""
        if not wanted:
            return {}
        listed = "".join(f"{oid}\n" for oid in wanted.values()).encode()
        for line, name in zip(
            (await self._run("cat-file", "--batch-check", given=listed)).splitlines(), wanted, strict=True
        ):
            size = line.rpartition(b" ")[2]
            if size.isdigit() and int(size) > MAX_BYTES:
                raise too_large(name, int(size))
        return _unpacked(list(wanted), await self._run("cat-file", "--batch", given=listed))

    async def _run(self, *words: str, given: bytes = b"", refused: str = "") -> bytes:
        code, output, error = await _execute((*self._argv, *words), given)
        if code == 0:
            return output
        said = error.decode("utf-8", "replace").strip().removeprefix("fatal: ").splitlines()
        what = f"git {words[0]} in {self._top} failed: {said[0]}" if said else refused or f"git {words[0]} failed"
        raise Failure(Code.CONFIG, what, hint=f"Commit the spec, or set worktree. {KEPT}")


def _unpacked(names: Sequence[str], output: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    for name in names:
        # `<oid> SP <type> SP <size> LF <content> LF` for each, by length: the content may hold anything (git-cat-
        # file(1)).
        end = output.index(b"\n", at)
        kind, size = output[at:end].split()[-2:]
        if kind != b"blob" or not size.isdigit():
            raise Failure(Code.CONFIG, f"git has no content of {name}: {output[at:end].decode()}", hint=KEPT)
        at = end + 1 + int(size) + 1
        found[name] = output[end + 1 : at - 1]
    return found


async def _execute(argv: Sequence[str], given: bytes) -> tuple[int, bytes, bytes]:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment())
    except OSError as error:
        what = f"the spec is in a git work tree, but {argv[0]} does not run: {error.strerror}"
        raise Failure(
            Code.DEPENDENCY, what, hint="Install git, or set worktree to read the files as they are."
        ) from error
    try:
        async with asyncio.timeout(GIT_SECONDS):
            output, complaint = await process.communicate(given)
    except TimeoutError as error:
        raise Failure(Code.TIMEOUT, f"git did not answer within {GIT_SECONDS:.0f} s", hint=KEPT) from error
    finally:
        if process.returncode is None:
            # Also when the waiter is cancelled: nobody else would end it.
            process.kill()
            await process.wait()
    assert process.returncode is not None, "communicate waits for the end"
    return process.returncode, output, complaint


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
