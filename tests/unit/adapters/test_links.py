"""Ports by name: what no document names any more is a failure with a sentence, not a bug."""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.kube.api import KubeApi
from cpcd.lab.kube.pki import Authority
from cpcd.loop.clock import WallClock
from cpcd.model.desired import Desired, Timeouts
from cpcd.model.errors import Code, Failure
from cpcd.model.view import View
from cpcd.ports.bundle import Ports
from cpcd.settings import Settings
from cpcd.wiring import REPLACED_CLIENT_S, Links
from tests.unit.plan.build import cluster, row


def linked(directory: Path, wanted: Desired, *, rate: float = 1.0) -> tuple[Links, Ports]:
    """Return the links of a spec, and the ports over them."""
    links = Links(Settings(state_dir=directory), WallClock(rate), key=(directory / "key", "ssh-ed25519 AAAA"), lab=True)
    return links, links.ports(lambda: View(desired=wanted))


def ports(directory: Path, wanted: Desired) -> Ports:
    """Return the ports of a spec."""
    return linked(directory, wanted)[1]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda given: asyncio.run(given.guests.call(given.host(row()), "facts", {})),
            "nothing says how to reach it: its document is gone",
        ),
        (lambda given: given.proxmox("pve"), "no document names this Proxmox any more"),
    ],
    ids=["machine", "Proxmox"],
)
def test_what_no_document_names_is_a_sentence(tmp_path: Path, ask: Callable[[Ports], Any], said: str) -> None:
    """With what to do: its machines are kept, and the document may come back."""
    with pytest.raises(Failure) as caught:
        ask(ports(tmp_path, Desired()))

    assert (Code.CONFIG, said) == (caught.value.code, caught.value.what)
    assert "Bring the document back" in caught.value.hint


def test_a_machine_of_a_document_is_reached_as_it_says(tmp_path: Path) -> None:
    """SSH port and users are the deployment's own."""
    wanted = cluster()
    host = ports(tmp_path, Desired({wanted.name: wanted})).host(row())

    assert (wanted.groups[0].machine.ssh_port, wanted.groups[0].machine.ssh_users) == (host.port, host.users)


@pytest.mark.parametrize(("limit", "ended"), [(600.0, 3600.0), (1800.0, 3600.0), (3 * 3600.0, 6 * 3600.0)])
def test_a_playbook_is_given_more_than_its_limit(tmp_path: Path, limit: float, ended: float) -> None:
    """The limit says that it is late, and what is accepted in the file is never cut off; one that hangs is ended."""
    wanted = replace(cluster(), timeouts=Timeouts(ansible=limit))
    host = ports(tmp_path, Desired({wanted.name: wanted})).host(row())

    assert ended == host.play


async def test_a_cluster_has_one_client_as_long_as_its_credentials_are_the_same(tmp_path: Path) -> None:
    """However often it is asked for: each would have its own connections (`failures.md` C04)."""
    links, given = linked(tmp_path, Desired())
    admin = Authority("a seed", "demo").kubeconfig("https://127.0.0.1:6443")
    clients = []
    for server in ("https://127.0.0.1:6443", "https://127.0.0.2:6443"):
        links.kubeconfigs.write("demo", admin, server=server, context="demo")
        clients.append({id(given.kube("demo")) for _ in range(100)})
    await links.close()

    assert [1, 1] == [len(ones) for ones in clients]
    assert clients[0] != clients[1]


async def test_a_client_that_was_replaced_is_closed_while_the_daemon_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once nothing can be on its way in it any more, and not before: edits do not add up (`failures.md` C04)."""
    closed: list[KubeApi] = []
    close = KubeApi.close

    async def noted(self: KubeApi) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(KubeApi, "close", noted)
    links, given = linked(tmp_path, Desired(), rate=REPLACED_CLIENT_S * 20)
    admin = Authority("a seed", "demo").kubeconfig("https://127.0.0.1:6443")
    clients = []
    for server in ("https://127.0.0.1:6443", "https://127.0.0.2:6443"):
        links.kubeconfigs.write("demo", admin, server=server, context="demo")
        clients.append(given.kube("demo"))
    at_once = list(closed)
    tidying = asyncio.ensure_future(links.tidy())
    while not closed:
        await asyncio.sleep(0.01)
    tidying.cancel()
    later = list(closed)
    await links.close()

    assert ([], clients[:1], clients) == (at_once, later, closed)


@pytest.mark.parametrize("ask", [lambda links: links.kubeconfigs.text("demo"), lambda links: links.kubeconfigs.describe("demo"),
                                 lambda links: links.ports(View).kube("demo")], ids=["text", "described", "client"])  # fmt: skip
def test_a_kubeconfig_that_cannot_be_read_is_a_sentence(tmp_path: Path, ask: Callable[[Links], Any]) -> None:
    """No bug of cpcd's: a person put something else in its place, or made it somebody else's."""
    links, _ = linked(tmp_path, Desired())
    place = tmp_path / "kubeconfigs" / "demo.yaml"
    place.mkdir(parents=True)

    with pytest.raises(Failure, match="the kubeconfig cannot be read: Is a directory") as caught:
        ask(links)

    assert (Code.STATE, str(place)) == (caught.value.code, caught.value.target)


def test_a_kubeconfig_that_is_no_text_is_none(tmp_path: Path) -> None:
    """So that it is written anew, and a client says that it is not usable."""
    links, given = linked(tmp_path, Desired())
    (tmp_path / "kubeconfigs").mkdir()
    (tmp_path / "kubeconfigs" / "demo.yaml").write_bytes(b"clusters: \xff\n")

    with pytest.raises(Failure, match="the kubeconfig is not usable"):
        given.kube("demo")

    assert links.kubeconfigs.describe("demo") is None


ADMIN_CONF = Authority("test", "demo").kubeconfig("https://127.0.0.1:6443")


@pytest.mark.parametrize("name", ["demo.yaml", "demo.new"])
def test_what_is_in_the_way_of_a_kubeconfig_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    """No file takes a directory's place; the draft beside it is one of the names that may be told."""
    links, _ = linked(tmp_path, Desired())
    (tmp_path / "kubeconfigs" / name).mkdir(parents=True)

    with pytest.raises(Failure, match="the kubeconfig cannot be written: Is a directory") as caught:
        links.kubeconfigs.write("demo", ADMIN_CONF, server="https://a:6443", context="demo")

    assert str(tmp_path / "kubeconfigs" / name) == caught.value.target
    assert caught.value.hint.startswith("Move away what lies there")


def test_a_full_disk_has_nothing_that_is_to_be_moved_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is that of the code."""
    links, _ = linked(tmp_path, Desired())

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="the kubeconfig cannot be written: No space left on device") as caught:
        links.kubeconfigs.write("demo", ADMIN_CONF, server="https://a:6443", context="demo")

    assert caught.value.hint.startswith("Free or remount the disk")


def test_a_draft_that_may_not_be_written_is_replaced(tmp_path: Path) -> None:
    """As one is that a run as root left."""
    links, _ = linked(tmp_path, Desired())
    place = tmp_path / "kubeconfigs"
    place.mkdir()
    (place / "other").write_text("of somebody else")
    (place / "demo.new").symlink_to(place / "other")
    links.kubeconfigs.write("demo", ADMIN_CONF, server="https://a:6443", context="demo")

    assert ("of somebody else", True) == ((place / "other").read_text(), (place / "demo.yaml").is_file())
