"""What Proxmox's words mean: one table for HTTP answers and for the exits of tasks.

The same text comes as status 500 from one call and as a task's exit from another (`failures.md`, "How to read it").
Unknown text is an ExecutionFailed with Proxmox's words, never success.
"""

import re
from dataclasses import dataclass
from typing import Final

from cpcd.model.errors import Code

__all__ = ["RULES", "Rule", "judged"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A stable part of a text, and what it means; `said` is a format over the pattern's groups, empty = as is."""

    pattern: re.Pattern[str]
    code: Code
    said: str = ""
    hint: str = ""
    retry: float | None = None


# First match wins. The comments name recordings (`seq`) or rows of failures.md.
RULES: Final[tuple[Rule, ...]] = (
    # recorded(251): a 403 that is no matter of privileges
    Rule(re.compile(r"pool '(?P<pool>[^']*)' does not exist"), Code.DEPENDENCY, "pool {pool} does not exist"),
    # recorded(916), recorded(917), recorded(62): the missing privilege and where
    Rule(
        re.compile(r"Permission check failed \((?P<path>/[^,]*), (?P<privileges>[\w.|]+)\)?"), Code.AUTH,
        "the token lacks {privileges} on {path}",
        "Grant {privileges} on {path} to the token, and to its user if the token has privilege separation; Proxmox "
        "says the same of a VM that does not exist.",
    ),
    # T13: `args`, `lock`, raw hostpci, /access/password
    Rule(
        re.compile(r"[Oo]nly root (can|may)|user != root@pam|not available with API token"), Code.AUTH,
        hint="No API token can do this, not even one of root@pam; remove the option.",
    ),
    # recorded(52): create or clone without any right on the VMID or the pool
    Rule(
        re.compile(r"Permission check failed"), Code.AUTH,
        hint="Proxmox does not say which privilege is missing; a clone needs VM.Clone on the template, VM.Allocate on "
        "the pool, Datastore.AllocateSpace on the storage and SDN.Use on the bridge.",
    ),
    # recorded(1304), recorded(1318), recorded(1300): reads go on, so this is not Unreachable
    Rule(
        re.compile(r"no quorum|/etc/pve/.* - Permission denied|cluster not ready"), Code.NETWORK,
        "the Proxmox cluster has no quorum ({text})",
        "Bring Proxmox nodes back until `pvecm status` says Quorate: Yes; reads go on, changes wait.",
    ),
    # P01, P08, recorded(448), recorded(754): a lock is waited for, never broken
    Rule(re.compile(r"VM is locked \(|can't lock file|got lock timeout|got timeout"), Code.EXECUTION, retry=3),
    # P30, recorded(367): read again at once
    Rule(re.compile(r"checksum mismatch"), Code.EXECUTION, "the config was changed meanwhile ({text})", retry=0),
    Rule(
        re.compile(r"hostname lookup '(?P<node>[^']*)' failed|no such cluster node '(?P<name>[^']*)'"),
        Code.DEPENDENCY, "{text}", "Correct the node's name in the spec or join the node to the Proxmox cluster.",
    ),  # recorded(68), recorded(332)
    Rule(
        re.compile(r"storage '[^']*' (does not exist|is not available on node)|No such storage"), Code.DEPENDENCY
    ),  # recorded(88), recorded(101)
    Rule(
        re.compile(r"bridge '[^']*' does not exist"), Code.DEPENDENCY
    ),  # recorded in start-fail
    Rule(
        re.compile(r"unable to find configuration file for VM (?P<vmid>\d+)"), Code.DEPENDENCY,
        "template {vmid} is not there ({text})",
    ),  # recorded(337)
    Rule(re.compile(r"No space left on device|out of space|not enough free space"), Code.DEPENDENCY),  # P29
)  # fmt: skip


def judged(text: str) -> tuple[Code, str, str, float | None]:
    """Return the code, the sentence, what to do about it, and the seconds until a retry where they are known."""
    for rule in RULES:
        if found := rule.pattern.search(text):
            words = {**found.groupdict(), "text": text}
            said = rule.said.format(**words) if rule.said else text
            return rule.code, said, rule.hint.format(**words), rule.retry
    return Code.EXECUTION, text, "", None
