"""Bad input and bad luck with real processes: `cpcd run` and `cpcd validate` beside `cpcd lab`, over real sockets.

Each ends in a sentence with a code, nothing lost, nothing destroyed, and never in a traceback. The same in virtual
time, with the faults that need one, is in `tests/sim/test_bad_luck.py`.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from cpcd.cli.client import Client
from cpcd.lab.servers.https import Authority, server_context
from cpcd.model.errors import Failure

RATE = 30
GIT = shutil.which("git")
pytestmark = pytest.mark.skipif(GIT is None, reason="git is not installed")

SPEC = """\
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {{name: demo}}
spec:
  version: v1.34.2
  controlPlaneEndpoint: {{host: 127.{net}.0.4}}
  infrastructure:
    proxmox:
      url: {url}
      credentialsRef: {credentials}
      tls: {tls}
      availabilityZones: [{{name: a, nodes: [pve1]}}, {{name: b, nodes: [pve2]}}]
      ipv4Config: {{addresses: [127.{net}.0.10-127.{net}.0.60], prefix: 16, gateway: 127.{net}.0.1}}
  machineDefaults:
    numCores: 2
    memoryMiB: {memory}
    full: false
    disks: {{bootVolume: {{sizeGb: 20}}}}
    ssh: {{port: {ssh}}}
  controlPlane: {{replicas: 1}}
  workers: {{machineDeployments: [{{name: general, replicas: {workers}}}]}}
"""


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], Any], *, limit: float = 30.0, what: str = "") -> Any:
    """Return the first true value, asked every 50 ms; fail at the limit."""
    end = time.monotonic() + limit
    while True:
        with contextlib.suppress(Failure, OSError):
            if found := holds():
                return found
        assert time.monotonic() < end, f"not within {limit:.0f} s: {what}"
        time.sleep(0.05)


class Town:
    """A lab, a git work tree with the spec, a state directory, and the daemon while one lives."""

    def __init__(self, directory: Path, net: int) -> None:
        self.directory, self.net = directory, net
        self.tree, self.state = directory / "tree", directory / "state"
        self.socket = directory / "control.sock"
        self.token, self.spec = directory / "token", self.tree / "cluster.yaml"
        self.ssh, self.metrics_port = free_port(), free_port()
        self.daemon: subprocess.Popen[bytes] | None = None
        self.lives = 0
        self.lab = subprocess.Popen(
            [sys.executable, "-m", "cpcd", "lab", "--rate", str(RATE), "--port", "0", "--ssh-port", str(self.ssh), "-o", "json"],
            stdout=subprocess.PIPE, stderr=(directory / "lab.err").open("wb"),
        )  # fmt: skip
        self.about = self._about()
        self.tree.mkdir()
        self.token.touch(0o600)
        self.token.write_text(self.about["token"])
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(self.text())

    def _about(self) -> Any:
        assert self.lab.stdout is not None
        text = b""
        while not text.endswith(b"\n}\n"):
            line = self.lab.stdout.readline()
            assert line, "the lab did not start"
            text += line
        return json.loads(text)

    def text(self, *, url: str = "", credentials: str = "", tls: str = "", memory: int = 2048, workers: int = 1) -> str:
        """Return a cluster.yaml for this lab."""
        return SPEC.format(
            net=self.net, url=url or self.about["proxmox"], credentials=credentials or f"{{file: {self.token}}}",
            tls=tls or f'{{fingerprint: "{self.about["fingerprint"]}"}}', memory=memory, workers=workers, ssh=self.ssh,
        )  # fmt: skip

    def git(self, *words: str) -> str:
        """Run git in the work tree."""
        own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            [str(GIT), "-C", str(self.tree), *own, *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, content: str | bytes) -> str:
        """Commit the spec; return the commit's id."""
        self.spec.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "--message", "an edit")
        return self.git("rev-parse", "HEAD")

    def command(self, *extra: str, state: Path | None = None) -> list[str]:
        """Return the daemon's command line."""
        return [
            sys.executable, "-m", "cpcd", "--socket", str(self.socket), "run", "--spec", str(self.spec), "--state-dir",
            str(state or self.state), "--listen", f"127.0.0.1:{self.metrics_port}", "--log-format", "json", "-v",
            "--lab", self.about["control"], *extra,
        ]  # fmt: skip

    def start(self, *, state: Path | None = None, **environment: str) -> None:
        """Start the daemon and wait until it answers."""
        self.lives += 1
        out, err = self.directory / f"out.{self.lives}", self.directory / f"err.{self.lives}"
        self.daemon = subprocess.Popen(
            self.command(state=state), stdout=out.open("wb"), stderr=err.open("wb"), env={**os.environ, **environment}
        )
        until(self.status, what="the daemon answers")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon and return its exit code."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        code = self.daemon.wait(10)
        self.daemon = None
        return code

    def refused(self, *extra: str, state: Path | None = None) -> str:
        """Run a daemon that must not start; return what it says on stderr."""
        done = subprocess.run(
            self.command(*extra, state=state), capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the daemon."""
        command = [sys.executable, "-m", "cpcd", "--socket", str(self.socket), *words]
        environment = {**os.environ, "CPCD_STATE_DIR": str(self.state), "CPCD_SPEC": str(self.spec), "COLUMNS": "500"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
        assert "Traceback" not in done.stderr
        return done

    def status(self) -> dict[str, Any]:
        """Return what the control socket answers."""
        return cast("dict[str, Any]", Client(str(self.socket), timeout=10).get("/status"))

    def metric(self, name: str) -> float:
        """Return a metric without labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def ask(self, path: str) -> Any:
        """Return what the lab says of itself."""
        with urllib.request.urlopen(f"{self.about['control']}{path}", timeout=10) as answer:
            return json.load(answer)

    def writes(self) -> int:
        """Return how many calls Proxmox took that were no reads."""
        calls = self.ask("/lab/calls")["proxmox"]
        return sum(count for call, count in calls.items() if not call.startswith("GET"))

    def vms(self) -> dict[str, dict[str, Any]]:
        """Return the VMs that are no templates, by name; each name must be there once."""
        found = [vm for vm in self.ask("/lab/state")["vms"] if not vm["template"]]
        assert len(found) == len({vm["name"] for vm in found})
        return {vm["name"]: vm for vm in found}

    def settled(self) -> bool:
        """Whether every object is Ready, at the commit that is at HEAD, with nothing on its way."""
        status = self.status()
        ready = [one["ready"] == "True" for one in status["objects"] if one["kind"] == "machine"]
        objects = all(one["ready"] == "True" for one in status["objects"])
        current = status["spec"]["valid"] and status["spec"]["generation"] == self.git("rev-parse", "HEAD")
        return bool(ready) and objects and current and not status["operations"] and not status["troubles"]

    def logs(self) -> str:
        """Return everything that all daemons wrote."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.[0-9]*")) if path.is_file())

    def close(self) -> None:
        """End both processes."""
        for process in (self.daemon, self.lab):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(10)
        if self.lab.stdout is not None:
            self.lab.stdout.close()


def octet(offset: int) -> int:
    """Return the second octet of a loopback network for this run and nobody else's."""
    return 100 + (os.getpid() * 2 + offset) % 150


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Return a town whose cluster is built and whose daemon runs; each test leaves it so."""
    made = Town(tmp_path_factory.mktemp("town"), octet(0))
    try:
        made.start()
        until(made.settled, what="built")
        yield made
        assert made.ask("/lab/state")["destructive"] == []
        assert sorted(made.vms()) == ["demo-cp-1", "demo-general-1"]
    finally:
        made.close()
    assert "Traceback" not in made.logs()


@pytest.fixture
def kept(town: Town) -> Iterator[Town]:
    """Return the town, and hold that the test neither changes a VM nor leaves the daemon unwell."""
    writes, machines = town.writes(), {name: vm["smbios1"] for name, vm in town.vms().items()}
    yield town
    town.commit(town.text())
    if town.daemon is None:
        town.start()
    until(town.settled, what="well again")
    assert town.metric("cpcd_spec_valid") == 1.0
    assert {name: vm["smbios1"] for name, vm in town.vms().items()} == machines
    assert town.writes() == writes


# --- the file -----------------------------------------------------------------------------------------------------


def _deep() -> bytes:
    return b"spec: " + b"[" * 5000 + b"]" * 5000


def _bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines).encode()


BROKEN = {
    "empty": (b"", r"cluster\.yaml: .*(empty|no document)"),
    "half-written": (b"apiVersion: cpcd.dev/v1alpha1\nspec: {version: v1.34", r"cluster\.yaml:\d+:\d+: "),
    "not UTF-8": (b"apiVersion: cpcd.dev/v1alpha1\nkind: Clust\xff\xfer\n", r"cluster\.yaml:2:\d+: .*UTF-8"),
    "huge": (b"# " + b"x" * (17 << 20), r"CPCD-102 .*17 MiB"),
    "deeply nested": (_deep(), r"cluster\.yaml:1:\d+: .*(deep|nest)"),
    "anchored": (_bomb(), r"cluster\.yaml:\d+:\d+: .*alias"),
    "duplicate key": (b"kind: Cluster\nkind: Cluster\n", r"cluster\.yaml:2:1: .*(twice|duplicate|line 1)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_commit_leaves_the_last_good_one_in_force(kept: Town, name: str) -> None:
    """Mistake with line and column in `status` and in `validate`, metric 0, the generation in force unchanged."""
    content, words = BROKEN[name]
    good = kept.status()["spec"]["generation"]

    kept.commit(content)
    spec = until(lambda: (found := kept.status()["spec"]) and not found["valid"] and found)
    checked = kept.cli("validate", str(kept.spec))

    assert spec["generation"] == good
    assert re.search(words, spec["mistakes"][0]), spec["mistakes"][0][:300]
    assert kept.metric("cpcd_spec_valid") == 0.0
    assert checked.returncode == 1
    assert re.search(words.removeprefix("CPCD-102 "), checked.stdout + checked.stderr)


def test_an_unreadable_commit_leaves_the_last_good_one_in_force(kept: Town) -> None:
    """A blob that the disk has lost is a sentence, and the next commit ends it."""
    kept.commit(kept.text(memory=4096).replace("numCores: 2", "numCores: 2  # lost"))
    until(lambda: not kept.status()["spec"]["valid"] or True)
    lost = kept.git("rev-parse", "HEAD:cluster.yaml")
    blob = kept.tree / ".git" / "objects" / lost[:2] / lost[2:]
    blob.chmod(0o600)
    blob.write_bytes(b"")
    kept.git("commit", "--quiet", "--allow-empty", "--message", "look again")
    spec = until(lambda: (found := kept.status()["spec"]) and not found["valid"] and found)

    assert re.search(r"CPCD-102 .*git", spec["mistakes"][0])
