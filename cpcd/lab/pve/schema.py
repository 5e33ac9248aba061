"""Check parameters as Proxmox's schema does: every bad field reported at once, each with its own text.

A kind is a function from text to the value that is stored; it raises `Bad` with the field's text. It knows no VM and
no privilege. Next: `options.py` for the options of a VM, `routes.py` for the parameters of each call.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cpcd.lab.provenance import recorded, schema
from cpcd.lab.pve.cputypes import BUILT_IN
from cpcd.lab.pve.errors import invalid
from cpcd.lab.pve.properties import parse, parse_net

__all__ = [
    "Bad", "Kind", "Param", "boolean", "cpu_model", "disk_size", "dns_name", "drive", "enum", "identifier", "integer", "ipconfig", "memory",
    "net", "number", "pattern", "string", "tags", "text_of", "upid", "urlencoded", "validate", "vmid",
]  # fmt: skip

Value = str | int
UNDEFINED = "property is not defined in schema and the schema does not allow additional properties"
LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?)"
NET_KEYS = frozenset((
    "model", "macaddr", "bridge", "firewall", "link_down", "mtu", "queues", "rate", "tag", "trunks", "host-tunnel",
))  # fmt: skip
IPV4 = re.compile(r"dhcp|(?:\d{1,3}\.){3}\d{1,3}/\d{1,2}")
IP_KEYS = frozenset(("ip", "gw", "ip6", "gw6"))


class Bad(Exception):  # noqa: N818 - the text of one field of a 400
    """One field is not what the schema wants."""


Kind = Callable[[str, str], Value]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a call."""

    kind: Kind
    required: bool = False
    needs: str = ""  # another parameter, without which this one means nothing


@recorded(258)
def text_of(value: Any) -> str:
    """Return a parameter as it is on the wire: booleans `1`/`0`, a list joined by commas."""
    match value:
        case bool():
            return str(int(value))
        case list() | tuple() | set() | frozenset():
            return ",".join(map(text_of, value))
        case _:
            return str(value)


def string(limit: int = 0) -> Kind:
    """Make a kind of free text of at most `limit` characters."""

    def kind(_name: str, text: str) -> Value:
        if limit and len(text) > limit:
            raise Bad(f"value may only be {limit} characters long")
        return text

    return kind


@recorded(212, 214, 253)
def integer(minimum: int | None = None, maximum: int | None = None) -> Kind:
    """Make a kind of whole numbers."""

    def kind(_name: str, text: str) -> Value:
        if not re.fullmatch(r"[+-]?\d+", text):
            raise Bad(f"type check ('integer') failed - got '{text}'")
        if minimum is not None and int(text) < minimum:
            raise Bad(f"value must have a minimum value of {minimum}")
        if maximum is not None and int(text) > maximum:
            raise Bad(f"value must have a maximum value of {maximum}")
        return int(text)

    return kind


@schema("/nodes/{node}/qemu/{vmid}/config")
def number(_name: str, text: str) -> Value:
    """Take a decimal number; it is stored and shown as text (recorded 1067)."""
    if not re.fullmatch(r"\d+(?:\.\d+)?", text):
        raise Bad(f"type check ('number') failed - got '{text}'")
    return text


@recorded(214, 215)
def boolean(_name: str, text: str) -> Value:
    """Take `1` or `0`, nothing else."""
    if text not in {"0", "1"}:
        raise Bad(f"type check ('boolean') failed - got '{text}'")
    return int(text)


@recorded(74, 211, 212, 213)
def vmid(name: str, text: str) -> Value:
    """Take a VMID, 100 to 999999999."""
    found = int(integer()(name, text))
    if not 100 <= found <= 999_999_999:
        raise Bad("invalid format - value does not look like a valid VM ID\n")
    return found


@recorded(214, 335)
def dns_name(_name: str, text: str) -> Value:
    """Take a DNS name."""
    if not re.fullmatch(rf"{LABEL}(?:\.{LABEL})*", text):
        raise Bad("invalid format - value does not look like a valid DNS name\n")
    return text


@recorded(364, 422, 466)
def enum(*values: str) -> Kind:
    """Make a kind of a few words."""

    def kind(_name: str, text: str) -> Value:
        if text not in values:
            raise Bad(f"value '{text}' does not have a value in the enumeration '{', '.join(values)}'")
        return text

    return kind


@recorded(423)
def disk_size(_name: str, text: str) -> Value:
    """Take a size such as `40G` or `+1G`."""
    if not re.fullmatch(r"\+?\d+(\.\d+)?[KMGT]?", text):
        raise Bad("value does not match the regex pattern")
    return text


@recorded(221)
def tags(_name: str, text: str) -> Value:
    """Take a list of tags with any separator."""
    for tag in re.split(r"[;,\s]+", text):
        if tag and not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*", tag):
            raise Bad("invalid format - invalid characters in tag\n")
    return text


@recorded(250)
def cpu_model(_name: str, text: str) -> Value:
    """Take a processor: one of QEMU's models or a custom one."""
    model = parse(text, "cputype").get("cputype", "")
    if model not in BUILT_IN and not model.startswith("custom-"):
        raise Bad(f"invalid format - Built-in cputype '{model}' is not defined (missing 'custom-' prefix?)\n")
    return text


def pattern(expression: str) -> Kind:
    """Make a kind of text that a regular expression describes."""

    def kind(_name: str, text: str) -> Value:
        if not re.fullmatch(expression, text):
            raise Bad("value does not match the regex pattern")
        return text

    return kind


@recorded(289, 291)
def urlencoded(_name: str, text: str) -> Value:
    """Take text that is URL-encoded once more than the form is (`failures.md` P13)."""
    if not re.fullmatch(r"[-%a-zA-Z0-9_.!~*'()]*", text):
        raise Bad(f"invalid format - invalid urlencoded string: {text}\n")
    return text


@recorded(214, 253, 377)
def memory(name: str, text: str) -> Value:
    """Take MiB, at least 16; stored as text."""
    current = parse(text, "current").get("current", "")
    try:
        integer(16)(name, current)
    except Bad as bad:
        raise Bad(f"invalid format - format error\n{name}.current: {bad}\n") from bad
    return text


@recorded(216)
def net(name: str, text: str) -> Value:
    """Take a network device in either spelling."""
    unknown = parse_net(text).keys() - NET_KEYS
    if unknown:
        lines = "".join(f"{name}.{key}: {UNDEFINED}\n" for key in sorted(unknown))
        raise Bad(f"invalid format - format error\n{lines}")
    return text


@recorded(214)
def drive(name: str, text: str) -> Value:
    """Take a drive: `storage:GiB`, `storage:cloudinit` or a volume ID, then options; `none` for an empty CD-ROM."""
    file = parse(text, "file").get("file", "")
    if ":" not in file and file not in {"none", "cdrom"} and not file.startswith("/"):
        raise Bad(
            f"invalid format - format error\n{name}.file: invalid format - unable to parse volume ID '{file}'\n\n"
        )
    return text


@recorded(296, 297)
def ipconfig(name: str, text: str) -> Value:
    """Take a cloud-init address; IPv4 needs its prefix length."""
    parts = parse(text, "ip")
    unknown = sorted(parts.keys() - IP_KEYS)
    if unknown:
        raise Bad(f"invalid format - format error\n{name}.{unknown[0]}: {UNDEFINED}\n")
    if not IPV4.fullmatch(parts.get("ip", "dhcp")):
        why = "invalid format - value does not look like a valid ipv4 network configuration\n"
        raise Bad(f"invalid format - format error\n{name}.ip: {why}\n")
    return text


@recorded(460, 100)
def identifier(_name: str, text: str) -> Value:
    """Take an id of two characters or more, as pools, storages and snapshots have."""
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9\-_./]+", text):
        raise Bad(f"invalid format - invalid configuration ID '{text}'\n")
    return text


@recorded(729)
def upid(_name: str, text: str) -> Value:
    """Take a UPID."""
    if not re.fullmatch(r"UPID:[^:]+:[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:\s]+:[^:\s]*:[^:\s]+:", text):
        raise Bad("unable to parse worker upid")
    return text


@recorded(22, 201, 210, 214, 344, 1097)
def validate(
    raw: Mapping[str, str], look_up: Callable[[str], Kind | None], params: Mapping[str, Param]
) -> dict[str, Any]:
    """Return the checked values, or refuse with every bad, unknown and missing field at once."""
    values: dict[str, Any] = {}
    required = {name for name, param in params.items() if param.required}
    errors = dict.fromkeys(sorted(required - raw.keys()), "property is missing and it is not optional")
    needed = {param.needs: name for name, param in params.items() if param.needs and name in raw}
    errors |= {need: f"missing property required by '{name}'" for need, name in needed.items() if need not in raw}
    for name, text in raw.items():
        kind = look_up(name)
        try:
            if kind is None:
                errors[name] = UNDEFINED
            else:
                values[name] = kind(name, text)
        except Bad as bad:
            errors[name] = str(bad)
    if errors:
        raise invalid(errors)
    return values
