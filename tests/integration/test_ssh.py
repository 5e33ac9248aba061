"""The port `Guests` over a real sshd: identity, users, connections, and verbs on this very machine."""

import asyncio
import gc
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.guests import GuestsOverSsh
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.keys import Uid
from cpcd.ports.guests import SHORT_VERBS, Host
from tests.integration.sshd import ME, Sshd, running, write_key


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """Return a running server."""
    with running(tmp_path) as server:
        yield server


@pytest.fixture
async def guests(sshd: Sshd) -> AsyncIterator[GuestsOverSsh]:
    """Return the adapter with the server's key."""
    adapter = GuestsOverSsh(key=sshd.key)
    yield adapter
    await adapter.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, 20 s at most."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def boot_id() -> str:
    """Return this machine's boot id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def refusal(guests: GuestsOverSsh, host: Host, verb: str = "facts", **given: object) -> Failure:
    """Return the failure of a call."""
    with pytest.raises(Failure) as failed:
        await guests.call(host, verb, given)
    return failed.value


async def test_facts_of_this_machine_have_every_key(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """The bundle travels, runs and answers; the hostname is the kernel's."""
    facts = await guests.call(sshd.host(), "facts", {})

    assert set(facts) == set(SHORT_VERBS["facts"][1])
    assert facts["hostname"] == os.uname().nodename
    assert facts["boot_id"] == boot_id()


async def test_an_unknown_op_is_absent(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """Polling asks the machine itself."""
    state = await guests.poll(sshd.host(), "never-begun")

    assert state == {"state": "absent", "boot_id": "", "rc": None, "output": {}, "error": {}}


async def test_a_refused_verb_keeps_the_machines_words(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """This machine is no control plane."""
    failure = await refusal(guests, sshd.host(), "kubeconfig")

    assert (failure.code, failure.target) == (Code.EXECUTION, "m1")
    assert "there is no /etc/kubernetes/admin.conf" in failure.what


async def test_a_machine_with_another_host_key_is_not_logged_into(
    sshd: Sshd, guests: GuestsOverSsh, tmp_path: Path
) -> None:
    """A changed key is AUTH, not a network matter (`failures.md` S02)."""
    failure = await refusal(guests, sshd.host(host_key=write_key(tmp_path / "other")))

    assert (failure.code, failure.what.endswith("does not show the pinned host key")) == (Code.AUTH, True)
    assert "Accepted publickey" not in (tmp_path / "sshd.log").read_text()


async def test_without_a_pinned_key_no_connection_is_made(sshd: Sshd, guests: GuestsOverSsh, tmp_path: Path) -> None:
    """Trust on first use is not an option."""
    before = (tmp_path / "sshd.log").read_text()

    failure = await refusal(guests, sshd.host(host_key=""))

    assert failure.code == Code.AUTH
    assert (tmp_path / "sshd.log").read_text() == before


async def test_the_next_user_is_tried_when_one_is_refused(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """Cloud images differ in their user's name."""
    facts = await guests.call(sshd.host(users=("nobody-of-that-name", ME)), "facts", {})

    assert facts["hostname"] == os.uname().nodename


async def test_when_no_user_is_let_in_all_are_named(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """The sentence says who was tried."""
    failure = await refusal(guests, sshd.host(users=("nobody-one", "nobody-two")))

    assert (failure.code, failure.what) == (Code.AUTH, "the key is refused for nobody-one, nobody-two")


async def test_an_unreadable_private_key_is_said(sshd: Sshd, tmp_path: Path) -> None:
    """It is our mistake, not the machine's."""
    failure = await refusal(GuestsOverSsh(key=tmp_path / "absent"), sshd.host())

    assert failure.code == Code.AUTH
    assert "cannot be read" in failure.what


async def test_a_closed_port_is_an_endpoint_without_answer(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """Booting, or gone: the endpoint's owner decides (`failures.md` S01)."""
    host = sshd.host()
    sshd.process.terminate()
    sshd.process.wait()

    failure = await refusal(guests, host)

    assert isinstance(failure, Unreachable)
    assert failure.endpoint == "guest:u1"


async def test_a_connection_cut_in_the_middle_of_a_command_is_an_endpoint_without_answer(tmp_path: Path) -> None:
    """Nobody knows what the command did: observe again (`failures.md` S04)."""
    with running(tmp_path, force=f"touch {tmp_path}/begun; sleep 60") as server:
        guests = GuestsOverSsh(key=server.key)
        call = asyncio.create_task(refusal(guests, server.host()))
        await until((tmp_path / "begun").exists)

        for pid in server.sessions():
            os.kill(pid, signal.SIGKILL)

        failure = await call
        await guests.close()
    assert isinstance(failure, Unreachable)


async def test_after_a_cut_the_next_call_connects_anew(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """A dead connection is not used again."""
    await guests.call(sshd.host(), "facts", {})
    for pid in sshd.sessions():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not sshd.sessions())
    await asyncio.sleep(0.1)  # asyncssh hears of it in its next turn

    facts = await guests.call(sshd.host(), "facts", {})

    assert facts["hostname"] == os.uname().nodename


async def test_a_connection_that_falls_silent_is_given_up(sshd: Sshd) -> None:
    """Half-open: three keepalives go unanswered long before the command's own limit (`failures.md` S03)."""
    guests, host = GuestsOverSsh(key=sshd.key, scale=30), replace(sshd.host(), connect=600, answer=30_000)
    await guests.poll(host, "op1")
    silenced = sshd.sessions()
    for pid in silenced:
        os.kill(pid, signal.SIGSTOP)

    failure = await refusal(guests, host)
    again = await guests.poll(host, "op1")

    await guests.close()
    assert silenced
    assert isinstance(failure, Unreachable)
    assert again["state"] == "absent"


class CutShort:
    """A call that is cancelled at its suspension number `at`; `met` says whether there is one."""

    def __init__(self, call: Coroutine[Any, Any, object], at: int) -> None:
        self._steps, self._at, self.met = call.__await__(), at, False

    def __await__(self) -> Generator[Any, Any, None]:
        thrown: BaseException | None = None
        for number in itertools.count():
            try:
                waited = self._steps.throw(thrown) if thrown else next(self._steps)
            except StopIteration:
                return
            if number == self._at:
                self.met = bool(task := asyncio.current_task()) and task.cancel()
            try:
                thrown = yield waited
            except BaseException as error:  # noqa: BLE001 - whatever comes is handed on
                thrown = error


async def test_a_call_ends_wherever_it_is_cancelled(sshd: Sshd) -> None:
    """At every await; nothing hangs, nothing is left or complains unheard, the next call works (`failures.md` S05)."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def cut(at: int) -> bool:
        guests = GuestsOverSsh(key=sshd.key)
        call = CutShort(guests.poll(sshd.host(), "op1"), at)

        async def made() -> None:
            await call

        ended, hanging = await asyncio.wait([asyncio.create_task(made())], timeout=20)
        assert not hanging
        assert [call.met] == [task.cancelled() for task in ended]
        assert (await guests.poll(sshd.host(), "op1"))["state"] == "absent"
        await guests.close()
        return call.met

    cuts = 0
    while await cut(cuts):
        cuts += 1
    await until(lambda: not sshd.sessions() and len(asyncio.all_tasks()) == 1)
    gc.collect()

    assert cuts > 3
    assert [] == complaints


async def test_calls_that_overlap_share_one_connection(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """One login a machine, however many ask at once (`failures.md` S10)."""
    await asyncio.gather(*(guests.poll(sshd.host(), f"op{number}") for number in range(4)))

    assert len(sshd.sessions()) == 1


async def test_a_command_that_has_answered_waits_for_the_next_call(tmp_path: Path) -> None:
    """To start one is most of what a call costs a machine; those that overlap ask it in turn. A greeting hides nothing."""
    begun = tmp_path / "begun"
    force = f'echo $$ >> {begun}; echo Welcome!; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with running(tmp_path, force=force) as server:
        guests, host = GuestsOverSsh(key=server.key), server.host()
        for _ in range(3):
            await guests.poll(host, "op1")
        await asyncio.gather(*(guests.poll(host, "op1") for _ in range(3)))
        await guests.close()

    assert 1 == len(begun.read_text().split())


def hanging(place: Path) -> str:
    """Return a command for sshd in which the first session hangs, as one with a file system that is gone does."""
    return f'mkdir {place}/hung 2>/dev/null && sleep 60; exec sh -c "$SSH_ORIGINAL_COMMAND"'


async def test_a_call_goes_beside_one_that_hangs(tmp_path: Path) -> None:
    """It waits for its turn no longer than that: ten seconds, divided by the clock's scale."""
    with running(tmp_path, force=hanging(tmp_path)) as server:
        guests, host = GuestsOverSsh(key=server.key, scale=20), replace(server.host(), answer=1200)
        hung = asyncio.create_task(guests.poll(host, "op1"))
        await until((tmp_path / "hung").exists)

        assert "absent" == (await guests.poll(host, "op2"))["state"]
        assert not hung.done()
        hung.cancel()
        await guests.close()


async def test_whoever_waits_for_its_turn_gets_it_when_another_is_cancelled(tmp_path: Path) -> None:
    """The one before it and the one that waits may both be."""
    with running(tmp_path, force=hanging(tmp_path)) as server:
        guests, host = GuestsOverSsh(key=server.key), server.host()
        hung = asyncio.create_task(guests.poll(host, "op1"))
        await until((tmp_path / "hung").exists)
        waiting = [asyncio.create_task(guests.poll(host, f"op{number}")) for number in (2, 3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        hung.cancel()

        assert "absent" == (await waiting[1])["state"]
        await guests.close()


async def test_closing_cuts_off_who_waits_for_its_turn(tmp_path: Path) -> None:
    """As well as the one that has it; nobody connects anew for them."""
    with running(tmp_path, force=hanging(tmp_path)) as server:
        guests, host = GuestsOverSsh(key=server.key), server.host()
        calls = [asyncio.create_task(guests.poll(host, "op1"))]
        await until((tmp_path / "hung").exists)
        calls.append(asyncio.create_task(guests.poll(host, "op2")))
        await asyncio.sleep(0)
        await guests.close()

        assert [Unreachable] * 2 == [type(end) for end in await asyncio.gather(*calls, return_exceptions=True)]
        assert len(server.sessions()) <= 1


async def test_a_waiting_command_that_died_is_not_asked(tmp_path: Path) -> None:
    """As when a machine has no memory left; the connection may live on."""
    begun = tmp_path / "begun"
    force = f'echo $$ >> {begun}; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with running(tmp_path, force=force) as server:
        guests, host = GuestsOverSsh(key=server.key), server.host()
        await guests.poll(host, "op1")
        os.kill(int(begun.read_text()), signal.SIGKILL)
        await until(lambda: (session := guests._lines[host].session) is not None and session.stdout.at_eof())
        state = await guests.poll(host, "op1")
        connections = len(server.sessions())
        await guests.close()

    assert ("absent", 1) == (state["state"], connections)


async def test_an_idle_connection_is_closed_and_opened_again_when_needed(sshd: Sshd) -> None:
    """Idle machines cost nothing."""
    guests = GuestsOverSsh(key=sshd.key, idle=0.1)
    await guests.poll(sshd.host(), "op1")

    await until(lambda: not sshd.sessions())

    assert (await guests.poll(sshd.host(), "op1"))["state"] == "absent"
    await guests.close()


async def test_of_too_many_idle_connections_the_longest_idle_is_closed(
    sshd: Sshd, guests: GuestsOverSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand machines that are asked one after the other would keep a thousand connections."""
    monkeypatch.setattr("cpcd.adapters.guests.IDLE_MOST", 2)
    hosts = [replace(sshd.host(), uid=Uid(f"u{n}")) for n in range(4)]
    for host in (*hosts[:3], hosts[1], hosts[3]):
        await guests.poll(host, "op1")

    await until(lambda: len(sshd.sessions()) == 2)

    assert {hosts[1], hosts[3]} == set(guests._lines)


async def test_machines_that_cannot_be_reached_cost_no_connection(
    sshd: Sshd, guests: GuestsOverSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have none, so that they are none too many."""
    monkeypatch.setattr("cpcd.adapters.guests.IDLE_MOST", 2)
    await guests.poll(sshd.host(), "op1")
    for number in range(4):
        assert isinstance(await refusal(guests, replace(sshd.host(), uid=Uid(f"gone{number}"), port=1)), Unreachable)

    assert len(sshd.sessions()) == 1


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("echo sudo: a password is required >&2; exit 1", Code.AUTH),
        ("echo python3: not found >&2; exit 127", Code.DEPENDENCY),
        ("echo 'System is booting up. Unprivileged users are not permitted' >&2; exit 1", Code.NETWORK),
        ("echo what; exit 3", Code.EXECUTION),
    ],
)
async def test_what_a_shell_says_instead_of_a_reply_has_its_code(tmp_path: Path, shell: str, code: Code) -> None:
    """`failures.md` S08, G08: no reply is never success."""
    with running(tmp_path, force=shell) as server:
        guests = GuestsOverSsh(key=server.key)
        failure = await refusal(guests, server.host())
        await guests.close()

    assert failure.code == code


@pytest.mark.parametrize("verb", ["init", "nonsense"])
async def test_a_verb_of_another_kind_is_refused_before_anything_is_sent(
    sshd: Sshd, guests: GuestsOverSsh, verb: str
) -> None:
    """Short verbs are called, long ones submitted."""
    failure = await refusal(guests, sshd.host(), verb)

    assert (failure.code, sshd.sessions()) == (Code.INPUT, [])


async def test_a_connection_has_as_long_as_the_spec_says(tmp_path: Path) -> None:
    """Something listens and never speaks: the sentence has the limit that was waited for."""
    key = write_key(tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = Host("u1", "m1", "127.0.0.1", silent.getsockname()[1], (ME,), key, connect=0.3)
        failure = await refusal(GuestsOverSsh(key=tmp_path / "key"), host)

    assert isinstance(failure, Unreachable)
    assert failure.what.endswith("is not reached: no connection within 0.3 s")


async def test_a_call_has_as_long_as_the_spec_says(sshd: Sshd, guests: GuestsOverSsh) -> None:
    """What is not answered in time is a time-out, with the limit in its sentence."""
    failure = await refusal(guests, replace(sshd.host(), answer=0.001))

    assert (Code.TIMEOUT, "no answer to a command in 0.001 s") == (failure.code, failure.what)
