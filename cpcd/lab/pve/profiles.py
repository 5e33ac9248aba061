"""Installations by name: the lab's own, and the one that was recorded.

Values only. `recorded` is what the replay of recordings starts from, and `cpcd lab --profile recorded`: one node outside
of any cluster, one directory storage, the recorded sizes. Next: `settings.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from cpcd.lab.pve.settings import ADMINISTRATOR, AUDITOR, Durations, Node, Settings, Storage, Token

__all__ = ["PROFILES", "RECORDED"]

DISK = 270_553_174_016
SECRET = "secret"  # noqa: S105 - of a modelled installation on loopback; the recorded ones are masked
EVERYTHING: Mapping[str, frozenset[str]] = MappingProxyType({"/": ADMINISTRATOR})

RECORDED = Settings(
    nodes=(Node("pve1", "10.99.0.1", cpus=2, memory=25_276_502_016, ports="", disk=DISK),),
    storages=(Storage("local", content=("images", "vztmpl", "iso", "snippets", "rootdir", "backup"), total=DISK),),
    tokens=(
        Token("root@pam", SECRET, EVERYTHING),
        Token("root@pam!t1", SECRET, EVERYTHING),
        Token("view@pve", SECRET, {"/": AUDITOR}),
        Token("prov@pve!tk", SECRET, {}),
        Token("admin@pve!full", SECRET, EVERYTHING),
    ),
    durations=Durations(full_per_gib=0.4),
    name="",
    neighbours=frozenset(("pve2",)),
    files={"/root/tiny.qcow2": 64 * 1024**2},
)
"""One node, two processors, as it was before storages were defined and users made (recorded 64, 77, 89)."""

PROFILES: Mapping[str, Settings] = MappingProxyType({"default": Settings(), "recorded": RECORDED})
