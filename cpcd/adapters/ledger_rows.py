"""The ledger's rows: between stored JSON and the values of `model/ledger.py`, held to their shapes.

It must never take a row for something that it is not; what cannot be read makes the whole ledger unusable
(`journal.py`), because a machine that is forgotten is worse than one that waits.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from cpcd.model.keys import Key, Kind, Role, Scope
from cpcd.model.ledger import Machine, Op

__all__ = ["machine_of", "op_of", "op_row"]

# What a row's values are; a checksum only says that somebody wrote them.
_TEXT: Final = ("uid", "cluster", "group", "name", "site", "node", "address", "template_node", "revision", "retire")
_MACHINE: Final[dict[str, type]] = {
    **dict.fromkeys(_TEXT, str), **dict.fromkeys(("index", "vmid", "template", "strikes"), int),
    **dict.fromkeys(("started", "joined"), bool), "created": float,
}  # fmt: skip
_OP: Final[dict[str, type]] = {"id": str, "verb": str, "opened": float, "before": dict, "slots": list}


def machine_of(name: str, row: dict[str, Any]) -> Machine:
    """Return the machine that is stored under a name; raises LookupError, TypeError, ValueError or AttributeError."""
    _hold(row, _MACHINE)
    if row["uid"] != name:
        raise ValueError(f"the row of {name} is that of {row['uid']}")
    return Machine(**{**row, "role": Role(row["role"])})


def op_row(op: Op) -> dict[str, Any]:
    """Return what is stored of an operation; key and target are tuples in the model and objects here."""
    return {**asdict(op), "key": op.key._asdict(), "target": op.target._asdict()}


def op_of(name: str, row: dict[str, Any]) -> Op:
    """Return the operation that is stored under a name; raises as `machine_of` does."""
    _hold(row, _OP)
    key, disrupts = row["key"], row["disrupts"]
    texts = (*key.values(), *row["target"].values(), *row["slots"])
    whole = all(isinstance(text, str) for text in texts) and isinstance(row["handle"], str | None)
    if row["id"] != name or not whole:
        raise ValueError(f"the row of {name} is of another shape")
    return Op(
        **{
            **row,
            "key": Key(key["cluster"], Kind(key["kind"]), key["name"]),
            "target": Scope(**row["target"]),
            "disrupts": None if disrupts is None else Role(disrupts),
            "slots": tuple(row["slots"]),
        }
    )


def _hold(row: dict[str, Any], kinds: Mapping[str, type]) -> None:
    """Hold values to their kinds; a whole number is a time as well, and nothing else is taken for another."""
    for name, kind in kinds.items():
        value = row.get(name, kind())  # one that an older cpcd did not write yet has its default, or is missed below
        if type(value) is not kind and not (kind is float and type(value) is int and value < 2**53):
            raise TypeError(f"{name} is {value!r}"[:200])
