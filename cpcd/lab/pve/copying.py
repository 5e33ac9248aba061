"""Making and copying images: how long it takes and what the worker's log says of it.

Shared by clone and import. It allocates nothing itself and knows no configuration. Next: `drives.py`, `clone.py`.
"""

from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.cluster import Cluster
from cpcd.lab.pve.properties import human
from cpcd.lab.pve.tasks import Sleep, Worker
from cpcd.lab.pve.volumes import Volume

__all__ = ["convert", "formatting", "log_allocation", "log_link", "transfer"]

SLICES = 10
QCOW2 = "cluster_size={} extended_l2={} preallocation=metadata compression_type=zlib size={}{} lazy_refcounts=off refcount_bits=16"


@recorded(198, 226, 317, 327)
@source("LVMPlugin.pm")
def formatting(cluster: Cluster, made: Volume) -> str:
    """Return the line that an allocation leaves in the log."""
    if not cluster.volumes.storage(made.storage).directory:
        return f'  Logical volume "{made.volid.partition(":")[2]}" created.'
    raw = f"size={made.size} preallocation=off"
    detail = raw if made.form == "raw" else QCOW2.format(65536, "off", made.size, "")
    return f"Formatting '{cluster.volumes.path(made.volid)}', fmt={made.form} {detail}"


def log_allocation(cluster: Cluster, log: list[str], made: Volume) -> None:
    """Log a volume that a copy goes to."""
    log.append(formatting(cluster, made))
    log.append(f"allocated target volume '{made.volid}'")


@recorded(317, 758)
def log_link(cluster: Cluster, log: list[str], made: Volume) -> None:
    """Log a linked clone, which only a directory storage does at such length."""
    if not cluster.volumes.storage(made.storage).directory:
        return
    base, file = made.base.partition(":")[2], made.volid.rpartition("/")[2]
    log.append(f"clone {base}: images, {file}, {made.vmid} to {file} (base=../{base})")
    backing = f" backing_file=../{base} backing_fmt=qcow2"
    detail = QCOW2.format(131072, "on", made.size, backing)
    log.append(f"Formatting '{cluster.volumes.path(made.volid)}', fmt={made.form} {detail}")


@recorded(777, 1235)
def convert(cluster: Cluster, base: Volume, made: Volume, limit: int = 0) -> str:
    """Return the command that copies, as it stands in the text of a failed copy; `limit` in KiB/s, 0 for none."""
    rate = f"-r {limit}K " if limit else ""
    paths = (cluster.volumes.path(base.volid), f"zeroinit:{cluster.volumes.path(made.volid)}")
    return f"command '/usr/bin/qemu-img convert -p -n {rate}-f {base.form} -O {made.form} {' '.join(paths)}'"


@recorded(286, 322, 773)
def transfer(log: list[str], size: int, seconds: float) -> Worker:
    """Copy in slices; the log grows by about one line per percent, so that its end is not on the first page."""
    for part in range(SLICES):
        for percent in range(part * 100 // SLICES, (part + 1) * 100 // SLICES):
            done = f"{human(size * percent / 100)} of {human(size)} ({percent:.2f}%)"
            log.append(f"transferred {done}")
        yield Sleep(seconds / SLICES)
    log.append(f"transferred {human(size)} of {human(size)} (100.00%)")
