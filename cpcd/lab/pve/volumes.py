"""Volumes on storages: names, sizes, who is based on whom, how much room is left.

Names follow the storage plugin, because clients read them in drive strings. It knows no VM configuration; a volume
may be left over when its VM is gone, as on a real node. Next: `clone.py`, `create.py`, `resize.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from cpcd.lab.provenance import guess, recorded, source
from cpcd.lab.pve.errors import failed
from cpcd.lab.pve.settings import Settings, Storage

__all__ = ["Volume", "Volumes"]


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume; `node` is empty on shared storage, `base` is the volume ID that a linked clone rests on.

    `size` is what a guest sees, `file_size` what a file of `content` import takes; `changed` is wall-clock time. A
    `blank` one has never been written to, so that nothing boots from it.
    """

    volid: str
    storage: str
    node: str
    vmid: int
    size: int
    form: str
    base: str = ""
    content: str = "images"
    file_size: int = 0
    changed: float = 0
    blank: bool = False

    @property
    def parent(self) -> str | None:
        """The base as qemu-img names it: beside the image on a directory, by name elsewhere (recorded 934)."""
        path = self.base.partition(":")[2]
        return (f"../{path}" if "/" in path else path) or None


@dataclass(slots=True)
class Volumes:
    """All volumes of the cluster, keyed by (node, volume ID); node is empty for shared storage."""

    settings: Settings
    wall: Callable[[], float]
    volumes: dict[tuple[str, str], Volume] = field(default_factory=dict)

    @recorded(222, 331)
    def storage(self, name: str) -> Storage:
        """Return a storage's definition; refuses an unknown one."""
        for each in self.settings.storages:
            if each.name == name:
                return each
        raise failed(f"storage '{name}' does not exist")

    def place(self, storage: str, node: str) -> str:
        """Return the node part of a volume's key."""
        return "" if self.storage(storage).shared else node

    def find(self, node: str, volid: str) -> Volume | None:
        """Return a volume as this node sees it."""
        return self.volumes.get((node, volid)) or self.volumes.get(("", volid))

    def of(self, vmid: int, node: str) -> list[Volume]:
        """Return the volumes that carry this VMID in their name, known to a configuration or not."""
        found = (v for v in self.volumes.values() if v.vmid == vmid and v.node in {"", node})
        return [v for v in found if v.content == "images"]

    @recorded(237)
    def path(self, volid: str) -> str:
        """Return where a volume's file lies, or its device."""
        name, _, rest = volid.partition(":")
        storage = self.storage(name)
        if not storage.directory:
            return f"/dev/{storage.name}/{rest}"
        kind, _, file = rest.rpartition("/")
        below = {"iso": "template/iso", "import": "import", "snippets": "snippets"}
        if kind in below:
            return f"{storage.path}/{below[kind]}/{file}"
        owner = rest.split("/")[-2]
        return f"{storage.path}/images/{owner}/{file}"

    def used(self, storage: str, node: str) -> int:
        """Return the bytes taken on a storage; a linked clone takes none at first."""
        place = self.place(storage, node)
        mine = (v for v in self.volumes.values() if v.storage == storage and v.node == place)
        return sum(v.size for v in mine if not v.base)

    @source("P29")
    @guess("which of the two texts a full directory storage gives was not recorded")
    def _room(self, storage: Storage, node: str, size: int) -> None:
        if self.used(storage.name, node) + size <= storage.total:
            return
        if storage.directory:
            raise failed("unable to create image: qemu-img: No space left on device")
        pool = f"free space in thin pool pve/{storage.name} reached threshold"
        raise failed(f"Cannot create new thin volume, {pool}.")

    @recorded(195, 283, 388, 550)
    def allocate(
        self,
        storage: str,
        node: str,
        vmid: int,
        *,
        size: int,
        form: str = "",
        cloudinit: bool = False,
        blank: bool = True,
    ) -> Volume:
        """Make a volume under the next free name, empty unless something is copied to it; raises when the storage is full."""
        definition = self.storage(storage)
        self._room(definition, node, size)
        form = form or ("qcow2" if cloudinit else "raw")
        label = "cloudinit" if cloudinit else f"disk-{self._next_number(storage, node, vmid)}"
        volid = self._volid(definition, vmid, f"vm-{vmid}-{label}", form)
        return self._add(Volume(volid, storage, node, vmid, size, form, blank=blank))

    def _add(self, volume: Volume) -> Volume:
        return self.put(replace(volume, node=self.place(volume.storage, volume.node), changed=self.wall()))

    def put(self, volume: Volume) -> Volume:
        """Put a volume where it says that it is."""
        self.volumes[volume.node, volume.volid] = volume
        return volume

    def _volid(self, storage: Storage, vmid: int, name: str, form: str) -> str:
        return f"{storage.name}:{vmid}/{name}.{form}" if storage.directory else f"{storage.name}:{name}"

    def _next_number(self, storage: str, node: str, vmid: int) -> int:
        names = {v.volid.rpartition("/")[2].partition(".")[0] for v in self.of(vmid, node) if v.storage == storage}
        taken = {name.rpartition(":")[2] for name in names}
        return next(n for n in range(1000) if not {f"vm-{vmid}-disk-{n}", f"base-{vmid}-disk-{n}"} & taken)

    @recorded(318)
    def link(self, base: Volume, node: str, vmid: int) -> Volume:
        """Make a linked clone; on a directory its name carries the base's, on LVM-thin it does not."""
        definition = self.storage(base.storage)
        number = self._next_number(base.storage, node, vmid)
        form = "qcow2" if definition.directory else "raw"
        volid = self._volid(definition, vmid, f"vm-{vmid}-disk-{number}", form)
        if definition.directory:
            volid = f"{base.volid}/{volid.partition(':')[2]}"
        return self._add(Volume(volid, base.storage, node, vmid, base.size, form, base.volid, blank=base.blank))

    @recorded(307, 309)
    def seal(self, volume: Volume) -> Volume:
        """Rename a disk to `base-…`, as the conversion to a template does."""
        self.free(volume)
        return self._add(replace(volume, volid=volume.volid.replace(f"vm-{volume.vmid}-", f"base-{volume.vmid}-", 1)))

    def grow(self, volume: Volume, size: int) -> Volume:
        """Set a volume's size."""
        return self._add(replace(volume, size=size))

    @recorded(358)
    def in_use(self, volume: Volume) -> bool:
        """Tell whether linked clones rest on a volume; only directories know (LVM-thin counts no references)."""
        return self.storage(volume.storage).directory and any(self._clones(volume))

    def _clones(self, volume: Volume) -> Iterator[Volume]:
        return (v for v in self.volumes.values() if v.base == volume.volid and v.node == volume.node)

    def free(self, volume: Volume) -> None:
        """Remove a volume; an absent one is no error."""
        self.volumes.pop((volume.node, volume.volid), None)
