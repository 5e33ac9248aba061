"""Label and field selectors, as lists, budgets and workloads use them.

Pure functions on objects. Field selectors take any dotted path, more than the real server does.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from cpcd.lab.provenance import guess, source

__all__ = ["by_fields", "by_labels", "by_selector", "look_up"]

Object = Mapping[str, Any]
_TERMS: Final = re.compile(r"[^,(]+(?:\([^)]*\))?")
_TERM: Final = re.compile(
    r"(?P<absent>!)?(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=|\bin\b|\bnotin\b)\s*(?:\((?P<set>[^)]*)\)|(?P<value>.*)))?$"
)
_TESTS: Final[Mapping[str, Callable[[str | None, set[str]], bool]]] = {
    "In": lambda value, wanted: value in wanted,
    "NotIn": lambda value, wanted: value not in wanted,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}
_OPERATORS: Final = {"=": "In", "==": "In", "in": "In", "!=": "NotIn", "notin": "NotIn"}


def look_up(obj: Any, path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _labels(obj: Object) -> Mapping[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


@source("apimachinery: labels/selector.go")
def by_labels(obj: Object, selector: str) -> bool:
    """Tell whether an object matches `a=b,c!=d,e,!f,g in (h,i)`; empty matches all, ValueError on nonsense."""
    labels = _labels(obj)
    for text in filter(None, map(str.strip, _TERMS.findall(selector))):
        term = _TERM.match(text)
        if term is None:
            raise ValueError(f"unable to parse requirement: {text}")
        listed = term["set"].split(",") if term["set"] is not None else [term["value"] or ""]
        bare = "DoesNotExist" if term["absent"] else "Exists"
        operator = _OPERATORS[term["op"]] if term["op"] else bare
        if not _TESTS[operator](labels.get(term["key"]), {item.strip() for item in listed}):
            return False
    return True


@source("apimachinery: fields/selector.go")
@guess("any path; the real server knows a few of each kind and refuses the others")
def by_fields(obj: Object, selector: str) -> bool:
    """Tell whether an object matches `metadata.name=x,spec.nodeName!=y`; an absent value counts as empty."""
    for term in filter(None, selector.split(",")):
        path, _, wanted = term.replace("==", "=").partition("=")
        found = look_up(obj, path.rstrip("!"))
        same = ("" if found is None else str(found)) == wanted
        if same == path.endswith("!"):
            return False
    return True


@source("apimachinery: LabelSelectorAsSelector")
def by_selector(obj: Object, selector: Mapping[str, Any] | None) -> bool:
    """Tell whether an object matches a LabelSelector; None matches nothing, `{}` matches all."""
    if selector is None:
        return False
    labels = _labels(obj)
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    terms = selector.get("matchExpressions") or ()
    return equal and all(_TESTS[t["operator"]](labels.get(t["key"]), set(t.get("values") or ())) for t in terms)
