"""What a plain YAML scalar means: the strict YAML 1.2 core, less its octal and hexadecimal numbers.

`no`, `on`, `0o17`, `1_000`, `12:30:45` and dates stay text; YAML 1.1 would turn each into something else.
"""

import re
from typing import Final

__all__ = ["resolve"]

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# 18 digits fit every integer of this file; longer ones stay text, so that no input can make int() slow or fail.
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(
    r"[-+]?((\.[0-9]{1,40}|[0-9]{1,40}\.[0-9]{0,40})([eE][-+]?[0-9]{1,3})?|[0-9]{1,40}[eE][-+]?[0-9]{1,3})"
)
_FIRST: Final = frozenset("+-.0123456789")  # of every number: of the rest, which is most, no expression is tried
_ODD: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(text: str) -> Scalar:
    """Return the value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.lower().replace(".", "")) if _ODD.fullmatch(text) else text
