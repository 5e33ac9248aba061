"""The meaning of a document, without its form: every default filled in, in the words of the file.

`show_defaults` prints it, and the printed file means the same as the one that was read; `digest` is one number for it,
which a comment, an order of keys or a default written out does not change.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml

from cpcd.spec.scalars import resolve
from cpcd.spec.schema import ClusterDocument, ControlPlane, Machine, MachineDeployment

__all__ = ["digest", "effective", "show_defaults"]

Group = TypeVar("Group", ControlPlane, MachineDeployment)


def effective(document: ClusterDocument) -> dict[str, Any]:
    """Return the whole document as plain values; each `machine` is what the machines of that group really are."""
    spec, defaults = document.spec, document.spec.machine_defaults
    groups = tuple(_filled(group, defaults) for group in spec.workers.machine_deployments)
    filled = {
        "control_plane": _filled(spec.control_plane, defaults),
        "workers": spec.workers.model_copy(update={"machine_deployments": groups}),
    }
    # As a whole: to dump a part by itself, pydantic would first build what it needs for that.
    whole = document.model_copy(update={"spec": spec.model_copy(update=filled)}).model_dump(mode="json", by_alias=True)
    for template in whole["spec"]["templates"]:
        if template["templateID"] is not None:
            del template["os"]  # it says which tag is looked for, and none is
    return whole


def _filled(group: Group, defaults: Machine) -> Group:
    return group.model_copy(update={"machine": defaults.overridden_by(group.machine)})


def show_defaults(document: ClusterDocument) -> str:
    """Return the whole effective file as YAML; reading it again gives the same meaning."""
    return yaml.dump(effective(document), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def digest(documents: Iterable[ClusterDocument], referred: Mapping[str, bytes]) -> str:
    """Return the SHA-256 (hex) of what documents mean and of the files that they refer to."""
    whole = {document.name: _sorted(effective(document)) for document in documents}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in referred.items()}
    return hashlib.sha256(json.dumps([whole, files], sort_keys=True).encode()).hexdigest()


def _sorted(value: Any) -> Any:
    """Return the value with lists of named things in the order of their names: their order in the file says nothing."""
    if isinstance(value, dict):
        return {key: _sorted(child) if isinstance(child, dict | list) else child for key, child in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return sorted((_sorted(item) for item in value), key=lambda item: str(item["name"]))
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes what our reader would not read back as text, and repeats values instead of aliasing them."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
