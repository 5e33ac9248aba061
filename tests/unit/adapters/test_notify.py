"""What systemd hears."""

import socket
from pathlib import Path

from cpcd.adapters.notify import Notify


def test_systemd_hears_each_state(tmp_path: Path) -> None:
    """Start, sentence, pulse and end arrive as datagrams; a sentence stays one line."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        notify = Notify({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "60000000"})
        notify.ready("5 of 5\nobjects ready")
        notify.status("clone it")
        notify.watchdog()
        notify.stopping()
        heard = [listener.recv(4096).decode() for _ in range(4)]

    assert ["READY=1\nSTATUS=5 of 5 objects ready", "STATUS=clone it", "WATCHDOG=1", "STOPPING=1"] == heard
    assert 30.0 == notify.watchdog_interval


def test_an_abstract_socket_is_heard_too() -> None:
    """Systemd writes a leading @ for the kernel's own name space."""
    name = "cpcd-test-notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        Notify({"NOTIFY_SOCKET": f"@{name}"}).watchdog()

        assert b"WATCHDOG=1" == listener.recv(100)


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    """No address, or nobody behind it: the daemon goes on."""
    alone = Notify({})
    alone.ready()
    Notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}).watchdog()

    assert None is alone.watchdog_interval
