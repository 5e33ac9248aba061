"""What a node says about its storages: which there are, how full, which volumes lie on them.

Volumes that no configuration knows are listed as well: that is how one sees what a crash left behind. Nothing here
changes a volume (`volumes.py`). Next: `nodes.py`.
"""

from typing import Any

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.auth import allowed
from cpcd.lab.pve.call import Call
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.errors import failed, invalid
from cpcd.lab.pve.formats import formatted
from cpcd.lab.pve.settings import Storage
from cpcd.lab.pve.volumes import Volume

__all__ = ["list_storages", "storage_content", "storage_status"]

Row = dict[str, Any]
NEEDED = ("Datastore.Audit", "Datastore.AllocateSpace")
FORMATS = ("qcow2", "raw", "subvol", "vmdk")
FILES = frozenset(("iso", "vztmpl"))  # not listed where one VM is asked for (recorded 780, 797)


def _storage(cluster: Cluster, node: str, storage: Storage) -> Row:
    used = cluster.volumes.used(storage.name, node)
    return {
        "type": storage.plugin,
        "content": ",".join(storage.content),
        "enabled": 1,
        "active": 1,
        "shared": int(storage.shared),
        "total": storage.total,
        "used": used,
        "avail": storage.total - used,
    }


@recorded(91)
def _formats(storage: Storage) -> Row:
    """Return the image formats of a storage, in the old form and the new."""
    names = FORMATS if storage.directory else ("raw",)
    return {
        "format": [dict.fromkeys(names, 1), "raw"],
        "formats": {"supported": list(names), "default": "raw"},
    }


@recorded(89, 90, 91, 907)
@schema("/nodes/{node}/storage")
@source("API2/Storage/Status.pm index")
def list_storages(cluster: Cluster, call: Call) -> list[Row]:
    """Return the node's storages that the token may use, with free bytes.

    `content` keeps those that take any of some kinds, `target` those that are shared with another node.
    """
    name = call.params.get("storage")
    here = [storage for storage in cluster.storages if storage.on(call.node) and _takes(storage, call)]
    if name and name not in {storage.name for storage in here}:
        raise invalid({"storage": "No such storage."})
    seen = [storage for storage in here if name in {None, storage.name} and _reaches(storage, call)]
    return [
        _entry(cluster, call, storage)
        for storage in seen
        if allowed(cluster, call.token, f"/storage/{storage.name}", *NEEDED)
    ]


def _takes(storage: Storage, call: Call) -> bool:
    wanted = set(formatted(call.params.get("content", "")))
    return not wanted or not wanted.isdisjoint(storage.content)


def _reaches(storage: Storage, call: Call) -> bool:
    target = call.params.get("target", "localhost")
    return target in {"localhost", call.node} or (storage.shared and storage.on(target))


def _entry(cluster: Cluster, call: Call, storage: Storage) -> Row:
    entry = {"storage": storage.name, **_storage(cluster, call.node, storage)}
    if entry["total"]:
        entry["used_fraction"] = entry["used"] / entry["total"]
    return entry | (_formats(storage) if call.params.get("format") else {})


@recorded(92, 93)
@schema("/nodes/{node}/storage/{storage}/status")
def storage_status(cluster: Cluster, call: Call) -> Row:
    """Return one storage's state; here and in the list a missing one is a 400, and one of other nodes is missing."""
    for storage in cluster.storages:
        if storage.name == call.params["storage"] and storage.on(call.node):
            return _storage(cluster, call.node, storage)
    raise invalid({"storage": "No such storage."})


@recorded(103, 172, 309, 780, 797, 934, 1051, 1104)
@schema("/nodes/{node}/storage/{storage}/content")
def storage_content(cluster: Cluster, call: Call) -> list[Row]:
    """Return a storage's volumes that the token may see, also those that no VM's configuration knows."""
    storage, wanted = cluster.volumes.storage(call.params["storage"]), call.params.get("vmid")
    if not storage.on(call.node):
        raise failed(f"storage '{storage.name}' is not available on node '{call.node}'")
    place = cluster.volumes.place(storage.name, call.node)
    volumes = [v for v in cluster.volumes.volumes.values() if v.storage == storage.name and v.node == place]
    return [_listed(each) for each in volumes if _asked_for(each, call, wanted) and _seen(cluster, call, each)]


def _asked_for(volume: Volume, call: Call, vmid: int | None) -> bool:
    if call.params.get("content", volume.content) != volume.content:
        return False
    if vmid is None:
        return True
    return volume.vmid == vmid if volume.content == "images" else volume.content not in FILES


@recorded(934)
@source("Storage.pm check_volume_access")
def _seen(cluster: Cluster, call: Call, volume: Volume) -> bool:
    """Tell whether the token sees a volume: a disk by the right to configure its VM's disks, a file by the storage's.

    Nobody but who may all on the storage sees its snippets.
    """
    path = f"/storage/{volume.storage}"
    if allowed(cluster, call.token, path, "Datastore.Allocate"):
        return True
    if volume.content != "images":
        return volume.content in {"iso", "vztmpl", "import"}
    audited = allowed(cluster, call.token, path, "Datastore.Audit")
    return audited and allowed(cluster, call.token, f"/vms/{volume.vmid}", "VM.Config.Disk")


@recorded(172, 184, 309, 934)
def _listed(volume: Volume) -> Row:
    entry: Row = {"volid": volume.volid, "content": volume.content, "format": volume.form, "ctime": int(volume.changed)}
    if volume.content != "images":
        return entry | {"size": volume.file_size or volume.size}
    used = 0 if volume.base else volume.size
    return entry | {"size": volume.size, "used": used, "vmid": volume.vmid, "parent": volume.parent}
