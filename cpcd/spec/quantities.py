"""Durations, sizes, shares, addresses and names: text in the file, plain values in the models.

Each type reads its text strictly, writes it back the same way (`--show-defaults`) and describes itself in the JSON
schema. Units: seconds, MiB, GiB, shares from 0 to 1. Messages say what to write.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cpcd.spec.mistakes import starred

__all__ = [
    "CIDR",
    "MAX_ADDRESSES",
    "AddressRange",
    "Bool",
    "Count",
    "DNSName",
    "Duration",
    "Endpoints",
    "Fingerprint",
    "GiB",
    "IPv4",
    "Int",
    "Label",
    "MiB",
    "Number",
    "Port",
    "Range",
    "Share",
    "SpecPath",
    "Version",
    "Worded",
    "refuse",
]

Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(ge=1, allow_inf_nan=False)]
Count = Annotated[int, Strict(), Field(ge=0, le=10_000)]
Port = Annotated[int, Strict(), Field(ge=1, le=65_535)]


def refuse(message: str, hint: str = "") -> PydanticCustomError:
    """Return the error that a validator raises; `refusals.py` turns it into a mistake with its place."""
    return PydanticCustomError("cpcd", "{message}", {"message": message, "hint": hint})


def _shown(value: Any) -> str:
    return f'"{starred(value)[:60]}"' if isinstance(value, str) else str(value)[:60]


def _text(value: Any, what: str) -> str:
    if isinstance(value, str):
        return value
    raise refuse(f"must be {what}, not {_shown(value)}")


# --- durations ----------------------------------------------------------------------------------------------------

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = r"(\d{1,9}(\.\d{1,3})?(ms|s|m|h|d))+"
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def _read_duration(value: Any) -> float:
    text = _text(value, "a duration with a unit, such as 30s, 5m or 1h30m")
    # ASCII, since `\d` alone takes the digits of every script.
    if not re.fullmatch(_DURATION, text, re.ASCII):
        raise refuse(f"must be a duration such as 30s, 5m or 1h30m, not {_shown(text)}")
    # Floats add up to a little more or less than was written, and one time in two spellings would be two in the digest.
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), 3)


def _write_duration(seconds: float) -> str:
    parts, rest = [], round(seconds * 1000)
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts) or "0s"


Duration = Annotated[
    float,
    BeforeValidator(_read_duration),
    PlainSerializer(_write_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION}$", "examples": ["5m"]}),
]
"""Seconds; `5m`, `1h30m`, `30s`, `7d` in the file."""


# --- sizes and shares ---------------------------------------------------------------------------------------------

_SIZE: Final = re.compile(r"(\d{1,9})(Mi|MiB|Gi|GiB|Ti|TiB)", re.ASCII)
_MIB: Final = {"M": 1, "G": 1024, "T": 1024 * 1024}


def _size(unit: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        # In Python true is 1, which would be one of the unit.
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if not match:
            raise refuse(f"must be a whole number of {unit}B or a size such as 4Gi, not {_shown(value)}")
        mib = int(match[1]) * _MIB[match[2][0]]
        if mib % _MIB[unit[0]]:
            raise refuse(f"must be a whole number of {unit}B, not {_shown(value)}")
        return mib // _MIB[unit[0]]

    return read


def _size_schema(least: int) -> WithJsonSchema:
    text = {"type": "string", "pattern": f"^{_SIZE.pattern}$", "examples": ["4Gi"]}
    return WithJsonSchema({"anyOf": [{"type": "integer", "minimum": least}, text]})


MiB = Annotated[int, BeforeValidator(_size("Mi")), Field(ge=256, le=16 * 1024 * 1024), _size_schema(256)]
GiB = Annotated[int, BeforeValidator(_size("Gi")), Field(ge=1, le=1024 * 1024), _size_schema(1)]


def _read_share(value: Any) -> float:
    match = re.fullmatch(r"(\d{1,3})%", value, re.ASCII) if isinstance(value, str) else None
    if not match or int(match[1]) > 100:
        raise refuse(f"must be a percentage such as 40%, not {_shown(value)}")
    return int(match[1]) / 100


Share = Annotated[
    float,
    BeforeValidator(_read_share),
    PlainSerializer(lambda share: f"{share * 100:.0f}%", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^(100|\d{1,2})%$", "examples": ["40%"]}),
]
"""From 0 to 1; `40%` in the file."""


# --- addresses ----------------------------------------------------------------------------------------------------

MAX_ADDRESSES: Final = 65_536
"""Of one cluster; each is looked at one by one."""
_IPV4_PATTERN: Final = r"\d{1,3}(\.\d{1,3}){3}"


def _read_ipv4(value: Any) -> IPv4Address:
    try:
        return IPv4Address(_text(value, "an IPv4 address"))
    except ValueError as error:
        raise refuse(f"must be an IPv4 address, not {_shown(value)}") from error


def _read_network(value: Any) -> IPv4Network:
    text = _text(value, "a network such as 10.42.0.0/16")
    try:
        # Not strictly: of a host with a prefix the network that was meant can be named.
        network = IPv4Network(text, strict=False)
    except ValueError as error:
        raise refuse(f"must be a network such as 10.42.0.0/16, not {_shown(text)}") from error
    if str(network) != text:
        raise refuse(f"{_shown(text)} is no network address", f"did you mean {network}?")
    return network


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    def __iter__(self) -> Iterator[IPv4Address]:
        return (IPv4Address(number) for number in range(int(self.first), int(self.last) + 1))

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def overlaps(self, other: "AddressRange") -> bool:
        """Return whether the two share an address."""
        return self.first <= other.last and other.first <= self.last


def _read_range(value: Any) -> AddressRange:
    text = _text(value, "addresses such as 10.10.10.110-10.10.10.139")
    found = _hosts(_read_network(text)) if "/" in text else _between(text)
    if len(found) > MAX_ADDRESSES:
        raise refuse(f"holds {len(found):,} addresses, at most {MAX_ADDRESSES:,} are used")
    return found


def _hosts(network: IPv4Network) -> AddressRange:
    # A /31 has no network or broadcast address (RFC 3021), and a /32 is one host.
    inner = 1 if network.prefixlen < 31 else 0
    return AddressRange(network[inner], network[-1 - inner])


def _between(text: str) -> AddressRange:
    first, _, last = (part.strip() for part in text.partition("-"))
    found = AddressRange(_read_ipv4(first), _read_ipv4(last or first))
    if found.first > found.last:
        raise refuse(f"runs backwards: {found.first} is behind {found.last}", f"write {found.last}-{found.first}")
    return found


IPv4 = Annotated[
    IPv4Address,
    PlainValidator(_read_ipv4),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "ipv4"}),
]
CIDR = Annotated[
    IPv4Network,
    PlainValidator(_read_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_IPV4_PATTERN}/\d{{1,2}}$"}),
]
Range = Annotated[
    AddressRange,
    PlainValidator(_read_range),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_IPV4_PATTERN}(\s*-\s*{_IPV4_PATTERN}|/\d{{1,2}})?$"}),
]


# --- names --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worded:
    """Marks a text that must match a pattern; `words` says what it is."""

    pattern: str
    words: str
    longest: int = 253

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "pattern": f"^{self.pattern}$"}

    def check(self, text: str) -> str:
        """Return the text, or refuse it in words."""
        if len(text) > self.longest:
            raise refuse(f"is {len(text)} characters long, at most {self.longest} are allowed")
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise refuse(f"must be {self.words}, not {_shown(text)}")
        return text


_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def _read_version(value: Any) -> str:
    text = _text(value, "a Kubernetes version such as v1.34.2")
    match = re.fullmatch(r"v1\.(\d{1,3})\.\d{1,3}", text, re.ASCII)
    if not match:
        fixed = f"v{text}" if re.fullmatch(r"1\.\d+\.\d+", text, re.ASCII) else ""
        hint = f"did you mean {fixed}?" if fixed else ""
        raise refuse(f"must be a full Kubernetes version such as v1.34.2, not {_shown(text)}", hint)
    if int(match[1]) < 31:
        raise refuse(f"{text} is too old", "v1.31 is the first whose kubeadm reads the v1beta4 configuration")
    return text


def _read_fingerprint(text: str) -> str:
    digits = text.replace(":", "").upper()
    if not re.fullmatch(r"[0-9A-F]{64}", digits, re.ASCII):
        raise refuse("must be a certificate's SHA-256: 64 hexadecimal digits, with or without colons")
    return ":".join(digits[at : at + 2] for at in range(0, 64, 2))


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _read_spec_path(text: str) -> str:
    parts = text.split("/")
    if not text or text.startswith("/") or ".." in parts or "\\" in text:
        raise refuse(f"{_shown(text)} leaves the spec's directory", "write a path relative to it, without ..")
    return "/".join(part for part in parts if part not in ("", "."))


Label = Annotated[str, Worded(_LABEL, "lower-case letters, digits and dashes", 63)]
"""A DNS label, which is also a Kubernetes name."""
DNSName = Annotated[str, Worded(rf"{_LABEL}(\.{_LABEL})*", "a host or domain name in lower case")]
Version = Annotated[
    str, BeforeValidator(_read_version), WithJsonSchema({"type": "string", "pattern": r"^v1\.\d+\.\d+$"})
]
Fingerprint = Annotated[str, AfterValidator(_read_fingerprint)]
SpecPath = Annotated[str, AfterValidator(_read_spec_path)]
"""A file of the spec, relative to its directory; wildcards stay within one directory."""


def _read_url(text: str) -> str:
    """Return the endpoint in one form, however it was written: in lower case, with its port, without a slash."""
    host, _, port = text.lower().removeprefix("https://").rstrip("/").partition(":")
    if port and not 1 <= int(port) <= 65_535:
        raise refuse(f"port {port} of {_shown(text)} does not exist", "ports are 1 to 65535; Proxmox's own is 8006")
    # The last part of a name is no number (RFC 1123, 2.1), so this is an address, or meant to be one.
    if host.rpartition(".")[2].isdecimal():
        _read_ipv4(host)
    return f"https://{host}:{int(port or 8006)}"


_HOST: Final = r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_URL: Final = rf"https://{_HOST}(\.{_HOST})*(:\d{{1,5}})?/?"
_Endpoint = Annotated[
    str, Worded(_URL, "an address such as https://pve.home.arpa:8006", 300), AfterValidator(_read_url)
]
Endpoints = Annotated[
    tuple[_Endpoint, ...],
    BeforeValidator(_one_or_several),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_URL}$"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": f"^{_URL}$"}},
            ]
        }
    ),
]
