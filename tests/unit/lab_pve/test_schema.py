"""The lab's parameter checks against what Proxmox VE's own checker says.

`schema.jsonl` holds calls with parameters, and the errors that PVE::JSONSchema of pve-common f665029 gave for them under
the API's schema of Proxmox VE 9.2.11.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cpcd.lab.pve import schema
from cpcd.lab.pve.errors import Refused
from cpcd.lab.pve.routes import HANDLERS

CASES = [json.loads(line) for line in (Path(__file__).parent / "schema.jsonl").read_text().splitlines()]
CONFIG = "PUT /nodes/{node}/qemu/{vmid}/config"
VM = {"node": "pve1", "vmid": "100"}


def errors(call: str, given: dict[str, Any]) -> dict[str, str]:
    """Return what the lab says is wrong."""
    try:
        schema.validate(given, call)
    except Refused as refused:
        return dict(refused.errors or {})
    return {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: "&".join(f"{k}={v}" for k, v in case["given"].items())[:60])
def test_parameters_are_refused_in_proxmoxs_own_words(case: dict[str, Any]) -> None:
    """Types, formats, patterns, ranges, enumerations and property strings, as the real checker has them."""
    assert case["errors"] == errors(case["call"], case["given"])


def _wrong(wanted: dict[str, Any]) -> str | None:
    """Return a value that breaks a property's own rule, None where anything goes."""
    match wanted:
        case {"type": "boolean" | "integer" | "number"}:
            return "maybe"
        case {"enum": _}:
            return "nosuch"
        case {"pattern": pattern} if not re.search(f"^{pattern}$", "\x01"):
            return "\x01"
        case {"format": str()}:
            return "\x01\x02"
    return None


def test_no_option_takes_what_its_schema_refuses() -> None:
    """Each option of a VM and each member of its property string, one after the other, with a value that it cannot have."""
    named, taken = schema._api()["formats"], []
    for name, wanted in schema.options().items():
        form = wanted.get("format")
        members = named.get(form) if isinstance(form, str) else form
        values = {key: _wrong(each) for key, each in (members or {}).items() if "alias" not in each}
        broken = [f"{key}={value}" for key, value in values.items() if value] or [_wrong(wanted)]
        taken += [(name, value) for value in broken if value and name not in errors(CONFIG, VM | {name: value})]

    assert [] == taken
    assert len(schema.options()) > 480


def test_the_answered_calls_are_those_whose_schema_is_there() -> None:
    """A call without its schema would check nothing."""
    assert HANDLERS.keys() == schema.calls().keys()


def test_a_text_of_too_many_characters_is_refused() -> None:
    """The length of a description is counted in characters, not bytes."""
    assert {} == errors(CONFIG, VM | {"description": "ä" * 8192})
    assert {"description": "value may only be 8192 characters long"} == errors(CONFIG, VM | {"description": "ä" * 8193})


def test_a_list_is_taken_only_where_a_list_is_meant() -> None:
    """JSON bodies may hold lists: a `-list` format joins them, anything else is of another type."""
    assert {} == errors(CONFIG, VM | {"tags": ["a", "b"]})
    assert {"name": "type check ('string') failed - got ARRAY"} == errors(CONFIG, VM | {"name": ["a", "b"]})


def test_numbers_come_back_as_numbers() -> None:
    """Integers and booleans are stored as numbers, decimal ones as text (recorded 1067)."""
    given = VM | {"cores": "2", "onboot": "1", "cpulimit": "1.5", "memory": "512"}

    assert {
        "node": "pve1",
        "vmid": 100,
        "cores": 2,
        "onboot": 1,
        "cpulimit": "1.5",
        "memory": "512",
    } == schema.validate(given, CONFIG)
