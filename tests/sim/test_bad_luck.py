"""Bad luck in virtual time: each ends in a sentence with a code, nothing lost and nothing destroyed."""

import asyncio
import random
import re
import shutil
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.adapters.journal import SqliteJournal, read_ledger
from cpcd.lab.inprocess import LabGuests, LabTransport
from cpcd.lab.pve import PROVISIONER
from cpcd.lab.simloop import SimClock, SimLoop, simulate
from cpcd.model.ledger import PutFact
from cpcd.ports.guests import Guests, Host
from cpcd.ports.proxmox import Request, Response, Transport
from cpcd.sources.doctor import Doctor
from cpcd.status import document
from tests.sim.house import EPOCH, TOKEN, Committed, House, spec

Tale = Callable[["Street"], Coroutine[Any, Any, None]]

NAMES = ["demo-cp-1", "demo-cp-2", "demo-cp-3", "demo-general-1", "demo-general-2"]


class Steps(SimClock):
    """A clock whose wall time can be stepped; monotonic time goes on as ever."""

    step = 0.0

    def wall(self) -> float:
        """Return the stepped wall time."""
        return super().wall() + self.step


class Bytes(Committed):
    """A spec of which any bytes can be committed."""

    raw: bytes = b""

    @property
    def files(self) -> Mapping[str, bytes]:
        return {"cluster.yaml": self.raw or self.text.encode()}

    def spoil(self, raw: bytes) -> None:
        """Commit bytes instead of text."""
        self.raw = raw
        self.commit(self.text)


class Street(House):
    """A house whose way to Proxmox, clock and file can be bad; `luck` decides what becomes of each exchange."""

    def __init__(self, loop: SimLoop, directory: Path, text: str, *, seed: int = 1) -> None:
        super().__init__(loop, directory, text, seed=seed)
        self.clock: Steps = Steps(loop, EPOCH)
        self.file: Bytes = Bytes(text)
        self.luck: Callable[[Request], str] = lambda _: ""
        self.secrets: set[str] = set()

    @property
    def writes(self) -> int:
        """Number of calls that Proxmox took and that were no reads."""
        return sum(count for call, count in self.world.pve.calls.items() if not call.startswith("GET"))

    @property
    def hurt(self) -> list[str]:
        """Return the verbs of all destructive calls so far."""
        return [call.verb for call in self.world.pve.history]

    def machines(self) -> list[Any]:
        """Return the VMs that are no templates."""
        return [vm for vm in self.world.pve.vms.values() if not vm.template]

    def alive(self) -> Any:
        """Return the daemon that runs."""
        assert self.daemon is not None
        return self.daemon

    def status(self) -> str:
        """Return everything that `cpcd status` has, as one text."""
        daemon = self.alive()
        return f"{daemon.sentence()}\n{document(daemon.state.view, daemon.board, daemon.clock.wall())}"

    def metric(self, name: str) -> float:
        """Return a metric without labels as it is scraped."""
        found = re.search(rf"^{name} (\S+)$", self.alive().scrape().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def grant(self, *privileges: str) -> None:
        """Leave the token these privileges, everywhere."""
        accounts = self.world.pve.accounts
        accounts[TOKEN] = replace(accounts[TOKEN], acl={"/": frozenset(privileges)})

    def _transport(self) -> Transport:
        return _Unlucky(self)

    def _guests(self) -> Guests:
        return _Overheard(self)


class _Unlucky(LabTransport):
    """The transport with what happens on the way (`failures.md` T01-T10)."""

    def __init__(self, street: Street) -> None:
        super().__init__(street.world, asyncio.sleep)
        self._street = street

    async def send(self, request: Request) -> Response:
        match self._street.luck(request):
            case "595" | "596" as status:
                return Response(int(status), "Connection refused", b"", {})
            case "html":
                return Response(502, "Bad Gateway", b"<html><h1>502</h1></html>", {"Content-Type": "text/html"})
            case "truncated":
                answer = await super().send(request)
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "lost":
                raise ConnectionResetError("connection reset by peer")
            case "cut":
                await super().send(request)
                raise ConnectionResetError("connection reset by peer")
            case _:
                return await super().send(request)


class _Overheard(LabGuests):
    """The guests, and every secret that one of them hands out."""

    def __init__(self, street: Street) -> None:
        super().__init__(street.world, asyncio.sleep)
        self._street = street

    async def call(self, host: Host, verb: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        output = await super().call(host, verb, given)
        found = {name: value for name, value in output.items() if name in {"token", "certificate_key"}}
        self._street.secrets |= {str(value) for value in found.values() if value}
        return output


def tell(directory: Path, tale: Tale, *, seed: int = 1, text: str = "") -> Street:
    """Play a tale in a street of its own and return it as it was at the end."""
    streets: list[Street] = []

    async def main(loop: SimLoop) -> None:
        street = Street(loop, directory, text or spec(), seed=seed)
        streets.append(street)
        await tale(street)

    simulate(main, seed=seed)
    return streets[0]


async def built(street: Street) -> None:
    """Build the first cluster."""
    await street.start()
    await street.converged(limit=1500)


def uids(street: Street) -> set[str]:
    """Return the machine uid in the mark of every VM; each must be there once."""
    found = [str(vm.config["description"]).split()[3] for vm in street.world.pve.vms.values() if not vm.template]
    assert len(found) == len(set(found))
    return set(found)


def pragma(street: Street, words: str) -> None:
    """Let the ledger's own connection meet a disk that is full or read-only, or mend it."""
    journal = street.alive().journal
    assert isinstance(journal, SqliteJournal)
    journal._db.execute(f"PRAGMA {words}")


# --- the file -----------------------------------------------------------------------------------------------------


def test_a_daemon_started_on_a_broken_file_keeps_the_last_good_one(tmp_path: Path) -> None:
    """The last good spec comes out of the ledger with its generation; the mistake has line and column."""
    shown: list[Any] = []

    async def tale(street: Street) -> None:
        await built(street)
        street.file.spoil(street.file.text.replace("numCores: 2", "numCores: two").encode())
        await street.crash()
        before = street.writes
        await street.start()
        await asyncio.sleep(900)
        shown.extend([street.alive().board.spec, street.metric("cpcd_spec_valid"), street.writes - before])

    street = tell(tmp_path, tale)
    state, valid, writes = shown

    assert (valid, writes, state.generation) == (0.0, 0, "commit-0")
    assert re.match(r"CPCD-102 cluster\.yaml:\d+:\d+: spec\.machineDefaults\.numCores: ", state.mistakes[0])
    assert sorted(street.vms().values()) == NAMES


# --- Proxmox ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_build_survives_every_kind_of_broken_answer(tmp_path: Path, seed: int) -> None:
    """595, 596, HTML, half an answer, resets before and after the effect, for one call in eight: nothing double."""
    dice = random.Random(seed)
    met: set[str] = set()

    def luck(_: Request) -> str:
        fault = dice.choice(["595", "596", "html", "truncated", "lost", "cut"]) if dice.random() < 0.125 else ""
        met.add(fault)
        return fault

    async def tale(street: Street) -> None:
        street.luck = luck
        await street.start()
        await asyncio.sleep(600)
        street.luck = lambda _: ""
        await street.converged(limit=3000)

    street = tell(tmp_path, tale, seed=seed)

    assert sorted(street.vms().values()) == NAMES
    assert len(uids(street)) == 5
    assert street.hurt == []
    assert met == {"", "595", "596", "html", "truncated", "lost", "cut"}


def test_a_refused_token_is_called_that_and_its_return_is_enough(tmp_path: Path) -> None:
    """CPCD-101 for every object and in the first sentence, nothing is changed, and the right token ends it by itself."""
    shown: list[str] = []
    writes: list[int] = []

    async def tale(street: Street) -> None:
        good, street.token = street.token, f"{TOKEN}=wrong"
        await street.start()
        await asyncio.sleep(120)
        shown.append(street.status())
        writes.append(street.writes)
        street.token = good
        await street.until(lambda: street.writes > 0, limit=60, what="it goes on")
        await street.converged(limit=1500)

    street = tell(tmp_path, tale)

    assert writes == [0]
    assert "CPCD-101 pve:127.0.0.1" in shown[0].splitlines()[0]
    assert "Proxmox refused the token" in shown[0].splitlines()[0]
    assert "wrong" not in shown[0]
    assert sorted(street.vms().values()) == NAMES


def test_missing_privileges_are_named(tmp_path: Path) -> None:
    """In the status before a call meets them, in the failure that meets one, and by the doctor."""
    shown: list[str] = []

    async def tale(street: Street) -> None:
        street.grant(*PROVISIONER - {"VM.Clone", "VM.PowerMgmt"})
        await street.start()
        await asyncio.sleep(120)
        checks = await Doctor(street.alive().ports).checks(street.alive().state.view)
        shown.extend([street.status(), " ".join(c.message for c in checks if c.ok is False)])
        street.grant(*PROVISIONER)
        await street.converged(limit=3000)
        shown.append(street.status())

    tell(tmp_path, tale)
    status, doctor, after = shown

    assert "CPCD-101 pve:127.0.0.1: the token lacks VM.Clone on /vms, VM.PowerMgmt on /vms" in status.splitlines()[0]
    assert "the token lacks VM.Clone on /vms/9000" in status
    assert "missing: VM.Clone on /vms, VM.PowerMgmt on /vms" in doctor
    assert "lacks" not in after


@pytest.mark.parametrize("left", [(), ("Sys.Audit",)], ids=["none", "without VM.Audit"])
def test_a_revoked_privilege_is_not_an_empty_proxmox(tmp_path: Path, left: tuple[str, ...]) -> None:
    """Lists come back empty, and nothing is made again or taken for gone (promise 7)."""
    shown: list[str] = []
    before: list[set[str]] = []

    async def tale(street: Street) -> None:
        await built(street)
        before.append(uids(street))
        writes = street.writes
        street.grant(*left)
        await asyncio.sleep(1800)
        assert street.writes == writes
        shown.append(street.status())
        street.grant(*PROVISIONER)
        await asyncio.sleep(60)
        await street.converged(limit=600)

    street = tell(tmp_path, tale)

    assert before == [uids(street)]
    assert "VM.Audit on /vms" in shown[0].splitlines()[0]
    assert street.hurt == []


# --- the state directory ------------------------------------------------------------------------------------------


FULL, READ_ONLY = ("max_page_count = 1", "max_page_count = 1000000"), ("query_only = 1", "query_only = 0")


@pytest.mark.parametrize(("bad", "good"), [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize("after", [1, 47])
def test_a_disk_that_takes_no_writes_stops_all_changes(tmp_path: Path, bad: str, good: str, after: int) -> None:
    """In the middle of a build: CPCD-108, not one call more than what had begun, and it goes on when writes do."""
    shown: list[Any] = []

    async def tale(street: Street) -> None:
        await street.start()
        await asyncio.sleep(after)
        pragma(street, bad)
        await asyncio.sleep(90)
        writes, machines = street.writes, len(street.world.pve.vms)
        await asyncio.sleep(600)
        shown.extend([street.status(), street.metric("cpcd_ledger_writable")])
        assert (street.writes, len(street.world.pve.vms)) == (writes, machines)
        pragma(street, good)
        await street.converged(limit=3000)

    street = tell(tmp_path, tale)

    assert shown[0].startswith("CPCD-108 ")
    assert "nothing is changed" in shown[0].splitlines()[0]
    assert shown[1] == 0.0
    assert sorted(street.vms().values()) == NAMES
    assert len(uids(street)) == 5
    assert street.hurt == []


def test_an_idle_daemon_notices_a_bad_disk(tmp_path: Path) -> None:
    """Before there is anything to change: the alert must not wait for the day when something has to be repaired."""
    shown: list[Any] = []

    async def tale(street: Street) -> None:
        await built(street)
        pragma(street, "query_only = 1")
        await asyncio.sleep(75)
        shown.extend([street.metric("cpcd_ledger_writable"), street.status()])
        pragma(street, "query_only = 0")
        await asyncio.sleep(15)
        shown.append(street.metric("cpcd_ledger_writable"))

    tell(tmp_path, tale)

    assert (shown[0], shown[2]) == (0.0, 1.0)
    assert shown[1].startswith("CPCD-108 ")


def _torn(ledger: Path) -> None:
    content = bytearray(ledger.read_bytes())
    content[4096 : 4096 + 2048] = b"\xff" * 2048
    ledger.write_bytes(content)


def _altered(ledger: Path) -> None:
    content = ledger.read_bytes()
    assert content.count(b"demo-cp-1") > 0
    ledger.write_bytes(content.replace(b"demo-cp-1", b"demo-cp-7"))


@pytest.mark.parametrize("damage", [_torn, _altered])
def test_a_corrupt_ledger_is_kept_and_nothing_is_changed(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """The daemon starts, observes and says so; the file stays byte by byte; a restored one is taken up by itself."""
    shown: list[str] = []
    before: list[set[str]] = []
    ledger, backup = tmp_path / "ledger.db", tmp_path / "backup.db"

    async def tale(street: Street) -> None:
        await built(street)
        before.append(uids(street))
        await street.alive().journal.close()
        await street.crash()
        shutil.copy(ledger, backup)
        damage(ledger)
        damaged, writes = ledger.read_bytes(), street.writes
        await street.start()
        await asyncio.sleep(1200)
        assert (ledger.read_bytes(), street.writes) == (damaged, writes)
        shown.append(street.status())
        backup.replace(ledger)
        await asyncio.sleep(30)
        await street.converged(limit=600)

    street = tell(tmp_path, tale)

    assert shown[0].startswith("CPCD-108 ")
    assert "corrupt" in shown[0].splitlines()[0]
    assert before == [uids(street)]
    assert street.hurt == []


def test_a_lost_ledger_is_not_an_empty_proxmox(tmp_path: Path) -> None:
    """With a new ledger no machine is added over those that bear our mark; the old one, restored, ends it."""
    shown: list[str] = []
    before: list[set[str]] = []
    ledger, backup = tmp_path / "ledger.db", tmp_path / "backup.db"

    async def tale(street: Street) -> None:
        await built(street)
        before.append(uids(street))
        await street.alive().journal.close()
        await street.crash()
        ledger.rename(backup)
        writes = street.writes
        await street.start()
        await asyncio.sleep(1200)
        assert street.writes == writes
        shown.append(street.status())
        await street.alive().journal.close()
        await street.crash()
        backup.replace(ledger)
        await street.start()
        await street.converged(limit=600)

    street = tell(tmp_path, tale)

    assert "take demo-cp-1 (VMID " in shown[0]
    assert "waits for `cpcd approve demo/recover/demo`" in shown[0]
    assert before == [uids(street)]
    assert street.hurt == []


@pytest.mark.parametrize("kept", ["everything else", "nothing", "an older ledger"])
def test_a_lost_ledger_is_made_again_from_the_machines(tmp_path: Path, kept: str) -> None:
    """With consent: the same machines under the same marks, members again, and the next edit is carried out.

    What kubeadm was told more is believed of the file then, and held from then on.
    """
    before: list[set[str]] = []
    refused: list[str] = []
    ledger, backup = tmp_path / "ledger.db", tmp_path / "backup.db"

    async def tale(street: Street) -> None:
        await built(street)
        await street.alive().journal.close()
        await street.crash()
        shutil.copy(ledger, backup)
        await street.start()
        street.file.commit(added(spec(workers=3)))
        await asyncio.sleep(15)
        await street.converged(limit=1200)
        before.append(uids(street))
        await street.alive().journal.close()
        await street.crash()
        ledger.unlink()
        if kept == "an older ledger":
            backup.replace(ledger)
        if kept == "nothing":
            shutil.rmtree(tmp_path / "kubeconfigs")
        await street.start()
        await asyncio.sleep(120)
        await street.alive().state.commit((PutFact("approval/demo/recover/demo", 1.0),))
        await asyncio.sleep(15)
        await street.converged(limit=600)
        assert uids(street) == before[0]
        street.file.commit(added(spec(workers=4)))
        await asyncio.sleep(15)
        await street.converged(limit=1200)

        street.file.commit(spec(workers=4))
        await asyncio.sleep(15)
        refused.append(street.status())

    street = tell(tmp_path, tale, text=added(spec()))
    view = street.alive().state.view

    assert "cannot change: the cluster was initialised with another" in refused[0]
    assert uids(street) > before[0]
    assert all(row.joined for row in view.machines.values())
    assert sorted(row.name for row in view.machines.values()) == [*NAMES, "demo-general-3", "demo-general-4"]
    assert street.hurt == []


def added(text: str) -> str:
    """Return the spec with something more for kubeadm."""
    more = "kubeadmConfigSpec: {patches: {kube-apiserver: {metadata: {labels: {tier: gold}}}}}"
    return text.replace("controlPlane: {", f"controlPlane: {{{more}, ")


def test_a_lost_ledger_of_a_cluster_that_never_began(tmp_path: Path) -> None:
    """Before kubeadm init: the machines are taken up again, and one of them is elected."""

    async def tale(street: Street) -> None:
        await street.start()
        await street.until(lambda: len(street.vms()) == 5 and all(v.running for v in street.machines()), limit=600)
        await street.alive().journal.close()
        await street.crash()
        (tmp_path / "ledger.db").unlink()
        await street.start()
        await asyncio.sleep(120)
        await street.alive().state.commit((PutFact("approval/demo/recover/demo", 1.0),))
        await asyncio.sleep(15)
        await street.converged(limit=1500)

    street = tell(tmp_path, tale)

    assert sorted(row.name for row in street.alive().state.view.machines.values()) == NAMES
    assert street.hurt == []


def test_a_migrated_machine_is_followed(tmp_path: Path) -> None:
    """Moved to another Proxmox node by hand: its row follows, and it is changed and retired where it is."""

    async def tale(street: Street) -> None:
        await built(street)
        moved = next(vm for vm in street.machines() if vm.config["name"] == "demo-general-2")
        moved.node = next(node for node in ("pve1", "pve2", "pve3") if node != moved.node)
        street.file.commit(spec(memory=3072))
        await asyncio.sleep(15)
        await street.converged(limit=1800)
        row = next(row for row in street.alive().state.view.machines.values() if row.name == "demo-general-2")
        assert (row.node, "3072") == (moved.node, str(moved.config["memory"]))
        street.file.commit(spec(memory=3072, workers=1, destroy="Auto"))
        await asyncio.sleep(15)
        await street.converged(limit=1200)

    street = tell(tmp_path, tale)

    assert sorted(row.name for row in street.alive().state.view.machines.values()) == NAMES[:-1]
    assert len(street.vms()) == 4


# --- the clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [7200.0, -7200.0], ids=["+2h", "-2h"])
def test_a_clock_that_steps_during_a_build_harms_nothing(tmp_path: Path, step: float) -> None:
    """Stepped every half minute there and back, while clones, prepares and joins run: the same cluster, each once."""
    dice = random.Random(0)

    async def tale(street: Street) -> None:
        await street.start()
        for turn in range(16):
            await asyncio.sleep(dice.uniform(1, 30))
            street.clock.step = 0.0 if turn % 2 else step
        await street.converged(limit=4000)

    street = tell(tmp_path, tale)

    assert sorted(street.vms().values()) == NAMES
    assert len(uids(street)) == 5
    assert street.hurt == []


@pytest.mark.parametrize("step", [7200.0, -7200.0], ids=["+2h", "-2h"])
def test_a_clock_that_steps_is_no_reason_to_repair_anything(tmp_path: Path, step: float) -> None:
    """A worker that has just been found down, and boots, is not suddenly two hours late."""
    before: list[set[str]] = []

    async def tale(street: Street) -> None:
        await built(street)
        before.append(uids(street))
        street.world.pve.silence(True)
        street.world.pve.stop_vm(next(vmid for vmid, name in street.vms().items() if "general" in name))
        await asyncio.sleep(90)
        street.clock.step = step
        street.world.pve.silence(False)
        await asyncio.sleep(120)
        await street.converged(limit=3000)
        await asyncio.sleep(900)

    street = tell(tmp_path, tale)

    assert before == [uids(street)]
    assert street.hurt == []


@pytest.mark.parametrize("ahead", [0.0, 900.0, -900.0])
def test_a_clock_that_is_off_changes_no_time_of_a_health_rule(tmp_path: Path, ahead: float) -> None:
    """A kubelet is silent for three minutes and nothing is done; for more than five, and its VM is reset."""
    resets: list[int] = []

    def count(street: Street) -> None:
        resets.append(sum(number for call, number in street.world.pve.calls.items() if call.endswith("/reset")))

    async def silent(street: Street, seconds: float) -> None:
        machine = next(one for one in street.world.guests.values() if one.disk.hostname == "demo-general-1")
        machine.stop_kubelet()
        await asyncio.sleep(seconds)
        count(street)

    async def tale(street: Street) -> None:
        await built(street)
        street.clock.step = ahead
        await asyncio.sleep(4000)  # until it is followed
        await silent(street, 180)
        next(one for one in street.world.guests.values() if one.disk.hostname == "demo-general-1").start_kubelet()
        await asyncio.sleep(60)
        await silent(street, 390)
        await street.converged(limit=900)

    tell(tmp_path, tale)

    assert [0, 1] == resets


def test_certificates_that_grow_old_are_told_and_their_renewal_is_seen(tmp_path: Path) -> None:
    """`failures.md` K14: nobody renews kubeadm's certificates by itself; members are looked at every ten minutes."""
    series = "cpcd_certificate_expiration_timestamp_seconds"
    told: list[tuple[bool, bool]] = []
    counts: list[int] = []

    def told_now(street: Street) -> None:
        old = re.findall(
            rf'^{series}{{certificate="apiserver".*name="demo-cp-2",site=""}} (\S+)$',
            street.alive().scrape().decode(),
            re.MULTILINE,
        )
        told.append(("certificates end: apiserver of demo-cp-2 in 20 d" in street.status(), float(old[0]) < 1.9e9))

    async def tale(street: Street) -> None:
        await built(street)
        counts.append(street.writes)
        disk = next(m.disk for m in street.world.guests.values() if m.disk.hostname == "demo-cp-2")
        for days in (20, 3650):
            disk.certificates["apiserver"] = street.clock.wall() + days * 86400
            await asyncio.sleep(700)
            told_now(street)
        counts.append(street.writes)

    tell(tmp_path, tale)

    assert told == [(True, True), (False, False)]
    assert counts[0] == counts[1]


# --- secrets ------------------------------------------------------------------------------------------------------


def test_no_secret_is_left_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Join tokens, certificate keys and the API token are in no log, status, event, metric or file of the state."""
    caplog.set_level("DEBUG")
    told: list[bytes] = []

    async def tale(street: Street) -> None:
        await built(street)
        daemon = street.alive()
        events = await daemon.journal.history(limit=10_000)
        told.extend([street.status().encode(), repr(events).encode(), daemon.scrape(), caplog.text.encode()])
        told.append(repr([(done.sentence, done.steps, done.failure) for done in street.passes]).encode())
        await daemon.journal.close()
        told.append(repr(read_ledger(tmp_path / "ledger.db")).encode())

    street = tell(tmp_path, tale)
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    secrets = {street.token.partition("=")[2], *street.secrets}

    assert len(secrets) >= 4
    assert [secret for secret in secrets for text in (*told, *kept) if secret.encode() in text] == []
