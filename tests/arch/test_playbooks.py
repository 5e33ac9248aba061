"""The playbooks by Ansible's own linter, as they are on every distribution that `prepare` knows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PLAYBOOKS = Path(__file__).parents[2] / "cpcd" / "playbooks"
# A list of units has no module; what follows at once, so that the next task finds it done, is no handler's; and Debian's
# sh has no pipefail: what must not fail is taken into a variable first.
LEFT_OUT = ("command-instead-of-module", "no-handler", "risky-shell-pipe")


def test_playbooks_pass_the_linter(tmp_path: Path) -> None:
    """At its strictest but for three rules, each distribution's tasks too; nothing is fetched."""
    tasks = sorted(str(path.relative_to(PLAYBOOKS.parent)) for path in PLAYBOOKS.glob("tasks/*.yml"))
    shutil.copytree(PLAYBOOKS, tmp_path / "playbooks")
    tools = Path(sys.executable).parent
    argv = [tools / "ansible-lint", "--offline", "--nocolor", "--profile=production", "-q", "-x", ",".join(LEFT_OUT)]
    environment = {
        "PATH": f"{tools}:{os.environ.get('PATH', os.defpath)}", "HOME": str(tmp_path), "LANG": "C.UTF-8",
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }  # fmt: skip
    done = subprocess.run(
        [*argv, "playbooks/prepare.yml", *tasks],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 3 == len(tasks), tasks
    assert (0, "") == (done.returncode, done.stdout), done.stdout + done.stderr
