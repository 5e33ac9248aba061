"""The control socket: who may use it, what it answers, and that every failure has a sentence."""

import asyncio
import json
import socket as socketlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from cpcd.adapters.control import ControlServer
from cpcd.model.errors import Code, Failure
from tests.unit.cli.daemon import KUBECONFIG, Daemon, well


@pytest.fixture
def daemon() -> Daemon:
    """What the socket belongs to."""
    return well()


@pytest.fixture
async def socket(daemon: Daemon, tmp_path: Path) -> AsyncIterator[Path]:
    """An open control socket."""
    server = ControlServer(daemon, tmp_path / "control.sock")
    await server.start()
    yield tmp_path / "control.sock"
    await server.close()


async def ask(socket: Path, method: str, path: str, body: str | None = None) -> tuple[int, object]:
    """One exchange: status and JSON."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.request(method, f"http://cpcd{path}", data=body) as response,
    ):
        return response.status, json.loads(await response.read())


def mode(path: Path) -> str:
    """Kind and permissions, as `ls` shows them."""
    return stat.filemode(path.stat().st_mode)


async def test_only_owner_and_group_may_use_it(socket: Path) -> None:
    """The file system decides who may ask: everybody else is kept out."""
    assert "srw-rw----" == mode(socket)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/status", asyncio.run(well().status())),
        ("/plan", {"generation": "abc123", "steps": [], "held": [], "silent": [], "warnings": []}),
        ("/kubeconfig?cluster=home", {"kubeconfig": KUBECONFIG}),
    ],
)
async def test_questions_are_answered(socket: Path, path: str, expected: object) -> None:
    """What the daemon says comes through unchanged."""
    assert (200, expected) == await ask(socket, "GET", path)


async def test_inputs_reach_the_daemon(socket: Path, daemon: Daemon) -> None:
    """Each command's word arrives with its verb."""
    for verb, name, value in (("approve", "id", "d4f1"), ("pause", "cluster", "home"), ("reconcile", "key", "a/b/c")):
        await ask(socket, "POST", f"/{verb}", json.dumps({name: value}))

    assert {"approve": "d4f1", "pause": "home", "reconcile": "a/b/c"} == daemon.inputs


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/approve", '{"id": "none"}', 400, Code.INPUT),
        ("POST", "/pause", "not json", 400, Code.INPUT),
        ("POST", "/pause", "[]", 400, Code.INPUT),
        ("POST", "/pause", '{"cluster": 7}', 400, Code.INPUT),
        ("POST", "/pause", '{"cluster": "' + "x" * 100_000 + '"}', 413, Code.INPUT),
        ("GET", "/events?limit=0", None, 400, Code.INPUT),
        ("GET", "/events?limit=many", None, 400, Code.INPUT),
        ("GET", "/nothing", None, 404, Code.INPUT),
        ("POST", "/status", None, 405, Code.INPUT),
        ("GET", "/doctor", None, 500, Code.UNKNOWN),
    ],
)
async def test_every_refusal_has_a_code_and_a_hint(
    socket: Path, method: str, path: str, body: str | None, status: int, code: Code
) -> None:
    """Misuse, unknown paths and the daemon's own bugs are answered in one shape, without a traceback."""
    answered, told = await ask(socket, method, path, body)

    assert isinstance(told, dict)
    assert (status, int(code), True) == (answered, told["code"], bool(told["what"] and told["hint"]))


async def test_a_socket_that_a_killed_daemon_left_is_replaced(daemon: Daemon, tmp_path: Path) -> None:
    """`kill -9` leaves the file; the next start listens there again, and its end removes it."""
    path = tmp_path / "control.sock"
    (await asyncio.start_unix_server(lambda *_: None, path)).close()
    server = ControlServer(daemon, path)
    await server.start()
    answered, _ = await ask(path, "GET", "/plan")
    await server.close()
    await server.close()

    assert (200, []) == (answered, list(tmp_path.glob("*")))


@pytest.mark.parametrize("kind", ["file", "link", "directory", "datagram"])
async def test_what_is_no_daemons_socket_is_left_as_it_is(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """A path that was mistyped costs nobody a file, neither at the start nor at the end."""
    path = tmp_path / "control.sock"
    (tmp_path / "precious").write_text("precious")
    with socketlib.socket(socketlib.AF_UNIX, socketlib.SOCK_DGRAM) as other:
        match kind:
            case "file":
                path.write_text("precious")
            case "link":
                path.symlink_to(tmp_path / "precious")
            case "directory":
                path.mkdir()
            case _:
                other.bind(str(path))
        before = path.lstat()
        server = ControlServer(daemon, path)
        with pytest.raises(Failure) as caught:
            await server.start()
        await server.close()

    assert (Code.DEPENDENCY, str(path)) == (caught.value.code, caught.value.target)
    assert (before, "precious") == (path.lstat(), (tmp_path / "precious").read_text())


async def test_a_living_daemon_keeps_its_socket(daemon: Daemon, socket: Path) -> None:
    """A second one with another state directory, which no lock keeps away, is told so and takes nothing with it."""
    second = ControlServer(daemon, socket)
    with pytest.raises(Failure, match="another daemon answers there") as caught:
        await second.start()
    await second.close()

    assert Code.DEPENDENCY == caught.value.code
    assert 200 == (await ask(socket, "GET", "/plan"))[0]


async def test_a_claimed_socket_is_taken_and_who_connects_waits_for_the_start(daemon: Daemon, tmp_path: Path) -> None:
    """Two daemons that start at once cannot both go on, and no command is lost to one that starts."""
    first, second = (ControlServer(daemon, tmp_path / "control.sock") for _ in range(2))
    first.claim()
    with pytest.raises(Failure, match="another daemon answers there"):
        second.claim()
    early = asyncio.create_task(ask(tmp_path / "control.sock", "GET", "/kubeconfig?cluster=home"))
    await asyncio.sleep(0.05)
    assert not early.done()
    await first.start()

    assert (200, {"kubeconfig": KUBECONFIG}) == await early
    await second.close()
    assert (tmp_path / "control.sock").is_socket()
    await first.close()
    assert not (tmp_path / "control.sock").exists()


async def test_a_claim_is_given_back_without_a_start(daemon: Daemon, tmp_path: Path) -> None:
    """A daemon that cannot start leaves nothing behind."""
    server = ControlServer(daemon, tmp_path / "control.sock")
    server.claim()
    await server.close()

    assert [] == list(tmp_path.iterdir())


async def test_the_end_removes_no_socket_of_another(daemon: Daemon, tmp_path: Path) -> None:
    """Whoever took the path after it was removed by hand keeps it."""
    path = tmp_path / "control.sock"
    first, second = ControlServer(daemon, path), ControlServer(daemon, path)
    await first.start()
    path.rename(tmp_path / "moved.sock")
    await second.start()
    await first.close()
    answered, _ = await ask(path, "GET", "/plan")
    await second.close()

    assert (200, False) == (answered, path.exists())


@pytest.mark.parametrize(("where", "group"), [("none/control.sock", ""), ("control.sock", "no-such-group")])
async def test_a_socket_that_cannot_be_opened_is_a_sentence(
    daemon: Daemon, tmp_path: Path, where: str, group: str
) -> None:
    """A missing directory and a missing group name what to do."""
    with pytest.raises(Failure, match="control socket cannot be opened") as caught:
        await ControlServer(daemon, tmp_path / where, group=group).start()

    assert Code.DEPENDENCY == caught.value.code
