"""The demo's work tree: it is its own, whatever git is told from outside."""

import os
import subprocess
from pathlib import Path

import pytest

from cpcd.lab.demo.tree import Tree, environment


def git(directory: Path, *words: str) -> str:
    """Run git as the user would."""
    own = ["-c", "user.name=u", "-c", "user.email=u@example.org"]
    done = subprocess.run(
        ["git", "-C", str(directory), *own, *words], check=True, capture_output=True, text=True, env=environment()
    )
    return done.stdout


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository of a user in whose hook the demo runs; their own configuration refuses every commit."""
    place = tmp_path / "theirs"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch", "main")
    git(place, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n\thooksPath = {hooks}\n[commit]\n\tgpgsign = true\n")
    for name, value in {
        "GIT_DIR": place / ".git", "GIT_INDEX_FILE": place / ".git" / "index", "GIT_WORK_TREE": place,
        "GIT_CONFIG_GLOBAL": tmp_path / "gitconfig", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "true", "GIT_AUTHOR_NAME": "somebody else",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    return place


def test_a_hook_s_environment_leads_no_commit_into_the_user_s_repository(theirs: Path, tmp_path: Path) -> None:
    """GIT_DIR, GIT_INDEX_FILE and the user's configuration are none of the demo's business."""
    before = git(theirs, "log", "--format=%H", "--all"), git(theirs, "status", "--porcelain")
    tree = Tree(tmp_path / "clusters")

    tree.lay_out("https://127.0.0.1:1", "AA:BB", tmp_path / "token")
    tree.edit("more", (r"replicas: 2", "replicas: 4"))

    assert before == (git(theirs, "log", "--format=%H", "--all"), git(theirs, "status", "--porcelain"))
    assert ["more", "A cluster"] == git(tree.path, "log", "--format=%s").splitlines()
    assert git(tree.path, "rev-parse", "HEAD").strip() == tree.head()
    assert {"demo"} == set(git(tree.path, "log", "--format=%an").splitlines())


def test_the_spec_is_that_of_the_lab(tmp_path: Path) -> None:
    """URL, token and fingerprint are put in, and the addon lies beside it."""
    tree = Tree(tmp_path / "clusters")

    tree.lay_out("https://127.0.0.1:1", "AA:BB", tmp_path / "token")

    text = tree.spec.read_text(encoding="utf-8")
    wanted = ("url: https://127.0.0.1:1", f"{{file: {tmp_path / 'token'}}}", 'fingerprint: "AA:BB"')
    assert [True] * 3 == [each in text for each in wanted]
    assert (tree.path / "addons" / "hello.yaml").is_file()


def test_no_variable_of_git_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """But those that keep the user's configuration out."""
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    found = {key: value for key, value in environment().items() if key.startswith("GIT_")}

    assert {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull} == found


def test_an_edit_that_finds_nothing_to_change_is_a_mistake_of_the_demo(tmp_path: Path) -> None:
    """It would be a commit of nothing."""
    tree = Tree(tmp_path / "clusters")
    tree.lay_out("https://127.0.0.1:1", "AA:BB", tmp_path / "token")

    with pytest.raises(AssertionError, match="not in the demo's spec"):
        tree.edit("nothing", (r"no such line", "x"))
