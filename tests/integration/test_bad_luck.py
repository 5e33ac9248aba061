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
MACHINES = ("demo-cp-1", "demo-general-1")
OBJECTS = {
    "cluster/demo", "template/cpcd-ubuntu", "kubeconfig/admin", "addon/flannel",
    *(f"{kind}/{name}" for kind in ("machine", "nodes") for name in MACHINES),
}  # fmt: skip
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
    memoryMiB: 2048
    full: false
    disks: {{bootVolume: {{sizeGb: 20}}}}
    tags: [{tag}]
    ssh: {{port: {ssh}}}
  controlPlane: {{replicas: 1}}
  workers: {{machineDeployments: [{{name: general, replicas: 1}}]}}
"""


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], Any], *, limit: float = 120.0, what: str = "") -> Any:
    """Return the first true value, asked every 50 ms; fail at the limit, which is patience on a busy machine."""
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
        self.tag = ""
        lab = [sys.executable, "-m", "cpcd", "lab", "--rate", str(RATE), "--port", "0", "-o", "json"]
        with (directory / "lab.err").open("wb") as err:
            self.lab = subprocess.Popen([*lab, "--ssh-port", str(self.ssh)], stdout=subprocess.PIPE, stderr=err)
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

    def text(self, *, url: str = "", credentials: str = "", tls: str = "", tag: str = "blue") -> str:
        """Return a cluster.yaml for this lab."""
        return SPEC.format(
            net=self.net, url=url or self.about["proxmox"], credentials=credentials or f"{{file: {self.token}}}",
            tls=tls or f'{{fingerprint: "{self.about["fingerprint"]}"}}', tag=tag, ssh=self.ssh,
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
        if isinstance(content, str) and (tag := re.search(r"    tags: \[(\w+)\]", content)):
            self.tag = tag[1]
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
        command, surroundings = self.command(state=state), {**os.environ, **environment}
        with out.open("wb") as log, err.open("wb") as errors:
            self.daemon = subprocess.Popen(command, stdout=log, stderr=errors, env=surroundings)
        until(self.status, what="the daemon answers")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon and return its exit code."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        code = self.daemon.wait(30)
        self.daemon = None
        return code

    def refused(self, *extra: str, state: Path | None = None) -> str:
        """Run a daemon that must not start; return what it says on stderr."""
        done = subprocess.run(
            self.command(*extra, state=state), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command against the daemon."""
        command = [sys.executable, "-m", "cpcd", "--socket", str(self.socket), *words]
        environment = {**os.environ, "CPCD_STATE_DIR": str(self.state), "CPCD_SPEC": str(self.spec), "COLUMNS": "500"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert "Traceback" not in done.stderr
        return done

    def status(self) -> dict[str, Any]:
        """Return what the control socket answers."""
        return cast("dict[str, Any]", Client(str(self.socket), timeout=10).get("/status"))

    def says(self, pattern: str) -> dict[str, Any]:
        """Return the status once its sentence begins so; a busy machine may make another trouble come first."""
        return cast(
            "dict[str, Any]",
            until(lambda: re.match(pattern, (found := self.status())["sentence"]) and found, what=pattern),
        )

    def metric(self, name: str) -> float:
        """Return a metric without labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def ask(self, path: str) -> Any:
        """Return what the lab says of itself."""
        port = self.about["control"].rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
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
        """Whether HEAD is in force and carried out, every object is there and Ready, and nothing is on its way.

        What is reported of an object is of its last pass, maybe before the edit; that the edit was carried out is seen
        at the VMs themselves.
        """
        status = self.status()
        names = {f"{one['kind']}/{one['name']}" for one in status["objects"] if one["ready"] == "True"}
        current = status["spec"]["valid"] and status["spec"]["generation"] == self.git("rev-parse", "HEAD")
        quiet = not status["operations"] and not status["troubles"]
        done = [self.tag in vm["tags"].split(";") for vm in self.vms().values()] == [True, True]
        return bool(current) and quiet and done and names == OBJECTS and len(status["objects"]) == len(OBJECTS)

    def logs(self) -> str:
        """Return everything that all daemons wrote."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.[0-9]*")) if path.is_file())

    def close(self) -> None:
        """End both processes, whatever they are at."""
        for process in (self.daemon, self.lab):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
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
    if town.daemon is None:  # the test before has failed
        town.start()
    until(town.settled, what="well before")
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
    "huge": (b"# " + b"x" * (17 << 20), r"is 17(,408 K| M)iB"),
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
    assert re.search(words, "\n".join(spec["mistakes"]))
    assert kept.metric("cpcd_spec_valid") == 0.0
    assert checked.returncode == 1
    assert re.search(words, checked.stdout + checked.stderr)


def test_an_unreadable_commit_leaves_the_last_good_one_in_force(kept: Town) -> None:
    """A blob that the disk has lost is a sentence, and the next commit ends it."""
    good = kept.status()["spec"]["generation"]
    kept.spec.write_text(kept.text() + "# lost\n")
    kept.git("add", "-A")
    commit = kept.git("commit-tree", kept.git("write-tree"), "-p", "HEAD", "-m", "lost")
    lost = kept.git("rev-parse", f"{commit}:cluster.yaml")
    blob = kept.tree / ".git" / "objects" / lost[:2] / lost[2:]
    blob.unlink()
    kept.git("update-ref", "HEAD", commit)
    spec = until(lambda: (found := kept.status()["spec"]) and not found["valid"] and found)

    assert re.search(r"CPCD-102 git has no content of cluster\.yaml", spec["mistakes"][0])
    assert spec["generation"] == good


def test_a_directory_that_vanished_deletes_nothing(kept: Town) -> None:
    """The whole work tree goes and comes back; in between the reason is shown and the last good spec in force."""
    away = kept.directory / "away"
    good = kept.status()["spec"]["generation"]
    kept.tree.rename(away)
    spec = until(lambda: (found := kept.status()["spec"]) and not found["valid"] and found)
    away.rename(kept.tree)

    until(lambda: kept.status()["spec"]["valid"])
    assert "CPCD-102" in spec["mistakes"][0]
    assert "does not exist" in spec["mistakes"][0]
    assert spec["generation"] == good


def test_a_rename_is_refused_with_its_place(kept: Town) -> None:
    """It is no delete and no create; `validate` hears of it from the daemon, which alone knows what stands."""
    good = kept.status()["spec"]["generation"]
    kept.commit(kept.text().replace("{name: demo}", "{name: prod}"))
    spec = until(lambda: (found := kept.status()["spec"]) and not found["valid"] and found)
    checked = kept.cli("validate", str(kept.spec))
    said = f"demo became prod: a name cannot change; demo has the endpoint 127.{kept.net}.0.4, which prod would take; "

    assert spec["generation"] == good
    assert f"CPCD-102 cluster.yaml:3:18: metadata.name: {said}" in spec["mistakes"][0]
    assert (checked.returncode, checked.stdout.splitlines()[0].startswith(f"{kept.spec}:3:18: metadata.name: {said}")) == (
        1, True,
    )  # fmt: skip


def test_a_document_that_goes_leaves_its_machines_as_they_are(kept: Town) -> None:
    """Another one stays in force; the machines of the first say so, none of its passes fails, and it may come back."""
    other = kept.text().replace("{name: demo}", "{name: other}").replace("  version:", "  paused: true\n  version:")
    other = other.replace(f"host: 127.{kept.net}.0.4", f"host: 127.{kept.net}.0.5")
    other = other.replace(f"127.{kept.net}.0.10-127.{kept.net}.0.60", f"127.{kept.net}.0.110-127.{kept.net}.0.120")
    before = len(kept.logs())
    kept.commit(f"{kept.text()}---\n{other}")
    until(lambda: kept.status()["spec"]["generation"] == kept.git("rev-parse", "HEAD"))
    kept.commit(other)
    left = until(lambda: (found := _retained(kept)) and len(found) == len(MACHINES) and found, what="retained")

    assert {"the document of demo is gone and its deletionPolicy is Retain" in said for said in left} == {True}
    assert "CPCD-199" not in kept.logs()[before:]
    kept.commit(kept.text())
    until(kept.settled, what="taken up again")


def _retained(town: Town) -> list[str]:
    """Return what is said of machines that are left as they are."""
    conditions = (one for each in town.status()["objects"] if each["kind"] == "machine" for one in each["conditions"])
    return [one["message"] for one in conditions if (one["type"], one["reason"]) == ("Ready", "Retained")]


def test_a_file_of_an_unspeakable_name_leaves_the_last_good_one_in_force(town: Town, tmp_path: Path) -> None:
    """In a directory of files; the reason is said as long as it is there, and its going is enough."""
    place = tmp_path / "clusters"
    place.mkdir()
    (place / "cluster.yaml").write_text(town.text())
    strange = place / b"old\xff.yaml".decode("utf-8", "surrogateescape")
    checked = [town.cli("validate", str(place)).returncode]
    strange.write_text("a: 1\n")
    told = town.cli("validate", str(place))

    assert [*checked, told.returncode] == [0, 1]
    assert r"old\xff.yaml: the file's name is not UTF-8; rename it" in told.stdout


def test_a_detached_head_is_as_good_as_a_branch(kept: Town) -> None:
    """A commit that is on no branch is put in force."""
    kept.git("checkout", "--quiet", "--detach")
    commit = kept.commit(kept.text() + "# detached\n")

    until(lambda: kept.status()["spec"]["generation"] == commit)
    kept.git("checkout", "--quiet", "-B", "main")


def test_without_git_the_last_good_spec_is_in_force(kept: Town, tmp_path: Path) -> None:
    """The daemon starts, keeps the cluster, and says what is missing."""
    kept.stop()
    kept.start(PATH=str(tmp_path))
    status = until(lambda: (found := kept.status()) and found["clusters"] and found)
    kept.stop()

    assert re.search(r"CPCD-103 .*git does not run", status["spec"]["mistakes"][0])
    assert [cluster["name"] for cluster in status["clusters"]] == ["demo"]


# --- the way to Proxmox -------------------------------------------------------------------------------------------


def test_a_wrong_token_is_named_and_its_return_is_enough(kept: Town) -> None:
    """CPCD-101 in the first sentence and from the doctor; neither token is shown."""
    good = kept.token.read_text()
    kept.token.write_text(good[:-4] + "beef")
    status = kept.says(r"CPCD-101 pve:127\.0\.0\.1: .*Proxmox refused the token")
    doctor = kept.cli("doctor")
    kept.token.write_text(good)

    until(kept.settled)
    shown = json.dumps(status) + doctor.stdout
    assert "CPCD-101" in doctor.stdout
    assert doctor.returncode == 1
    assert [secret for secret in (good, good[:-4] + "beef") if secret.partition("=")[2] in shown] == []


def test_a_token_that_is_not_there_is_a_sentence(kept: Town) -> None:
    """The reference is named, and the file's return is enough."""
    good = kept.token.read_text()
    kept.token.unlink()
    kept.says(f"CPCD-101 pve:127\\.0\\.0\\.1: .*secret file {kept.token} cannot be read")
    kept.token.touch(0o600)
    kept.token.write_text(good)

    until(kept.settled)


def test_a_wrong_fingerprint_names_both(kept: Town) -> None:
    """No request is sent to a Proxmox that is not the pinned one."""
    calls = kept.ask("/lab/calls")["proxmox"]
    wrong = ":".join(["AB"] * 32)
    kept.commit(kept.text(tls=f'{{fingerprint: "{wrong}"}}'))
    status = kept.says(r"CPCD-101 pve:127\.0\.0\.1: ")
    kept.commit(kept.text())

    until(kept.settled)
    assert kept.about["fingerprint"] in status["sentence"]
    assert wrong in status["sentence"]
    assert calls != kept.ask("/lab/calls")["proxmox"], "it went on afterwards"


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Listen with a certificate, answering nothing; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_shake_hands, args=(listening, context), daemon=True).start()
        yield listening.getsockname()[1]


def _shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass
            connection.close()


def test_an_expired_certificate_is_called_that(kept: Town, tmp_path: Path) -> None:
    """The reason is Proxmox's certificate, the code AuthFailed, and nothing is taken for gone."""
    authority = Authority("home")
    (tmp_path / "ca.pem").write_text(authority.pem)
    expired = server_context(authority.server(["127.0.0.1"], begins=-timedelta(days=9), ends=-timedelta(days=1)))

    with tls_server(expired) as port:
        kept.commit(kept.text(url=f"https://127.0.0.1:{port}", tls=f"{{caFile: {tmp_path / 'ca.pem'}}}"))
        kept.says(r"CPCD-101 pve:127\.0\.0\.1: .*certificate is not trusted: .*expired")
        kept.commit(kept.text())
        until(kept.settled)


class Rough:
    """A way to the lab on which connections are reset after a random number of bytes, until `smooth` is set."""

    def __init__(self, port: int, seed: int) -> None:
        self._target, self._dice = port, random.Random(seed)
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        self.smooth = False
        self.resets = 0
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def close(self) -> None:
        """Take no more connections and end those that are left."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _run(self, target: Callable[..., None], *words: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=words))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._sockets[0].accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                left = [1 << 40 if self._dice.random() < 0.6 else self._dice.randrange(2000, 12_000)]
                self._run(self._pump, near, far, left)
                self._run(self._pump, far, near, left)

    def _pump(self, one: socket.socket, other: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(4096):
                left[0] -= len(data)
                if left[0] < 0 and not self.smooth:
                    self.resets += 1
                    for each in (one, other):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        each.close()
                    return
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


# --- the state directory ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk(directory: Path, size: str) -> Iterator[Path]:
    """Mount a small disk of its own; skips where that is not allowed."""
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "cpcd-test", directory], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@contextlib.contextmanager
def gone_at_the_end(town: Town) -> Iterator[None]:
    """End a daemon that a failing test leaves behind: its disk could not be unmounted under it."""
    try:
        yield
    finally:
        if town.daemon is not None:
            town.stop()


def fill(place: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 4096)


def test_a_full_disk_stops_changes_before_they_start(town: Town, tmp_path: Path) -> None:
    """CPCD-108 while an edit waits; it is carried out when there is space again; a read-only one is a sentence."""
    town.stop()
    with disk(tmp_path / "disk", "24m") as place, gone_at_the_end(town):
        state = place / "state"
        shutil.copytree(town.state, state)
        town.start(state=state)
        until(town.settled)
        writes = town.writes()
        fill(place)
        town.commit(town.text(tag="green"))
        status = town.says("CPCD-108 ")
        writable = town.metric("cpcd_ledger_writable")
        time.sleep(2)
        assert town.writes() == writes
        (place / "filler").unlink()
        until(town.settled, what="the edit is carried out")
        town.stop()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        refused = town.refused(state=state)
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        town.start(state=state)
        until(town.settled)
        town.stop()
        shutil.copytree(state, town.state, dirs_exist_ok=True)
    town.commit(town.text())
    town.start()

    assert "nothing is changed" in status["sentence"]
    assert writable == 0.0
    assert "CPCD-108" in refused
    assert "Read-only file system" in refused
    until(town.settled)


def test_a_corrupt_ledger_is_kept_and_nothing_is_changed(kept: Town, tmp_path: Path) -> None:
    """The daemon starts and says CPCD-108; the file stays byte by byte; a restored one is taken up by itself."""
    kept.stop()
    ledger = kept.state / "ledger.db"
    shutil.copy(ledger, tmp_path / "backup.db")
    damaged = ledger.read_bytes()[:5000]
    ledger.write_bytes(damaged)
    kept.start()
    kept.says(r"CPCD-108 \S*ledger\.db: the ledger is corrupt")
    doctor = kept.cli("doctor")
    until(lambda: kept.status()["objects"])

    assert "the ledger is corrupt" in doctor.stdout
    assert ledger.read_bytes() == damaged
    shutil.copy(tmp_path / "backup.db", tmp_path / "restored.db")
    shutil.move(tmp_path / "restored.db", ledger)
    until(kept.settled)


def test_a_second_daemon_is_told_who_has_the_directory(kept: Town) -> None:
    """Exit 1, the other's process id, and the first goes on."""
    said = kept.refused()

    assert kept.daemon is not None
    assert f"another cpcd (process {kept.daemon.pid}) holds it" in said
    assert "CPCD-108" in said
    until(kept.settled)


@pytest.mark.parametrize(
    ("place", "words"),
    [("token/state", "CPCD-108 .*the state directory cannot be made: Not a directory"), ("/proc/cpcd", "CPCD-108 ")],
    ids=["below a file", "not writable"],
)
def test_a_state_directory_that_cannot_be_had_is_a_sentence(town: Town, place: str, words: str) -> None:
    """Said at the start, before anything is looked at."""
    said = town.refused(state=town.directory / place)

    assert re.search(words, said)
    assert "  do: " in said


# --- the daemon's own doors ---------------------------------------------------------------------------------------


def test_a_socket_that_is_missing_or_left_over_is_a_sentence(kept: Town) -> None:
    """Killed, the daemon leaves its socket: commands say that nobody answers, and the next start replaces it."""
    kept.stop(signal.SIGKILL)
    stale = kept.cli("status")
    assert kept.socket.exists()
    kept.start()
    kept.socket.unlink()
    missing = kept.cli("status")
    kept.stop()

    for done in (stale, missing):
        assert done.returncode == 1
        assert f"CPCD-103 {kept.socket}: no daemon answers here" in done.stderr


def test_a_place_without_room_for_the_socket_is_a_sentence(kept: Town) -> None:
    """The daemon cannot be asked then, so it does not stay; it stops as if told to."""
    kept.stop()
    proper, kept.socket = kept.socket, kept.directory / "nowhere" / "control.sock"
    said = kept.refused()
    kept.socket = proper

    assert re.search(r"CPCD-103 \S+control\.sock: the control socket cannot be opened", said)


def test_a_metrics_port_in_use_degrades_and_no_more(kept: Town) -> None:
    """The daemon goes on and says so; the pages open by themselves when the address is free."""
    kept.stop()
    with socket.create_server(("127.0.0.1", kept.metrics_port)):
        kept.start()
        kept.says(r"CPCD-103 127\.0\.0\.1:\d+: metrics and health pages are off")

    until(lambda: kept.metric("cpcd_ledger_writable") == 1.0)


# --- a build ------------------------------------------------------------------------------------------------------

WRAPPER = """#!/bin/sh
{ tr '\\0' '\\n' < /proc/$$/environ; echo "$0 $@"; } >> "SEEN"
exec REAL "$@"
"""
TOKENS = re.compile(rb"(?<![A-Za-z0-9.+/=_-])[a-z0-9]{6}\.[a-z0-9]{16}(?![A-Za-z0-9.+/=_-])")
CERTIFICATE_KEYS = re.compile(rb"(?<![0-9a-f])(?<!sha256:)[0-9a-f]{64}(?![0-9a-f])")
PRIVATE = re.compile(rb"PRIVATE KEY")


def test_a_build_survives_resets_and_a_stop_and_shows_no_secret(tmp_path: Path) -> None:
    """SIGTERM in the middle ends it in seconds with 0, the next start converges, and no secret is anywhere."""
    rough: Rough | None = None
    town = Town(tmp_path, octet(1))
    secret = town.about["token"].partition("=")[2]
    try:
        rough = Rough(int(town.about["proxmox"].rpartition(":")[2]), seed=1)
        url = f"https://127.0.0.1:{rough.port}"
        town.commit(town.text(url=url, credentials="{env: CANARY}"))
        surroundings = _watched_git(tmp_path) | {"CANARY": town.about["token"]}
        town.start(**surroundings)
        until(lambda: any(vm["status"] == "running" for vm in town.vms().values()), what="a machine starts")
        assert town.stop() == 0
        town.start(**surroundings)
        until(lambda: len(town.vms()) == 2 and town.ask("/lab/state")["clusters"], what="kubeadm init")
        rough.smooth = True
        until(town.settled, what="converged")
        told = [json.dumps(Client(str(town.socket)).get(path)).encode() for path in ("/status", "/plan", "/events")]
        told += [town.logs().encode(), (tmp_path / "seen").read_bytes(), _processes(town)]
        with urllib.request.urlopen(f"http://127.0.0.1:{town.metrics_port}/metrics") as page:
            told.append(page.read())
        destructive, names = town.ask("/lab/state")["destructive"], sorted(town.vms())
        assert town.stop() == 0
    finally:
        town.close()
        if rough is not None:
            rough.close()
    ledger = [path.read_bytes() for path in town.state.glob("ledger.db*")]
    readable = [path for path in town.state.rglob("*") if path.is_file() and path.stat().st_mode & 0o004]

    assert (names, destructive) == (["demo-cp-1", "demo-general-1"], [])
    assert rough.resets > 0
    assert b"PATH=" in told[4], "git's environment was seen"
    assert "Traceback" not in town.logs()
    assert [where for where in (*told, *ledger) if secret.encode() in where] == []
    for form in (TOKENS, CERTIFICATE_KEYS, PRIVATE):
        assert [form.findall(where) for where in (*told, *ledger) if form.search(where)] == []
    assert [path.name for path in readable if path.read_bytes()] == []


def _watched_git(directory: Path) -> dict[str, str]:
    """Return a PATH on which git first writes down its arguments and its environment."""
    (directory / "bin").mkdir()
    wrapper = directory / "bin" / "git"
    wrapper.write_text(WRAPPER.replace("SEEN", str(directory / "seen")).replace("REAL", str(GIT)))
    wrapper.chmod(0o755)
    return {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}


def _processes(town: Town) -> bytes:
    """Return the command lines of the daemon and its children, and the children's environments.

    The daemon's own environment has what `credentialsRef.env` names: that is where the user has put it.
    """
    assert town.daemon is not None
    found = (Path("/proc") / str(town.daemon.pid) / "cmdline").read_bytes()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{town.daemon.pid}\n" in (entry / "status").read_text():
                found += (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
    return found
