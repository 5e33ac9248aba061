"""Proxmox's own notations: property strings, sizes, tags, MAC addresses, digests.

Pure functions on text, the same words that the real configuration files hold. Nothing here knows a VM or a request.
Next: `options.py`, which says which option is written in which notation.
"""

import functools
import hashlib
import random
import re
import uuid
from collections.abc import Mapping
from typing import Any

from cpcd.lab.provenance import recorded, source

__all__ = [
    "digest", "human", "is_cdrom", "is_cloudinit", "is_drive", "mac", "new_uuid", "parse", "parse_net", "parse_size",
    "print_drive", "print_net", "print_size", "sorted_tags", "volume",
]  # fmt: skip

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
MODELS = frozenset((
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_isa",
    "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
))  # fmt: skip
DRIVE = re.compile(r"(?:ide[0-3]|sata[0-5]|scsi(?:[12]?\d|30)|virtio(?:\d|1[0-5])|efidisk0|tpmstate0)")


def parse(text: str, default: str) -> dict[str, str]:
    """Split `a,b=c`; a part without `=` is the value of the key `default`."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {key if found else default: value if found else key for key, found, value in pairs}


def _print(first: str, rest: Mapping[str, str]) -> str:
    return ",".join([first, *(f"{key}={rest[key]}" for key in sorted(rest))])


@functools.cache  # asked of the same few hundred names whenever anybody looks at a VM
def is_drive(option: str) -> bool:
    """Tell whether an option's name is that of a drive."""
    return DRIVE.fullmatch(option) is not None


def is_cloudinit(value: str) -> bool:
    """Tell whether a drive is the cloud-init image."""
    return re.search(r":(?:\d+/)?(?:vm-\d+-)?cloudinit(?:$|[.,])", value) is not None


def is_cdrom(value: str) -> bool:
    """Tell whether a drive is a CD-ROM; the cloud-init image is one as well."""
    return "media=cdrom" in value.split(",") or is_cloudinit(value)


def volume(value: str) -> str:
    """Return the volume ID of a drive string."""
    parts = parse(value, "file")
    return parts.get("file") or parts.get("volume", "")


@recorded(199, 380, 600)
def print_drive(parts: Mapping[str, str]) -> str:
    """Write a drive: the volume first, then the other keys sorted."""
    return _print(parts["file"], {key: value for key, value in parts.items() if key != "file"})


@recorded(379, 381, 382)
def parse_net(text: str) -> dict[str, str]:
    """Read both spellings, `virtio=<mac>,bridge=…` and `model=virtio,macaddr=<mac>,bridge=…`."""
    parts = parse(text, "model")
    for model in MODELS & parts.keys():
        parts |= {"model": model, "macaddr": parts.pop(model)}
    return parts


@recorded(379, 380, 383)
def print_net(parts: Mapping[str, str]) -> str:
    """Write a network device: `model=MAC` in capitals first, then the other keys sorted."""
    rest = {key: value for key, value in parts.items() if key not in {"model", "macaddr"}}
    return _print(f"{parts['model']}={parts['macaddr'].upper()}", rest)


@recorded(379, 380)
def mac(prefix: str, rng: random.Random) -> str:
    """Make a MAC below the cluster's prefix (`/cluster/options` mac_prefix)."""
    return ":".join([prefix.upper(), *(f"{rng.randrange(256):02X}" for _ in range(6 - len(prefix.split(":"))))])


def new_uuid(rng: random.Random) -> str:
    """Make a random UUID from the lab's own randomness."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@recorded(423)
def parse_size(text: str) -> int:
    """Return the bytes of `12G`, `512M`, `1.5T` or plain bytes."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS and text[-1:] else (text, "")
    return int(float(number) * UNITS[unit])


@recorded(199, 226, 287)
def print_size(size: int) -> str:
    """Write bytes with the largest unit that divides them: `2500M`, `1G`; zero is `0T`."""
    unit = next(unit for unit in ("T", "G", "M", "K", "") if size % UNITS[unit] == 0)
    return f"{size // UNITS[unit]}{unit}"


@recorded(322)
def human(size: float) -> str:
    """Write bytes as a copy's progress does: `26.2 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


@recorded(195, 385, 386)
def sorted_tags(text: str) -> str:
    """Return tags lower-cased, sorted, without doubles, joined by `;`; any separator is taken."""
    return ";".join(sorted({tag.lower() for tag in re.split(r"[;,\s]+", text) if tag}))


@source("AbstractConfig.pm")
def digest(config: Mapping[str, Any], pending: Mapping[str, Any]) -> str:
    """Return the sha1 of the configuration's text; the same content has the same digest (recorded 386, 394)."""
    lines = [f"{key}: {config[key]}" for key in sorted(config)]
    lines += [f"[PENDING] {key}: {pending[key]}" for key in sorted(pending)]
    return hashlib.sha1("\n".join(lines).encode(), usedforsecurity=False).hexdigest()
