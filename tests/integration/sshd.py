"""A real OpenSSH server on loopback, started by a test as the current user: own keys, own configuration."""

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from cpcd.ports.guests import Host

BINARY = Path("/usr/sbin/sshd")
ME = pwd.getpwuid(os.getuid()).pw_name


@dataclass(frozen=True)
class Sshd:
    """A running server, and the key that it lets in."""

    process: subprocess.Popen[bytes]
    port: int
    host_key: str
    key: Path

    def host(self, *, users: tuple[str, ...] = (ME,), host_key: str | None = None) -> Host:
        """Return this server as a machine."""
        pinned = self.host_key if host_key is None else host_key
        return Host(uid="u1", name="m1", address="127.0.0.1", port=self.port, users=users, host_key=pinned, play=120)

    def sessions(self) -> list[int]:
        """Return the pids of the server's connections."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in children.read_text().split()] if children.exists() else []


def write_key(path: Path) -> str:
    """Write a fresh private key and return its public line."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(path)
    path.chmod(0o600)
    return key.export_public_key().decode().strip()


@contextmanager
def running(directory: Path, *, force: str = "") -> Iterator[Sshd]:
    """Run a server in `directory`; `force` is a command that it runs instead of what is asked."""
    assert BINARY.exists(), "this test needs a real sshd: apt-get install openssh-server"
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation asks for it
    public = write_key(directory / "host_key")
    (directory / "authorized_keys").write_text(write_key(directory / "key") + "\n")
    port = _free_port()
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {directory}/host_key",
        f"AuthorizedKeysFile {directory}/authorized_keys",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        f"ForceCommand {force}" if force else "",
    ]
    (directory / "sshd_config").write_text("\n".join(lines) + "\n")
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen([BINARY, "-D", "-e", "-f", directory / "sshd_config"], stderr=log)
    try:
        _wait_for(directory / "sshd.log")
        yield Sshd(process, port, public, directory / "key")
    finally:
        for session in Sshd(process, port, public, directory / "key").sessions():
            with suppress(ProcessLookupError):  # it may have ended since it was listed
                os.kill(session, signal.SIGKILL)
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(log: Path) -> None:
    """Wait until it listens, by its log: a probing connection would be counted as a session."""
    for _ in range(200):
        if "Server listening" in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
