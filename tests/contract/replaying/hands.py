"""The administrator's hand: what calls out of scope did to the recorded node, done to the lab without its API.

Storage definitions, images and who may what (`accounts.py`) decide what the calls in scope answer. Only what was
accepted counts. What is not here leaves the touched VM in the dark, which `repair.py` lights. Next: `interventions.py`.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from cpcd.lab.pve import Pve, Storage
from cpcd.lab.world import World
from tests.contract.replaying.accounts import ACCOUNTS, Accounts
from tests.contract.replaying.recording import Exchange

__all__ = ["IMAGES", "follow", "followed"]

# The web server that images were fetched from is no part of the recording: virtual size and format by file name.
IMAGES: dict[str, tuple[int, str]] = {
    "debian-13-guest.qcow2": (2500 * 1024**2, "qcow2"),
    "tiny.qcow2": (64 * 1024**2, "qcow2"),
}
BLANK = frozenset(("tiny.qcow2",))


def _storage(pve: Pve, exchange: Exchange) -> None:
    name = exchange.params.get("storage") or exchange.path.rpartition("/")[2]
    known = pve.storages.get(name) or Storage(name, content=(), total=pve.storages["local"].total)
    content = tuple(exchange.params.get("content", ",".join(known.content)).split(","))
    nodes = tuple(filter(None, exchange.params.get("nodes", "").split(","))) or known.nodes
    changed = replace(
        known,
        content=content,
        nodes=nodes,
        shared=bool(exchange.params.get("shared", known.shared)),
        place=exchange.params.get("path", known.place),
    )
    pve.define_storages((pve.storages | {name: changed}).values())


def _no_storage(pve: Pve, exchange: Exchange) -> None:
    gone = exchange.path.rpartition("/")[2]
    pve.define_storages(storage for name, storage in pve.storages.items() if name != gone)


def _image(pve: Pve, exchange: Exchange) -> None:
    """The log of a finished upload or download names the file."""
    lines = [each["t"] for each in exchange.data or []]
    found = re.search(r"(?:target file: |downloading \S+ to )(/\S+)/(import|iso)/(\S+)", "\n".join(lines))
    size = re.search(r"(?:file size is: |Length: )(\d+)", "\n".join(lines))
    if lines[-1:] != ["TASK OK"] or not found:
        return
    storage = next((name for name, each in pve.storages.items() if found[1].startswith(each.path)), "local")
    kind, name = found[2], found[3]
    virtual, form = IMAGES.get(name, (0, "iso"))
    if kind == "iso":
        virtual, form = int(size[1]) if size else 0, "iso"
    volid = f"{storage}:{kind}/{name}"
    taken = int(size[1]) if size else 0
    pve.add_volume(volid, "pve1", size=virtual, form=form, content=kind, file_size=taken, blank=name in BLANK)


def _allocated(pve: Pve, exchange: Exchange) -> None:
    size = exchange.params["size"]
    units = {"K": 1024, "M": 1024**2, "G": 1024**3}
    bytes_ = int(size[:-1]) * units[size[-1]] if size[-1] in units else int(size) * 1024
    form = exchange.params.get("format") or exchange.params["filename"].rpartition(".")[2]
    pve.add_volume(exchange.data, "pve1", size=bytes_, form=form, blank=True)


def _written(pve: Pve, exchange: Exchange) -> None:
    """A file was written through the agent."""
    world = pve.cluster.backend
    assert isinstance(world, World)
    assert exchange.vmid is not None
    world.guests[exchange.vmid].disk.write(exchange.params["file"], exchange.params["content"], world.events.now)


def _freed(pve: Pve, exchange: Exchange) -> None:
    volid = exchange.path.partition("/content/")[2]
    pve.cluster.volumes.volumes.pop(("pve1", volid), None)


def _options(pve: Pve, exchange: Exchange) -> None:
    """Of the datacenter's options only the range of VMIDs shows elsewhere."""
    bounds = re.fullmatch(r"lower=(\d+),upper=(\d+)", exchange.params.get("next-id", ""))
    if bounds:
        pve.cluster.next_id = (int(bounds[1]), int(bounds[2]))
    elif "next-id" in exchange.params.get("delete", ""):
        pve.cluster.next_id = (100, 1_000_000)


DEFINITIONS: tuple[tuple[str, Callable[[Pve, Exchange], None]], ...] = (
    (r"^PUT /cluster/options$", _options),
    (r"^POST /nodes/[^/]+/qemu/\d+/agent/file-write$", _written),
    (r"^(?:POST /storage|PUT /storage/[^/]+)$", _storage),
    (r"^DELETE /storage/[^/]+$", _no_storage),
    (r"^GET /nodes/[^/]+/tasks/UPID:[^/]*:(?:imgcopy|download):[^/]*/log$", _image),
    (r"^POST /nodes/[^/]+/storage/[^/]+/content$", _allocated),
    (r"^DELETE /nodes/[^/]+/storage/[^/]+/content/.", _freed),
)
HARMLESS = r"/qemu/\d+/(?:agent(?:/|$)|monitor$|cloudinit$|\w+proxy$|firewall/)"  # no option of the VM changes


def follow(pve: Pve, accounts: Accounts, exchange: Exchange) -> None:
    """Do to the lab what an accepted call out of scope did."""
    for pattern, act in DEFINITIONS:
        if re.search(pattern, exchange.call):
            act(pve, exchange)
    for pattern, change in ACCOUNTS:
        if re.search(pattern, exchange.call):
            change(accounts, exchange)


def followed(exchange: Exchange) -> bool:
    """Tell whether an accepted call is followed, or changes nothing that the lab shows."""
    rows = [pattern for pattern, _ in DEFINITIONS] + [pattern for pattern, _ in ACCOUNTS]
    return any(re.search(pattern, exchange.call) for pattern in (HARMLESS, *rows))
