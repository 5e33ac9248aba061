"""The named formats of the API's schema that are rules rather than lists of members, each with Proxmox's own words.

A rule takes the text of one value and raises `Bad`; nothing here knows which call or option it is for. Each is read in
the file of Proxmox VE that registers it. Next: `schema.py`, which looks them up by name.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final

from cpcd.lab.provenance import recorded, source
from cpcd.lab.pve.cputypes import BUILT_IN, FLAGS
from cpcd.lab.pve.properties import is_drive, parse

__all__ = ["CODE", "LISTS", "Bad", "Rule", "formatted"]


class Bad(Exception):  # noqa: N818 - the text of one field of a 400
    """One value is not what its format wants."""


Rule = Callable[[str], None]

LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?"
DNS: Final = re.compile(rf"(?:{LABEL}\.)*{LABEL}")
STORAGE: Final = r"[a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]"
CONTENT: Final = frozenset(("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "none", "import"))
HOTPLUG: Final = frozenset(("network", "disk", "cpu", "memory", "usb", "cloudinit"))


@source("ParseUtils.pm split_list")
def formatted(text: str) -> list[str]:
    """Split a list as every `-list` format does: comma, semicolon and blanks alike; an empty one is fine."""
    return re.sub(r"[,;]", " ", text).split()


def _like(expression: str, said: str) -> Rule:
    """Make a rule of a pattern; `{}` in what is said stands for the value."""
    pattern = re.compile(expression)

    def rule(text: str) -> None:
        if not pattern.fullmatch(text):
            raise Bad(said.replace("{}", text))

    return rule


def _address(text: str, version: int) -> bool:
    try:
        return "%" not in text and ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _network(text: str, version: int) -> bool:
    """Tell whether a text is address/prefix; prefixes below 8 are refused."""
    address, slash, prefix = text.partition("/")
    most = 32 if version == 4 else 128
    return bool(slash) and _address(address, version) and prefix.isdecimal() and 7 < int(prefix) <= most


@recorded(296)
@source("JSONSchema.pm pve_verify_ipv4_config")
def _ipv4_config(text: str) -> None:
    if text not in {"dhcp", "manual"} and not _network(text, 4):
        raise Bad("value does not look like a valid ipv4 network configuration")


@source("JSONSchema.pm pve_verify_ipv6_config")
def _ipv6_config(text: str) -> None:
    if text not in {"auto", "dhcp", "manual"} and not _network(text, 6):
        raise Bad("value does not look like a valid ipv6 network configuration")


@source("JSONSchema.pm pve_verify_cidr")
def _cidr(text: str) -> None:
    if not (_network(text, 4) or _network(text, 6)):
        raise Bad("value does not look like a valid CIDR network")


@source("JSONSchema.pm pve_verify_ipv4")
def _ipv4(text: str) -> None:
    if not _address(text, 4):
        raise Bad("value does not look like a valid IPv4 address")


@source("JSONSchema.pm pve_verify_ipv6")
def _ipv6(text: str) -> None:
    if not _address(text, 6):
        raise Bad("value does not look like a valid IPv6 address")


@source("JSONSchema.pm pve_verify_address")
def _host(text: str) -> None:
    if text == "0" or not (_address(text, 4) or _address(text, 6) or DNS.fullmatch(text)):
        raise Bad(f"value does not look like a valid address: {text}")


@recorded(100)
@source("JSONSchema.pm parse_id")
def _storage(text: str) -> None:
    if len(text) < 2:
        raise Bad(f"storage ID '{text}' cannot be shorter than 2 characters")
    if not re.fullmatch(STORAGE, text):
        raise Bad(f"storage ID '{text}' contains illegal characters")


@source("JSONSchema.pm parse_idmap")
def _storages(text: str) -> None:
    """One storage for all, `source:target`, or `1` for the same."""
    for name in text.split(":") if text != "1" else ():
        try:
            _storage(name)
        except Bad as bad:
            raise Bad(f"entry '{text}' contains invalid ID - {bad}\n\n") from bad


@source("AccessControl.pm verify_poolname")
def _pool(text: str) -> None:
    """One character is enough; at most three levels."""
    if len(text.rstrip("/").split("/")) > 3:
        raise Bad(f"pool name '{text}' nested too deeply (max levels = 3)")
    if not re.fullmatch(r"[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}", text):
        raise Bad(f"pool name '{text}' contains invalid characters")


@recorded(214)
@source("Plugin.pm parse_volume_id", "QemuServer.pm verify_volume_id_or_absolute_path")
def _volume(text: str) -> None:
    if not re.fullmatch(rf"{STORAGE}:.+", text):
        raise Bad(f"unable to parse volume ID '{text}'")


def _volume_or_path(text: str) -> None:
    if not text.startswith("/"):
        _volume(text)


def _volume_or_drive(text: str) -> None:
    if text not in {"none", "cdrom"}:
        _volume_or_path(text)


@source("QemuServer.pm pve_verify_cpuset")
def _cpus(text: str) -> None:
    ranges = [re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part) for part in text.rstrip(",").split(",") if text.rstrip(",")]
    if not all(found and int(found[2] or found[1]) >= int(found[1]) for found in ranges):
        raise Bad("unable to parse cpuset option")


@source("QemuServer.pm parse_hotplug_features")
def _hotplug(text: str) -> None:
    for feature in formatted(text) if text not in {"0", "1"} else ():
        if feature not in HOTPLUG:
            raise Bad(f"invalid hotplug feature '{feature}'")


@source("QemuServer.pm verify_bootdev")
def _boot_device(text: str) -> None:
    numbered = re.fullmatch(r"(net|usb|hostpci)(0|[1-9]\d*)", text)
    most = {"net": 32, "usb": 14, "hostpci": 16}
    fits = numbered is not None and int(numbered[2]) < most[numbered[1]]
    if not fits and (not is_drive(text) or text.startswith(("efidisk", "tpmstate"))):
        raise Bad(f"invalid boot device '{text}'")


@source("Drive.pm verify_bootdisk")
def _boot_disk(text: str) -> None:
    if not is_drive(text):
        raise Bad(f"invalid boot disk '{text}'")


@source("JSONSchema.pm pve_parse_startup_order")
def _startup(text: str) -> None:
    parts = [part for part in text.split(",") if part.strip()]
    if text in {"", "0"} or not all(re.fullmatch(r"(?:order=)?\d+|(?:up|down)=\d+", part) for part in parts):
        raise Bad("unable to parse startup options")


@recorded(250)
@source("CPUConfig.pm validate_vm_cpu_conf")
def _cpu(text: str) -> None:
    """A processor that is there, with flags that a VM may set."""
    parts = parse(text, "cputype")
    model = parts.get("cputype", "")
    if model.strip() in {"", "0"}:
        raise Bad("CPU is missing cputype")
    if model.startswith("custom-"):
        raise Bad(f"Custom cputype '{model.removeprefix('custom-')}' not found")
    if model not in BUILT_IN:
        raise Bad(f"Built-in cputype '{model}' is not defined (missing 'custom-' prefix?)")
    if not {flag[1:] for flag in parts.get("flags", "").split(";")} <= {"", *FLAGS}:
        raise Bad(f"VM-specific CPU flags must be a subset of: {', '.join(sorted(FLAGS))}")
    if "reported-model" in parts:
        raise Bad("Property 'reported-model' not allowed in VM-specific CPU config.")


@source("CPUConfig.pm parse_phys_bits")
def _phys_bits(text: str) -> None:
    if text != "host" and not (re.fullmatch(r"\d{1,2}", text) and 8 <= int(text) <= 64):
        raise Bad("value must be an integer between 8 and 64 or 'host'")


@recorded(95)
@source("Plugin.pm verify_content")
def _content(text: str) -> None:
    if text not in CONTENT:
        raise Bad(f"invalid content type '{text}'")


_TAG = _like(r"[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*", "invalid characters in tag")
_CONFIG_ID = _like(r"[a-zA-Z][a-zA-Z0-9_-]+", "invalid configuration ID '{}'")
_VMID = _like(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID")

CODE: Final[Mapping[str, Rule]] = {
    "CIDR": _cidr,
    "disk-size": _like(r"\d+(\.\d+)?(?:[KMGT](?:iB)?)?", "value does not look like a valid disk size: {}"),
    "dns-name": _like(DNS.pattern, "value does not look like a valid DNS name"),
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "mac-addr": _like(
        r"[a-fA-F0-9][02468aceACE](?::[a-fA-F0-9]{2}){5}", "value does not look like a valid unicast MAC address"
    ),
    "pve-bridge-id": _like(r"[-_.\w]+", "invalid bridge ID '{}'"),
    "pve-configid": _CONFIG_ID,
    "pve-cpuset": _cpus,
    "pve-hotplug-features": _hotplug,
    "pve-ipv4-config": _ipv4_config,
    "pve-ipv6-config": _ipv6_config,
    "pve-node": _like(LABEL, "value does not look like a valid node name"),
    "pve-phys-bits": _phys_bits,
    "pve-poolid": _pool,
    "pve-qm-bootdisk": _boot_disk,
    "pve-startup-order": _startup,
    "pve-storage-content": _content,
    "pve-storage-id": _storage,
    "pve-vm-cpu-conf": _cpu,
    "pve-vmid": _VMID,
    "pve-volume-id": _volume,
    "pve-volume-id-or-absolute-path": _volume_or_path,
    "pve-volume-id-or-qm-path": _volume_or_drive,
    "urlencoded": _like(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
}
LISTS: Final[Mapping[str, Rule]] = {
    "address": _host,
    "pve-configid": _CONFIG_ID,
    "pve-qm-bootdev": _boot_device,
    "pve-storage-content": _content,
    "pve-storage-id": _storage,
    "pve-tag": _TAG,
    "pve-task-status-type": _like(r"(?i:ok|error|warning|unknown)", "invalid status '{}'"),
    "pve-vmid": _VMID,
    "storage-pair": _storages,
}
