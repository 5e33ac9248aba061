"""The quickstart, followed to the letter: its commands are run from a clone, in a root of their own.

What needs a distribution, a registry or systemd is played by scripts that only do what the next command looks at.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")

# pip: the wheel's content without a build; its layout is the one of [tool.hatch.build.targets.wheel]
PIP = """#!/bin/sh
set -eu
here=$(dirname "$0")
case "$1" in
  wheel) mkdir -p dist && touch dist/cpcd-0.1.0-py3-none-any.whl ;;
  install)
    test -e "$2"
    site=$("$here/python" -I -c 'import site; print(site.getsitepackages()[0])')
    mkdir -p "$site/cpcd/package"
    touch "$site/cpcd/__init__.py" "$here/cpcd"
    cp -r {root}/systemd {root}/specs "$site/cpcd/package/" ;;
esac
"""
PYTHON3 = """#!/bin/sh
set -eu
{python} -m venv --without-pip "$3"
cp {pip} "$3/bin/pip"
"""


def block(heading: str) -> str:
    """Return the first shell block under a heading of the page."""
    found = re.search(rf"^## {re.escape(heading)}\n.*?^```sh\n(.*?)^```$", QUICKSTART, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone, as far as the commands look at it: the package's directory is where Python would find it first."""
    path = tmp_path / "clone"
    for name in ("cpcd", "docs"):
        path.mkdir(exist_ok=True)
        (path / name).symlink_to(ROOT / name)
    return path


def test_the_installation_leaves_what_it_says(tmp_path: Path, clone: Path) -> None:
    """Run from the clone, where Python would take the work tree for what is installed; nothing may fail on the way."""
    bin_ = tmp_path / "bin"
    pip = script(bin_ / "pip", PIP.format(root=ROOT))
    script(bin_ / "python3", PYTHON3.format(python=sys.executable, pip=pip))
    script(bin_ / "sudo", '#!/bin/sh\nexec "$@"\n')
    for name in ("apt", "systemd-sysusers", "systemd-tmpfiles", "systemctl", "usermod"):
        script(bin_ / name, "#!/bin/sh\n")
    system = tmp_path / "system"
    for name in ("etc/systemd/system", "etc/sysusers.d", "etc/tmpfiles.d", "usr/bin", "opt"):
        (system / name).mkdir(parents=True)
    commands = re.sub(r"(?<![\w$])/(opt|etc|usr)/", rf"{system}/\1/", block("3. cpcd"))
    path = f"{bin_}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "-eu", "-c", commands], cwd=clone, env={"PATH": path, "USER": "me"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    unit = system / "etc/systemd/system/cpcd.service"
    told = [Path(url) for url in re.findall(r"file://(\S+)", unit.read_text() if unit.exists() else "")]

    assert (0, "") == (done.returncode, done.stderr)
    assert (ROOT / "systemd" / "cpcd.service").read_text() == unit.read_text()
    assert (system / "etc/sysusers.d/cpcd.conf").exists()
    assert (system / "etc/tmpfiles.d/cpcd.conf").exists()
    assert [] == [page for page in told if not (system / page.relative_to("/")).exists()]
    assert told
