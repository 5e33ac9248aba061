"""What the wiring hands on of the spec."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from cpcd.loop.clock import WallClock
from cpcd.model.desired import ProxmoxSite, SecretRef, Timeouts
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.settings import Settings
from cpcd.wiring import Links, main
from tests.unit.status.scene import W1, desired, view


@pytest.mark.parametrize(
    ("limits", "connect", "answer"),
    [(Timeouts(), 30, 180), (Timeouts(network=7, command=20), 7, 20), (Timeouts(command=3600), 30, 180)],
)
def test_a_machine_has_as_long_as_the_spec_says(tmp_path: Path, limits: Timeouts, connect: int, answer: int) -> None:
    """A single call has three minutes at most: what takes longer is an operation, which is not waited for."""
    wish = desired()
    clusters = {"home": replace(wish.clusters["home"], timeouts=limits)}
    links = Links(Settings(state_dir=tmp_path), WallClock(), key=(tmp_path / "key", "ssh-ed25519 AAAA"), lab=False)
    host = links.ports(lambda: replace(view(), desired=replace(wish, clusters=clusters))).host(W1)

    assert (connect, answer) == (host.connect, host.answer)


def test_nothing_says_how_a_machine_is_reached_whose_document_is_gone(tmp_path: Path) -> None:
    """It is named all the same, for its playbook that runs here; nobody is there to log in as."""
    links = Links(Settings(state_dir=tmp_path), WallClock(), key=(tmp_path / "key", "ssh-ed25519 AAAA"), lab=False)
    host = links.ports(lambda: replace(view(), desired=replace(desired(), clusters={}))).host(W1)

    assert (W1.uid, W1.name, 0, ()) == (host.uid, host.name, host.port, host.users)


def test_a_token_that_is_not_there_is_a_matter_of_its_proxmox(tmp_path: Path) -> None:
    """Like one that is refused it puts the whole Proxmox down, whose owner looks again at each tick."""
    wish = desired()
    empty = tmp_path / "token"
    empty.touch()
    sites = {"home": ProxmoxSite("home", ("https://127.0.0.1:8006",), SecretRef("file", str(empty)))}
    links = Links(Settings(state_dir=tmp_path), WallClock(), key=(tmp_path / "key", "ssh-ed25519 AAAA"), lab=False)

    async def ask() -> None:
        try:
            await links.ports(lambda: replace(view(), desired=replace(wish, sites=sites))).proxmox("home").resources()
        finally:
            await links.close()

    with pytest.raises(Failure, match="is empty") as caught:
        asyncio.run(ask())

    assert (Code.AUTH, "pve:home") == (caught.value.code, caught.value.target)


def test_an_api_that_there_cannot_be_yet_blames_no_host(tmp_path: Path) -> None:
    """A cluster that was never made has no port that something could filter."""
    links = Links(Settings(state_dir=tmp_path), WallClock(), key=(tmp_path / "key", "ssh-ed25519 AAAA"), lab=False)
    with pytest.raises(Unreachable, match="there is no kubeconfig of home yet") as caught:
        links.ports(view).kube("home")

    assert "first control plane" in caught.value.hint


def test_where_another_daemon_listens_nothing_is_begun(tmp_path: Path) -> None:
    """The lock of its state directory does not keep out one with another; the socket does, before the first look."""
    spec, state, path = tmp_path / "cluster.yaml", tmp_path / "state", tmp_path / "control.sock"
    spec.write_text("")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        with pytest.raises(Failure, match="another daemon answers there"):
            main(Settings(spec=spec, worktree=True, state_dir=state, socket=path, listen="127.0.0.1:0"))

        assert path.is_socket()

    assert [] == list(state.glob("ledger*"))


def test_a_key_that_a_killed_daemon_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """It passes through a file for a moment, and a kill in that moment leaves the administrator's key there."""
    cache, place = tmp_path / "cache", tmp_path / "no-socket"
    cache.mkdir()
    (cache / ".pair-x1y2").write_text("-----BEGIN PRIVATE KEY-----")
    place.touch()

    with pytest.raises(Failure, match="that is no socket"):
        main(Settings(worktree=True, state_dir=tmp_path, socket=place, listen="127.0.0.1:0"))

    assert [] == list(cache.iterdir())
