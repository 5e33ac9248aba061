"""`cpcd validate` and `cpcd schema`, without a daemon."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cpcd.spec import read_spec
from tests.unit.cli.conftest import Run, as_nobody
from tests.unit.cli.daemon import Daemon
from tests.unit.status.scene import SPEC

ADDON = b"  addons: [{name: extras, manifests: [{file: extras.yaml}]}]\n"
VALID = f"cluster.yaml: valid (home), generation {read_spec({'x': SPEC}).digest[:12]}"
MISTAKE = SPEC.replace(b"replicas: 1", b"replicas: 2").replace(b"version:", b"versoin:")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid cluster.yaml in the working directory."""
    path = tmp_path / "cluster.yaml"
    path.write_bytes(SPEC)
    return path


def test_a_valid_file_is_said_with_its_generation(run: Run, file: Path) -> None:
    """Without a path, the file in the working directory is meant."""
    assert (0, f"{VALID}\n", "") == run("validate")


def test_a_valid_file_needs_neither_rich_nor_what_planners_want(file: Path) -> None:
    """A third of the start was modules that this command has no use for."""
    code = (
        "import sys; from cpcd.cli.app import invoke; invoke(['validate']);"
        "heavy = {'rich', 'aiohttp', 'structlog', 'asyncio', 'cpcd.model.desired'};"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stderr.strip()


def test_mistakes_are_all_told_with_their_places(run: Run, file: Path) -> None:
    """Exit code 1, each mistake with line and column, in the shape that is asked for."""
    file.write_bytes(MISTAKE)
    code, out, _ = run("validate", str(file), "-o", "json")
    told = json.loads(out)
    places = {(mistake["path"], mistake["line"]) for mistake in told["mistakes"]}

    assert (1, False) == (code, told["valid"])
    assert {("spec.versoin", 6)} <= places


def test_the_effective_file_means_the_same(run: Run, file: Path) -> None:
    """What `--show-defaults` prints can be used as the file."""
    _, out, _ = run("validate", "--show-defaults")

    assert read_spec({"x": SPEC}).digest == read_spec({"x": out.encode()}).digest


def test_a_directory_is_one_spec(run: Run, tmp_path: Path, file: Path) -> None:
    """Two files that claim the same VMIDs are found together."""
    other = SPEC.replace(b"name: home", b"name: away")
    (tmp_path / "other.yml").write_bytes(other)
    code, out, _ = run("validate", str(tmp_path))

    assert (1, True) == (code, "overlaps" in out)


def test_a_manifest_that_is_missing_is_a_mistake(run: Run, file: Path) -> None:
    """Files that the spec refers to are looked for beside it."""
    file.write_bytes(SPEC + b"  addons: [{name: extras, manifests: [{file: extras.yaml}]}]\n")
    before = run("validate")
    file.with_name("extras.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")

    assert [(1, True), (0, False)] == [(code, "extras.yaml" in out) for code, out, _ in (before, run("validate"))]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [(["validate"], 2, "there is no cluster.yaml"), (["validate", "none.yaml"], 1, "none.yaml does not exist")],
)
def test_a_file_that_is_not_there_is_a_sentence(run: Run, args: list[str], code: int, words: str) -> None:
    """Nothing named is a misuse; a name that cannot be read is an error."""
    found, _, err = run(*args)

    assert (code, True) == (found, words in err)


def test_a_directory_is_what_the_daemon_reads_of_it(run: Run, tmp_path: Path) -> None:
    """Neither an editor's files nor a directory that is called like one."""
    place = tmp_path / "clusters"
    (place / "old.yaml").mkdir(parents=True)
    (place / "cluster.yaml").write_bytes(SPEC)
    (place / ".cluster.yaml").write_bytes(b"a: [")
    (place / ".#cluster.yaml").symlink_to("me@host.1234")

    assert 0 == run("validate", str(place))[0]


def test_a_link_is_followed_to_where_its_manifests_are(run: Run, tmp_path: Path, file: Path) -> None:
    """As the daemon does; mistakes name the file that is there."""
    (tmp_path / "infra").mkdir()
    file.rename(tmp_path / "infra" / "home.yaml").write_bytes(SPEC + ADDON)
    (tmp_path / "infra" / "extras.yaml").write_bytes(b"a: 1\n")
    (tmp_path / "link.yaml").symlink_to("infra/home.yaml")
    code, out, _ = run("validate", "link.yaml")

    assert (1, True) == (code, out.startswith(f"{tmp_path}/infra/extras.yaml:1:1: apiVersion: is missing"))


def test_a_link_in_a_work_tree_is_refused_as_by_the_daemon(run: Run, tmp_path: Path, file: Path) -> None:
    """Committed or not: once it is, the daemon reads no document there."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "cluster.yaml").symlink_to(file)
    code, _, err = run("validate", "specs")

    assert (1, True) == (code, f"CPCD-102 {tmp_path}/specs/cluster.yaml is a symbolic link" in err)


def test_every_broken_manifest_is_told_with_its_place(run: Run, file: Path) -> None:
    """The daemon would refuse them, so they are not valid here either; nothing of their lines is shown."""
    file.write_bytes(SPEC + ADDON.replace(b"extras.yaml", b"extras-*.yaml"))
    file.with_name("extras-a.yaml").write_text("stringData: {password: [geheim\n")
    file.with_name("extras-b.yaml").write_text("kind: Secret\nmetadata: {name: x}\n")
    code, out, _ = run("validate")
    told = [(m["file"], m["line"]) for m in json.loads(run("validate", "-o", "json")[1])["mistakes"]]

    assert (1, False) == (code, "geheim" in out)
    assert told == [("extras-a.yaml", 2), ("extras-b.yaml", 1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("<&-", "CPCD-107 standard input is closed\n  do: Give it a file: `cpcd validate - < cluster.yaml`.\n"),
        ("< /dev/zero", "stdin: is 16,384 KiB; at most 1,024 KiB are read\n"),
    ],
)
def test_standard_input_that_is_none_is_a_sentence(given: str, said: str) -> None:
    """Closed, and without end."""
    command = f"{sys.executable} -m cpcd validate - {given}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)

    assert (done.stdout + done.stderr).startswith(said)


def test_a_working_directory_that_is_gone_is_a_sentence(run: Run, tmp_path: Path) -> None:
    """A path relative to it leads nowhere."""
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert (2, "", "CPCD-107 cluster.yaml: the working directory is no more") == (
        *(told := run("validate", "cluster.yaml"))[:2], told[2].splitlines()[0],
    )  # fmt: skip


AGAINST = {
    "file": "cluster.yaml", "line": 4, "column": 18, "path": "metadata.name", "message": "demo became home", "hint": "no",
}  # fmt: skip


def test_the_daemon_that_keeps_the_spec_is_asked_what_stands(run: Run, quiet: Daemon, file: Path) -> None:
    """What cannot change any more has a place in the file too; another's spec is compared with nothing."""
    quiet.spec = str(file)
    fine = run("validate")
    quiet.warnings = ["home: general is no longer in the file"]
    warned, machine = run("validate"), json.loads(run("validate", "-o", "json")[1])
    quiet.against = [AGAINST]
    refused = run("validate", str(file))
    quiet.spec, quiet.against, quiet.warnings = "/elsewhere", [], []

    assert fine[:2] == (0, f"{VALID}; nothing that stands is against it\n")
    assert warned[:2] == (0, f"{fine[1]}warning: home: general is no longer in the file\n")
    assert (True, ["home: general is no longer in the file"]) == (machine["valid"], machine["warnings"])
    assert refused[1].splitlines()[:3] == [
        f"{file}:4:18: metadata.name: demo became home; no", "    metadata: {name: home}", "                     ^",
    ]  # fmt: skip
    assert refused[0] == 1
    assert run("validate")[:2] == (0, f"{VALID}\n")


def test_a_daemon_that_cannot_be_asked_is_no_mistake_of_the_spec(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is left over: the spec is valid as far as it goes, and that is said."""
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind("c.sock")
    monkeypatch.setenv("CPCD_SOCKET", "c.sock")

    assert run("validate")[:2] == (0, f"{VALID}; not compared with what stands: no daemon answers here\n")


def test_the_schema_is_json(run: Run) -> None:
    """Editors read it as it is printed."""
    _, out, _ = run("schema")

    assert "cpcd cluster.yaml" == json.loads(out)["title"]


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_what_is_no_file_to_read_is_refused_at_once(run: Run, tmp_path: Path, kind: str) -> None:
    """A pipe would be waited for, and nobody's spec is as large as a disk."""
    path = tmp_path / "cluster.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(17 << 20)
    code, _, told = run("validate", str(path))

    assert code == 1
    assert "is no regular file" in told or "is 17 MiB, at most 16 MiB are read" in told


def test_without_a_file_here_the_daemons_own_is_meant(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting `spec` says where it is."""
    (tmp_path / "elsewhere.yaml").write_bytes(SPEC)
    (tmp_path / "cpcd.toml").write_text(f'spec = "{tmp_path}/elsewhere.yaml"\n')
    monkeypatch.setenv("CPCD_CONFIG", str(tmp_path / "cpcd.toml"))
    code, out, _ = run("validate")

    assert (0, True) == (code, out.startswith(f"{tmp_path}/elsewhere.yaml: valid (home)"))


def test_a_spec_that_may_not_be_read_is_a_matter_of_rights(run: Run, file: Path, tmp_path: Path) -> None:
    """CPCD-101 and what to do, not a mistake of the file."""
    tmp_path.chmod(0o755)
    with as_nobody(file):
        code, _, err = run("validate", str(file))
    file.chmod(0o600)

    assert (1, f"CPCD-101 {file}: you may not read it") == (code, err.splitlines()[0])
