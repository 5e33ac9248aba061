"""Check parameters as Proxmox VE does: every bad field reported at once, each with its own text.

`api.json` is the API's own schema as of Proxmox VE 9.2 (types, enumerations, ranges, patterns, formats), reduced to the
calls that the lab answers; the rules that read it are those of PVE::JSONSchema. It knows no VM. Next: `formats.py`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from cpcd.lab.provenance import recorded, schema, source
from cpcd.lab.pve.errors import invalid
from cpcd.lab.pve.formats import CODE, LISTS, Bad, formatted

__all__ = ["calls", "members", "options", "properties", "text_of", "validate"]

Property = Mapping[str, Any]
Properties = Mapping[str, Property]
Errors = dict[str, str]

UNDEFINED: Final = "property is not defined in schema and the schema does not allow additional properties"
MISSING: Final = "property is missing and it is not optional"
COUNTS: Final = {
    "net": 32, "ipconfig": 32, "serial": 4, "parallel": 3, "hostpci": 16, "usb": 14, "numa": 8, "virtiofs": 10,
    "ide": 4, "sata": 6, "scsi": 31, "virtio": 16, "unused": 256,
}  # fmt: skip
"""How many there are of each numbered option (QemuServer.pm, Drive.pm, USB.pm, PCI.pm, Memory.pm, Virtiofs.pm)."""
TRUE: Final = re.compile(r"1|on|yes|true", re.IGNORECASE)
FALSE: Final = re.compile(r"0|off|no|false", re.IGNORECASE)
NUMBER: Final = re.compile(r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d+)?")


@cache
def _api() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((resources.files(__package__) / "api.json").read_text(encoding="utf-8"))
    return found


def calls() -> Mapping[str, Mapping[str, Any]]:
    """Return `METHOD /path/template` -> its permissions, whether it is protected (root's daemon), parameters."""
    found: Mapping[str, Mapping[str, Any]] = _api()["calls"]
    return found


@cache
def options() -> Properties:
    """Return the options of a VM's configuration by name, numbered ones one by one."""
    return dict(_numbered(_api()["options"].items()))


def _numbered(named: Iterable[tuple[str, Property]]) -> Iterable[tuple[str, Property]]:
    for name, each in named:
        family = name.removesuffix("[n]")
        numbers = range(COUNTS[family]) if family != name else ("",)
        yield from ((f"{family}{number}", each) for number in numbers)


@cache
def properties(call: str) -> Properties:
    """Return the parameters of a call: its own, its path's, and the options of a VM where it takes those."""
    found = calls()[call]
    return {**(options() if found.get("options") else {}), **found.get("parameters", {})}


@recorded(258)
@source("RESTHandler.pm normalize_legacy_param_formats")
def text_of(value: Any) -> str:
    """Return a parameter as it is on the wire: booleans `1`/`0`, a list joined by commas."""
    match value:
        case bool():
            return str(int(value))
        case list() | tuple() | set() | frozenset():
            return ",".join(map(text_of, value))
        case _:
            return str(value)


def members(option: str, text: str) -> dict[str, str]:
    """Return what an option's checked value is made of: other names of a key resolved, booleans as `1` and `0`."""
    wanted = options()[option]["format"]
    return _members(_api()["formats"][wanted] if isinstance(wanted, str) else wanted, text)


@recorded(22, 74, 201, 210, 211, 212, 213, 214, 215, 253, 344, 364, 377, 422, 423, 466, 1097)
@schema("parameters of every call")
def validate(raw: Mapping[str, Any], call: str) -> dict[str, Any]:
    """Return the checked values, or refuse with every bad, unknown and missing field at once.

    Integers and booleans come back as int, everything else as text: decimal numbers too (recorded 1067).
    """
    wanted, errors = properties(call), Errors()
    _object(wanted, raw, errors, "")
    if errors:
        raise invalid(errors)
    return {name: _stored(wanted[name], text_of(value)) for name, value in raw.items() if name in wanted}


def _stored(wanted: Property, text: str) -> str | int:
    return int(text) if wanted.get("type") in {"integer", "boolean"} else text


@source("JSONSchema.pm check_object")
def _object(wanted: Properties, given: Mapping[str, Any], errors: Errors, path: str) -> None:
    """Check the members of an object; `path` is empty for a call's parameters, else the option that holds them."""
    for name, each in wanted.items():
        if name not in given and not (each.get("optional") or "alias" in each):
            _add(errors, _below(path, name), MISSING)
    for name, value in given.items():
        where = _below(path, name)
        if name not in wanted:
            _add(errors, where, UNDEFINED)
            continue
        _add(errors, where, _property(wanted[name], value, where))
        if (needed := wanted[name].get("requires")) and needed not in given:
            _add(errors, _below(path, needed), f"missing property required by '{where}'")


@source("JSONSchema.pm add_error")
def _add(errors: Errors, where: str, text: str) -> None:
    """Add what is wrong; a second text of one field is joined by a backslash and an n, as Proxmox does it."""
    if text:
        errors[where] = f"{errors[where]}\\n{text}" if where in errors else text


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@recorded(214, 253, 422, 423)
@source("JSONSchema.pm check_prop")
def _property(wanted: Property, value: Any, path: str) -> str:
    """Return what is wrong with one value: type, then format, pattern, length, range, enumeration; empty if nothing."""
    kind = wanted.get("type", "")
    if isinstance(value, list | dict) and not (isinstance(value, list) and _is_list(wanted)):
        return f"type check ('{kind}') failed - got {'ARRAY' if isinstance(value, list) else 'HASH'}"
    text = text_of(value)
    if not _typed(kind, text):
        return f"type check ('{kind}') failed - got '{text}'"
    try:
        _format(wanted.get("format", ""), text, path)
    except Bad as bad:
        return f"invalid format - {bad}\n"
    return _limits(wanted, text)


def _is_list(wanted: Property) -> bool:
    return str(wanted.get("format", "")).endswith("-list")


def _typed(kind: str, text: str) -> bool:
    match kind:
        case "boolean":
            return text in {"0", "1"}
        case "integer":
            return re.fullmatch(r"[+-]?\d+", text) is not None
        case "number":
            return NUMBER.fullmatch(text) is not None
        case _:
            return True


def _limits(wanted: Property, text: str) -> str:
    if "pattern" in wanted and not re.search(f"^{wanted['pattern']}$", text):  # anchored as Proxmox does, `a|b` badly
        return "value does not match the regex pattern"
    if len(text) > wanted.get("maxLength", len(text)):
        return f"value may only be {wanted['maxLength']} characters long"
    if len(text) < wanted.get("minLength", 0):
        return f"value must be at least {wanted['minLength']} characters long"
    if NUMBER.fullmatch(text) and (outside := _range(wanted, float(text))):
        return outside
    if "enum" in wanted and text not in wanted["enum"]:
        return f"value '{text}' does not have a value in the enumeration '{', '.join(wanted['enum'])}'"
    return ""


def _range(wanted: Property, number: float) -> str:
    if number > wanted.get("maximum", number):
        return f"value must have a maximum value of {wanted['maximum']}"
    if number < wanted.get("minimum", number):
        return f"value must have a minimum value of {wanted['minimum']}"
    return ""


@source("JSONSchema.pm check_format")
def _format(name: str | Properties, text: str, path: str) -> None:
    """Check a value's format: a property string by its own schema, anything else by the rule of that name."""
    members = _api()["formats"].get(name) if isinstance(name, str) else name
    if members is not None:
        _property_string(members, text, path)
    if isinstance(name, str) and name in CODE:
        CODE[name](text)
    elif isinstance(name, str) and name.endswith("-list") and (rule := LISTS.get(name.removesuffix("-list"))):
        for each in formatted(text):
            rule(each)


@recorded(214, 216, 253)
def _property_string(wanted: Properties, text: str, path: str) -> None:
    errors = Errors()
    _object(wanted, _members(wanted, text), errors, path)
    if errors:
        lines = "".join(f"{where}: {errors[where]}\n" for where in sorted(errors))
        raise Bad(f"format error\n{lines}".removesuffix("\n"))


@recorded(214, 216, 297)
@source("JSONSchema.pm parse_property_string")
def _members(wanted: Properties, text: str) -> dict[str, str]:
    """Split `a,b=c`; a part without `=` is the value of the default key, another name of a key is resolved."""
    found: dict[str, str] = {}
    default = ""
    for part in filter(str.strip, text.split(",")):
        key, equals, value = part.partition("=")
        if equals and not (key and value):
            raise Bad("missing key in comma-separated list property")
        if equals:
            _take(wanted, found, key, value)
        elif default or not (default := _default(wanted, found)):
            raise Bad(f"duplicate key in comma-separated list property: {default}")
        else:
            found[default] = _worded(wanted, default, part)
    return found


@source("JSONSchema.pm parse_property_string")
def _default(wanted: Properties, found: Mapping[str, str]) -> str:
    """Return the default key; one that is set already may be set again if it is as good as nothing."""
    key = next((name for name, each in wanted.items() if each.get("default_key")), "")
    if not key:
        raise Bad("value without key, but schema does not define a default key")
    if found.get(key, "0") != "0":
        raise Bad(f"duplicate key in comma-separated list property: {key}")
    return key


@source("JSONSchema.pm parse_property_string")
def _take(wanted: Properties, found: dict[str, str], key: str, value: str) -> None:
    each = wanted.get(key, {})
    if key in found:
        raise Bad(f"duplicate key in comma-separated list property: {key}")
    if model := each.get("keyAlias"):
        if model in found:
            raise Bad(f"key alias '{model}' is already defined")
        found[model] = key
    key = each.get("alias", key)
    if "alias" in each and key in found:
        raise Bad(f"key '{key}' is already defined (via alias)")
    found[key] = _worded(wanted, key, value)


def _worded(wanted: Properties, key: str, value: str) -> str:
    return _boolean(value) if wanted.get(key, {}).get("type") == "boolean" else value


def _boolean(value: str) -> str:
    """Inside a property string, and only there, words are booleans too."""
    if TRUE.fullmatch(value):
        return "1"
    return "0" if FALSE.fullmatch(value) else value
