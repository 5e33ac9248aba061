"""The one file that builds adapters and hands them to the rest: from settings to a running daemon.

Against a lab (`settings.lab`, loopback only) the clock takes the lab's rate, so that every wait and client time-out
scales, and modelled machines answer `prepare` over the wire; nothing else differs.
"""

import asyncio
import gc
import json
import os
import signal
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cpcd.adapters.control import ControlServer
from cpcd.adapters.files import SpecFiles
from cpcd.adapters.guests import GuestsOverSsh
from cpcd.adapters.http import AiohttpTransport
from cpcd.adapters.journal import SqliteJournal, StateLock, copy_ledger, read_ledger
from cpcd.adapters.kube import KubeApi, forget_keys
from cpcd.adapters.kubeconfigs import KubeconfigFiles
from cpcd.adapters.notify import Notify
from cpcd.adapters.operator_key import NAME, operator_key
from cpcd.adapters.pages import Pages, PagesServer
from cpcd.adapters.playbooks import Playbooks
from cpcd.adapters.proxmox import ProxmoxApi, Slots
from cpcd.adapters.requests import names_of
from cpcd.daemon import Daemon, Parts
from cpcd.loop.clock import WallClock
from cpcd.model.desired import SecretRef
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.ledger import Ledger, Machine
from cpcd.model.view import View
from cpcd.ports.bundle import Ports
from cpcd.ports.guests import ANSWER_S, PLAY_S, Host
from cpcd.ports.kube import Kube
from cpcd.ports.proxmox import Proxmox
from cpcd.settings import Settings
from cpcd.sources.commands import KUBECONFIG_AWAITED, Commands, foreseen
from cpcd.sources.doctor import Doctor
from cpcd.sources.specs import Specs
from cpcd.spec.secrets import resolve
from cpcd.status import configure_logs

__all__ = ["main", "plan"]

_GONE = "Bring the document back to have its machines kept again; until then they are left as they are."
CACHE = "cache"  # below the state directory: where a client's key is for the moment in which ssl loads it
PAGES_AGAIN = 10.0  # seconds until an address that was taken is tried again
REPLACED_CLIENT_S = 600.0  # beyond every limit of a call: the longest are a watch and a list in pages


def main(settings: Settings) -> int:
    """Run the daemon until SIGTERM or SIGINT; return the exit code. Raises Failure for what forbids to start."""
    pretty = {"json": False, "pretty": True}.get(settings.log_format)
    configure_logs(settings.log_level, pretty=pretty)
    _make(settings.state_dir)
    lock = StateLock(settings.state_dir)
    # Before anything in there is opened: a second daemon would carry on the same operations.
    lock.acquire()
    try:
        forget_keys(settings.state_dir / CACHE)
        # What was imported never becomes garbage: it is not looked through again, and what does is found sooner.
        gc.freeze()
        asyncio.run(_run(settings))
    finally:
        lock.release()
    return 0


def plan(settings: Settings) -> dict[str, Any]:
    """Return the plan without a daemon: from a copy of its ledger and one fresh look; nothing is changed.

    Raises Failure when the ledger is corrupt, the spec has mistakes or Proxmox cannot be asked; nothing is logged.
    """
    configure_logs("critical")
    with tempfile.TemporaryDirectory(prefix="cpcd-plan-") as scratch:
        ledger, ssh, copy = settings.state_dir / "ledger.db", settings.state_dir / "ssh", Path(scratch) / "ledger.db"
        try:
            machines = read_ledger(ledger).machines if ledger.exists() else {}
            copy_ledger(ledger, copy)
            keys = ssh if machines or (ssh / NAME).exists() else Path(scratch)
        except PermissionError as error:
            what, hint = "you may not read the state directory", "Use sudo, or ask the daemon: leave out --offline."
            raise Failure(Code.AUTH, what, target=str(settings.state_dir), hint=hint) from error
        return asyncio.run(_plan(settings, copy, keys))


async def _plan(settings: Settings, ledger: Path, keys: Path) -> dict[str, Any]:
    await SpecFiles(settings.spec, settings.worktree).read()  # raises what forbids it, before anything else does
    daemon, links = _daemon(settings, ledger, keys)
    try:
        view = await daemon.look_once()
        if daemon.state.frozen is not None:
            raise daemon.state.frozen
        if daemon.board.spec.mistakes:
            raise Failure(Code.CONFIG, daemon.board.spec.mistake.removeprefix(f"{Code.CONFIG} "))
        return foreseen(view)
    finally:
        await daemon.stop()
        await links.close()


def _daemon(settings: Settings, ledger: Path, keys: Path) -> tuple[Daemon, "Links"]:
    about = _lab(settings.lab)
    clock = WallClock(about.get("rate", 1.0), epoch=_epoch_now(about))
    links = Links(settings, clock, key=_operator_key(keys, ledger), lab=bool(about))
    journal = SqliteJournal if links.public_key else Keyless
    parts = Parts(
        clock=clock,
        journal=journal(ledger, threaded=True),
        ports=links.ports,
        specs=lambda view: Specs(
            SpecFiles(settings.spec, settings.worktree), view=view, operator_key=links.public_key, judge=SpecFiles.judge
        ),
        names_of=names_of,
    )
    return Daemon(parts), links


async def _run(settings: Settings) -> None:
    daemon, links = _daemon(settings, settings.state_dir / "ledger.db", settings.state_dir / "ssh")
    commands = Commands(
        state=daemon.state, board=daemon.board, dispatcher=daemon.dispatcher, journal=daemon.journal, clock=daemon.clock,
        read=daemon.read, kubeconfig=links.kubeconfigs.text, doctor=Doctor(daemon.ports), specs=daemon.specs,
        troubles=daemon.troubles, settings={
            "spec": str(settings.spec.absolute()), "worktree": settings.worktree, "state_dir": str(settings.state_dir.absolute()),
        },
    )  # fmt: skip
    daemon.supervisor.serve("links", links.tidy)
    try:
        await _serve(settings, daemon, commands)
    finally:
        await links.close()


async def _serve(settings: Settings, daemon: Daemon, commands: Commands) -> None:
    """Start, be there until a signal, stop: the unit's whole life."""
    notify, done = Notify(os.environ), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    control = ControlServer(commands, settings.socket)
    host, _, port = settings.listen.rpartition(":")
    pages = PagesServer(
        Pages(metrics=daemon.scrape, unhealthy=daemon.unhealthy, unready=daemon.unready), host, int(port)
    )  # fmt: skip
    try:
        # Before anything is done to the world: where another daemon listens, with another state directory, it works.
        control.claim()
        daemon.supervisor.serve("pages", lambda: _show(pages, daemon))  # first: a start that hangs shows on /readyz
        await daemon.start()
        # Only now, and who came before waits: commands are answered from a view that has a spec and a look at Proxmox,
        # or says what is wrong with them.
        await control.start()
        daemon.supervisor.serve("systemd", lambda: _tell(notify, daemon))
        notify.ready(daemon.sentence())
        await done.wait()
        notify.stopping()
    finally:
        # First, so that no command is taken by a daemon that ends.
        await control.close()
        await daemon.stop()


async def _show(pages: PagesServer, daemon: Daemon) -> None:
    """Keep the pages open; a port in use is told and tried again, it does not stop the daemon (`failures.md` D15)."""
    try:
        while True:
            try:
                await pages.start()
            except Failure as failure:
                daemon.impair("pages", failure)
                await daemon.clock.sleep(PAGES_AGAIN)
                continue
            daemon.impair("pages", None)
            await asyncio.Event().wait()  # until cancelled
    finally:
        await pages.close()


async def _tell(notify: Notify, daemon: Daemon) -> None:
    """Tell systemd the sentence, and that all is well while it is."""
    interval = min(notify.watchdog_interval or 5.0, 5.0)
    while True:
        notify.status(daemon.sentence())
        if not daemon.unhealthy():
            notify.watchdog()
        await daemon.clock.sleep(interval)


class Keyless(SqliteJournal):
    """The ledger of a daemon that began without an SSH key, because it was corrupt: it stays frozen once it is mended.

    What would be made now would let in nobody.
    """

    async def load(self) -> Ledger:
        """Raise what `SqliteJournal.load` raises, and Failure (StateUnusable) also when it does not."""
        await super().load()
        raise Failure(Code.STATE, "the ledger can be read again, and cpcd has no SSH key yet", hint="Restart cpcd.")


class Links:
    """Builds and keeps the adapters: one client a Proxmox and a cluster, found by name in the view."""

    def __init__(self, settings: Settings, clock: WallClock, *, key: tuple[Path, str], lab: bool) -> None:
        self._settings, self._clock, self._lab = settings, clock, lab
        self._view: Callable[[], View] = View
        self._sites: dict[str, tuple[Any, Slots, ProxmoxApi]] = {}
        self._kubes: dict[str, tuple[str, KubeApi]] = {}
        private, self.public_key = key
        self._replaced: asyncio.Queue[Slots | KubeApi] = asyncio.Queue()
        playbooks = None if lab else Playbooks(settings.state_dir / "playbooks", key=private)
        self._guests = GuestsOverSsh(key=private, playbooks=playbooks, scale=clock.rate)
        self.kubeconfigs = KubeconfigFiles(settings.state_dir / "kubeconfigs")

    def ports(self, view: Callable[[], View]) -> Ports:
        """Return all ports; `view` tells where a name leads."""
        self._view = view
        return Ports(
            proxmox=self._proxmox, kube=self._kube, host=self._host, guests=self._guests,
            kubeconfigs=self.kubeconfigs, installation=lambda: view().installation,
        )  # fmt: skip

    async def close(self) -> None:
        """Close every client."""
        clients = [transport for _, transport, _ in self._sites.values()]
        replaced = [self._replaced.get_nowait() for _ in range(self._replaced.qsize())]
        for client in (*clients, *(kube for _, kube in self._kubes.values()), *replaced):
            await client.close()

    async def tidy(self) -> None:
        """Close what edits replaced, though not before the calls that may be on their way in it are over."""
        while True:
            client = await self._replaced.get()
            try:
                await self._clock.sleep(REPLACED_CLIENT_S)
            finally:
                await client.close()

    def _proxmox(self, site: str) -> Proxmox:
        wanted = self._view().desired.sites.get(site)
        if wanted is None:
            raise Failure(Code.CONFIG, "no document names this Proxmox any more", target=f"pve:{site}", hint=_GONE)
        known = self._sites.get(site)
        if known is None or known[0] != wanted:
            if known is not None:
                self._replaced.put_nowait(known[1])
            transport = Slots(
                AiohttpTransport(
                    wanted.urls, ca_file=wanted.ca_file, fingerprint=wanted.fingerprint, scale=self._clock.rate
                )
            )
            secret = partial(_revealed, wanted.credentials, target=f"pve:{site}")  # read afresh at each use
            self._sites[site] = known = (wanted, transport, ProxmoxApi(transport, site, secret))
        return known[2]

    def _kube(self, cluster: str) -> Kube:
        text = self.kubeconfigs.text(cluster)
        if not text:
            what = f"there is no kubeconfig of {cluster} yet"
            raise Unreachable(f"kube:{cluster}", what, hint=KUBECONFIG_AWAITED)
        known = self._kubes.get(cluster)
        if known is None or known[0] != text:
            if known is not None:
                self._replaced.put_nowait(known[1])
            cache = self._settings.state_dir / CACHE
            cache.mkdir(mode=0o700, exist_ok=True)
            api = KubeApi(text, endpoint=f"kube:{cluster}", cache_dir=cache, scale=self._clock.rate)
            self._kubes[cluster] = known = (text, api)
        return known[1]

    def _host(self, row: Machine) -> Host:
        view = self._view()
        cluster = view.cluster(row.cluster)
        key = str(view.facts.get(f"hostkey/{row.uid}", ""))
        if cluster is None:
            return Host(row.uid, row.name, row.address, 0, (), key)
        group = cluster.group(row.group) or cluster.groups[0]
        limits, machine = cluster.timeouts, group.machine
        return Host(
            row.uid, row.name, row.address, machine.ssh_port, machine.ssh_users, key, connect=limits.network,
            answer=min(ANSWER_S, limits.command), play=max(PLAY_S, 2 * limits.ansible),
        )  # fmt: skip


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        what = f"the state directory cannot be made: {error.strerror or error}"
        hint = "Make its place writable for the user that cpcd runs as, or name another with --state-dir."
        raise Failure(Code.STATE, what, target=str(directory), hint=hint) from error


def _operator_key(directory: Path, ledger: Path) -> tuple[Path, str]:
    """Return the key, or a new one as long as the ledger knows no machine that has been given another.

    Its public half is "" while there is none and the ledger cannot tell whether there may be a new one.
    """
    try:
        if not (directory / NAME).exists() and not _sound(ledger):
            return directory / NAME, ""
        return operator_key(directory, used_by=lambda: len(read_ledger(ledger).machines) if ledger.exists() else 0)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", "") or "it is no private key"
        hint = "Machines let cpcd in by this key: restore it, or make the directory writable if there never was one."
        raise Failure(Code.STATE, f"cpcd's SSH key cannot be had: {why}", target=str(directory), hint=hint) from error


def _sound(ledger: Path) -> bool:
    try:
        return not ledger.exists() or read_ledger(ledger) is not None
    except Failure:
        return False  # the journal meets the same, and says so


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _revealed(credentials: SecretRef, *, target: str) -> str:
    return resolve(credentials, _read, os.environ, target=target).reveal()


def _lab(url: str) -> Mapping[str, Any]:
    """Ask the lab for its clock; the setting itself is refused for anything but loopback."""
    if not url:
        return {}
    try:
        with urllib.request.urlopen(f"{url}/lab", timeout=10) as answer:  # noqa: S310 - loopback, checked by settings
            about: Mapping[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise Failure(Code.DEPENDENCY, "no lab answers there", target=url, hint="Start `cpcd lab` first.") from error
    return about


def _epoch_now(about: Mapping[str, Any]) -> float | None:
    return float(about["epoch"]) + float(about["time"]) if about else None
