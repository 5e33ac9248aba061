"""The door: what is listed, what a misuse says, and that nothing leaves as a traceback."""

import errno
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cpcd.cli import app
from tests.unit.cli.conftest import Run, as_nobody


def test_the_list_says_what_each_command_says_of_itself() -> None:
    """The list is written without importing a command, so it is compared here."""
    context = click.Context(app.cli)
    found = {name: app.cli.get_command(context, name) for name in app.COMMANDS}

    assert app.COMMANDS == {name: command and command.short_help for name, command in found.items()}


def test_help_imports_nothing_heavy() -> None:
    """What makes a start slow is not even loaded by `cpcd --help`."""
    code = (
        "import sys; from cpcd.cli.app import invoke; invoke(['--help']);"
        "heavy = {'rich', 'yaml', 'pydantic', 'aiohttp', 'structlog', 'asyncio', 'sqlite3', 'http.client'};"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stderr.strip()


USES = """
import importlib.metadata
import importlib.metadata._meta
from importlib.metadata import PackageNotFoundError, entry_points, version
try:
    version("no-such-package")
except PackageNotFoundError:
    print(entry_points(group="console_scripts", name="cpcd")["cpcd"].value)
"""


def test_validate_reads_no_metadata_of_packages() -> None:
    """Pydantic only imports what would; to whoever does use it, it is as ever."""
    code = (
        "import os, sys; from cpcd.cli import app\n"
        "def left(code):\n print('email' in sys.modules, end=' ')\n exec(sys.argv[1])\n sys.stdout.flush()\n"
        "os._exit = left; app.main(['validate', sys.argv[2]])"
    )
    spec = str(Path(__file__).parents[3] / "specs" / "minimal.yaml")
    done = subprocess.run([sys.executable, "-c", code, USES, spec], capture_output=True, text=True, check=True)

    assert "False cpcd.cli:main" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "words", "hint"),
    [
        (["statu"], "no such command: statu; did you mean status?", "`cpcd --help`"),
        (["zzz"], "no such command: zzz", "`cpcd --help`"),
        (["--zzz"], "no such option '--zzz'", "`cpcd --help`"),
        (["plan", "--zzz"], "no such option '--zzz'", "`cpcd plan --help`"),
        (["plan", "-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml'", "`cpcd plan --help`"),
        (["pause"], "missing argument 'CLUSTER'", "`cpcd pause --help`"),
        (["pause", "a", "b"], "unexpected extra argument", "`cpcd pause --help`"),
        (["events", "-n", "0"], "0 is not in the range", "`cpcd events --help`"),
        (["status", "--watch", "-o", "json"], "--watch shows the table", "`cpcd status --help`"),
        (["status", "-n", "5"], "add --watch", "`cpcd status --help`"),
        (["status", "-n", "1.0", "-o", "json"], "add --watch", "`cpcd status --help`"),
        (["explain", "zzz"], "there is no code, reason or condition called zzz", "CPCD-100"),
    ],
)
def test_a_misuse_is_a_sentence_with_a_code(run: Run, args: list[str], words: str, hint: str) -> None:
    """Exit code 2, CPCD-107, what was wrong and where to read; nothing on stdout."""
    code, out, err = run(*args)

    assert (2, "", True, True, True) == (code, out, err.startswith("CPCD-107 "), words in err, hint in err)


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    """A bare `cpcd` is a misuse that explains itself."""
    code, _, err = run()

    assert (2, True) == (code, "Commands:" in err)


def test_an_unexpected_exception_is_kept_in_a_file_and_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The terminal gets a code and the place; the traceback is in a file for its owner alone."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("cpcd.cli.explain.explained", lambda _: {}["gone"])
    code, _, err = run("explain", "CPCD-100")
    (log,) = tmp_path.glob("cpcd-*.log")

    assert (1, True, False) == (code, err.startswith("CPCD-199 unexpected KeyError"), "Traceback" in err)
    assert (True, True, "600") == (str(log) in err, "Traceback" in log.read_text(), f"{log.stat().st_mode & 0o777:o}")


@pytest.mark.parametrize("full", ["mkstemp", "gettempdir"])
def test_an_unexpected_exception_is_a_sentence_also_where_no_file_can_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """A full disk is when commands fail most; the place of the failure is all that is told then."""
    import tempfile

    def no_room(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, full, no_room)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("cpcd.cli.explain.explained", lambda _: {}["gone"])
    code, _, err = run("explain", "CPCD-100")

    assert (1, False, True) == (
        code,
        "Traceback" in err,
        err.startswith("CPCD-199 unexpected KeyError in <lambda>, line"),
    )
    assert "No space left on device" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(run: Run, shell: str) -> None:
    """The script names the program and the variable that it talks through."""
    code, out, _ = run("--show-completion", shell)

    assert (0, True) == (code, "_CPCD_COMPLETE" in out)


def test_a_reader_that_leaves_is_no_error() -> None:
    """`cpcd schema | head -1` ends quietly."""
    command = f"{sys.executable} -m cpcd schema | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert ("0\n", "") == (done.stdout, done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_output_is_a_sentence() -> None:
    """What cannot be printed is not cpcd's bug."""
    command = f"{sys.executable} -m cpcd schema >/dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    said, *_ = done.stderr.splitlines()

    assert (1, "CPCD-106 what was to be printed cannot be written: No space left on device") == (done.returncode, said)


@pytest.mark.parametrize("args", ["--help", "schema", "explain CPCD-100"])
def test_a_closed_output_is_no_error(args: str) -> None:
    """Nobody listens: nothing is printed, and the exit code still says how it went."""
    command = f"{sys.executable} -m cpcd {args} >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("args", [["status"], ["plan"], ["validate"], ["events"], ["pause", "home"], ["kubeconfig"]])
def test_who_is_not_in_the_group_is_told_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """`/etc/cpcd` is closed to others: that is a matter of rights, and not of a missing file or a bug."""
    closed = tmp_path / "etc"
    closed.mkdir()
    (closed / "cpcd.toml").write_text("")
    monkeypatch.setattr("cpcd.cli.session._CONFIG", str(closed / "cpcd.toml"))
    monkeypatch.setattr("cpcd.settings.CONFIG", closed / "cpcd.toml")
    tmp_path.chmod(0o755)
    with as_nobody(closed):
        code, _, err = run(*args)
    closed.chmod(0o700)

    assert (1, f"CPCD-101 {closed / 'cpcd.toml'}: you may not read it") == (code, err.splitlines()[0])
    assert "sudo" in err
