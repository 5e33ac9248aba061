"""The spec: from the bytes of `cluster.yaml` to checked documents, or to all mistakes at once.

START at `read.py` (the steps), then `schema/` (every field). Nothing here opens a file, reads a clock or raises for
what a file holds. `compile.py` makes of the documents what planners read.
"""

from typing import Any

from cpcd.spec.effective import effective, show_defaults
from cpcd.spec.mistakes import Mistake, counted, listing
from cpcd.spec.read import Reading, read_spec
from cpcd.spec.references import matching, patterns, references
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.secrets import Secret, resolve

__all__ = [
    "ClusterDocument",
    "Mistake",
    "Reading",
    "Secret",
    "counted",
    "effective",
    "json_schema",
    "listing",
    "matching",
    "patterns",
    "read_spec",
    "references",
    "resolve",
    "show_defaults",
]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file; what makes it is imported when it is asked for, which is seldom."""
    from cpcd.spec import jsonschema

    return jsonschema.json_schema()
