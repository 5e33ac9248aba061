"""The spec: from the bytes of `cluster.yaml` to checked documents, or to all mistakes at once.

START at `read.py` (the steps), then `schema/` (every field). Nothing here opens a file, reads a clock or raises for
what a file holds. `compile.py` makes of the documents what planners read.
"""

from cpcd.spec.effective import effective, show_defaults
from cpcd.spec.jsonschema import json_schema
from cpcd.spec.mistakes import Mistake, listing
from cpcd.spec.read import Reading, read_spec
from cpcd.spec.references import matching, patterns, references
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.secrets import Secret, resolve

__all__ = [
    "ClusterDocument",
    "Mistake",
    "Reading",
    "Secret",
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
