"""The suite of etcd's members on three real etcd processes, asked by the verbs of the bundle as on a machine."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cpcd.guest.machine import KUBERNETES, Machine, Ran, run_command
from cpcd.guest.ops import answer
from tests.contract.etcd_suite import *  # noqa: F403 - the suite is what this module is
from tests.contract.etcd_suite import NAMES, eventually
from tests.real import binaries
from tests.real.authority import Authority

ADDRESSES = dict(zip(NAMES, ("127.78.0.11", "127.78.0.12", "127.78.0.13"), strict=True))
NOBODY = "127.78.0.14"
WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
ACTIVE_S = 6.0  # etcd lets a member go only where the others were reached for 5 s (server/etcdserver: HealthInterval)


@dataclass
class Processes:
    """Three members on loopback, configured as kubeadm configures them."""

    directory: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def pki(self) -> str:
        """Where etcd's certificates are."""
        return str(self.directory / "pki")

    def call(self, name: str, verb: str, **given: str) -> tuple[str, dict[str, Any]]:
        said = answer(Machine(root=self.directory, run=self._run(name)), {"verb": verb, "given": given})
        return ("", said["output"]) if said["ok"] else (said["reason"], {})

    def address(self, name: str) -> str:
        return ADDRESSES[name]

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def start(self, name: str) -> None:
        own = ADDRESSES[name]
        peers = ",".join(f"{each}=https://{address}:2380" for each, address in ADDRESSES.items())
        secured = [f"--trusted-ca-file={self.pki}/ca.crt", f"--cert-file={self.pki}/server.crt"]
        secured += [f"--key-file={self.pki}/server.key", "--client-cert-auth=true"]
        secured += [each.replace("--", "--peer-", 1) for each in secured]
        argv = [
            str(binaries.made(binaries.ETCD) / "etcd"), f"--name={name}", f"--data-dir={self.directory / name}",
            f"--listen-client-urls=https://{own}:2379", f"--advertise-client-urls=https://{own}:2379",
            f"--listen-peer-urls=https://{own}:2380", f"--initial-advertise-peer-urls=https://{own}:2380",
            f"--initial-cluster={peers}", "--unsafe-no-fsync", "--log-level=warn", *secured,
        ]  # fmt: skip
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([*WITH_US, *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def learner(self) -> str:
        argv = ["etcdctl", "member", "add", "cp4", "--learner", f"--peer-urls=https://{NOBODY}:2380"]
        secured = [f"--cacert={self.pki}/ca.crt", f"--cert={self.pki}/server.crt", f"--key={self.pki}/server.key"]
        done = self._run("cp1")([*argv, f"--endpoints=https://{ADDRESSES['cp1']}:2379", *secured])
        assert done.rc == 0, done.err
        return NOBODY

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def _run(self, name: str) -> Any:
        """Run commands as on that machine: its own endpoint, its own files, its own tools."""
        tools = binaries.made(binaries.ETCD_TOOLS)
        here = {f"{KUBERNETES}/pki/etcd": self.pki, "https://127.0.0.1:2379": f"https://{ADDRESSES[name]}:2379"}

        def run(argv: list[str], **more: Any) -> Ran:
            for there, own in here.items():
                argv = [each.replace(there, own) for each in argv]
            return run_command([str(tools / argv[0]), *argv[1:]], **more)

        return run


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Processes]:
    """Return three members that have reached each other for a while."""
    made = Processes(tmp_path)
    pki = Authority(tmp_path / "pki")
    pki.issue("server", "etcd", addresses=(*ADDRESSES.values(), "localhost"))
    for name in NAMES:
        made.start(name)
    try:
        eventually(made, lambda: made.call("cp1", "etcd_members")[0] == "")
        eventually(made, lambda: len(healthy(made, "cp1")) == len(NAMES))  # noqa: F405
        made.wait(ACTIVE_S)
        yield made
    finally:
        for name in list(made.running):
            made.kill(name)
