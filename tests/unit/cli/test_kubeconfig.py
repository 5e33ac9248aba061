"""`cpcd kubeconfig`: the caller's own file loses nothing."""

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import Run
from tests.unit.cli.daemon import KUBECONFIG, Daemon

OWN = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://w"}}, {"name": "home", "cluster": {"server": "old"}}],
    "users": [{"name": "me", "user": {}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
    "preferences": {"colors": True},
}


def test_it_can_be_printed(run: Run, quiet: Daemon, tmp_path: Path) -> None:
    """`--print` changes nothing."""
    assert (0, KUBECONFIG, "") == run("kubeconfig", "--print")
    assert not (tmp_path / ".kube").exists()


def test_a_first_kubeconfig_is_made_private_and_current(run: Run, quiet: Daemon, tmp_path: Path) -> None:
    """Without one, `~/.kube/config` is written for its owner alone."""
    run("kubeconfig")
    path = tmp_path / ".kube" / "config"

    assert ("600", "home") == (f"{path.stat().st_mode & 0o777:o}", yaml.safe_load(path.read_text())["current-context"])


@pytest.mark.parametrize(("args", "current"), [([], "work"), (["--use"], "home")])
def test_other_entries_stay_and_ours_is_replaced(
    run: Run, quiet: Daemon, tmp_path: Path, args: list[str], current: str
) -> None:
    """Contexts of other clusters, the current one and what cpcd does not know survive; the old file is kept."""
    path = tmp_path / "mine"
    path.write_text(yaml.safe_dump(OWN))
    run("kubeconfig", "home", "--file", str(path), *args)
    whole = yaml.safe_load(path.read_text())

    assert ["https://w", "https://10.10.10.110:6443"] == [entry["cluster"]["server"] for entry in whole["clusters"]]
    assert (current, {"colors": True}) == (whole["current-context"], whole["preferences"])
    assert OWN == yaml.safe_load(path.with_name("mine.before-cpcd").read_text())


def test_the_variable_is_followed_and_a_link_stays_a_link(
    run: Run, quiet: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first file of $KUBECONFIG is meant, where it really is."""
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'link'}:/elsewhere")
    run("kubeconfig")

    assert (True, True) == ((tmp_path / "link").is_symlink(), "10.10.10.110" in (tmp_path / "real").read_text())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"clusters:\n- token: [s3cret\n", "line 3 is no YAML"),
        (b"- list\n", "it is no mapping"),
        (b"[]\n", "it is no mapping"),
        (b"\xff\xfe", "it is no YAML"),
        (b"a: 2026-02-31\n", "it is no YAML"),
        (b"a: !!bool s3cret\n", "it is no YAML"),
        (b"[" * 5000, "it is no YAML"),
        (b"clusters: abc\n", "clusters is no list"),
        (b"users: {a: 1}\n", "users is no list"),
        (b"contexts: [x]\n", "contexts[0] is no mapping with a name that is text"),
        (b"contexts: [{name: a}, null]\n", "contexts[1] is no mapping with a name that is text"),
        (b"clusters: [{name: [1]}]\n", "clusters[0] is no mapping with a name that is text"),
        (b"clusters: [{cluster: {}}]\n", "clusters[0] is no mapping with a name that is text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_kubeconfig_is_left_alone(
    run: Run, quiet: Daemon, tmp_path: Path, content: bytes, why: str
) -> None:
    """What cannot be understood is not replaced; which file and what is wrong with it is said, without its secrets."""
    path = tmp_path / "mine"
    path.write_bytes(content)
    code, _, err = run("kubeconfig", "--file", str(path))

    words = f"CPCD-107 {path}: it cannot be read as a kubeconfig and is left as it is: {why}"
    assert (2, words, content) == (code, err.split("\n")[0], path.read_bytes())
    assert "s3cret" not in err


def test_lists_that_are_null_are_empty(run: Run, quiet: Daemon, tmp_path: Path) -> None:
    """That is how kubectl leaves a file from which everything was deleted."""
    path = tmp_path / "mine"
    path.write_text("apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: ''\nkind: Config\nusers: null\n")
    code, _, _ = run("kubeconfig", "--file", str(path))

    assert (0, "home") == (code, yaml.safe_load(path.read_text())["contexts"][0]["name"])


@pytest.mark.parametrize(("shape", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_program_can_have_it_in_its_own_shape(run: Run, quiet: Daemon, shape: str, read: object) -> None:
    """The kubeconfig with `--print`, else what was done with it."""
    assert callable(read)
    assert yaml.safe_load(KUBECONFIG) == read(run("kubeconfig", "--print", "-o", shape)[1])
    assert "home" == read(run("kubeconfig", "-o", shape)[1])["context"]


@pytest.mark.parametrize("args", [["--use"], ["--file", "mine"]])
def test_an_option_that_would_be_ignored_is_refused(run: Run, quiet: Daemon, args: list[str]) -> None:
    """Whoever prints it and names a file means something else."""
    code, _, err = run("kubeconfig", "--print", *args)

    assert (2, True) == (code, "--print changes nothing" in err)


def test_a_place_that_cannot_be_written_is_a_sentence(run: Run, quiet: Daemon) -> None:
    """The file and what the system says, no traceback."""
    code, _, err = run("kubeconfig", "--file", "/proc/nowhere/config")

    assert (1, True) == (code, err.startswith("CPCD-106 /proc/nowhere/config: it cannot be written: "))
