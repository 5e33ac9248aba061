"""Writes to Proxmox: what is done to a machine's VM from the first disk to the last."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cpcd.model.desired import Risk
from cpcd.model.keys import Scope
from cpcd.model.ledger import Change, CloseOp, Evidence, Machine, Op, PutFact, PutMachine
from cpcd.model.seen import Facts, Node, Vm
from cpcd.model.view import View
from cpcd.plan import fields, growth, scopes
from cpcd.plan.effects.base import Power, Write, fresh_facts, see, turned

__all__ = ["Clone", "Configure", "Destroy", "Grow", "ResetVm", "Shutdown", "Start", "Stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone(Write):
    """Clone the template; description, name and pool go with the call, so that it is ours from the first disk on."""

    verb: ClassVar[str] = "clone"
    task: ClassVar[str] = "qmclone"
    timeout: ClassVar[str] = "clone"
    once: ClassVar[bool] = True

    pool: str
    full: bool
    storage: str = ""

    @property
    def sentence(self) -> str:
        kind = "full" if self.full else "linked"
        return f"clone template {self.row.template} to {self.row.name} (VMID {self.row.vmid}, {kind}, {self.row.node})"

    def slots(self, _view: View) -> Mapping[str, int]:
        # Clones wait for the lock of their storage, and fail where that takes too long (P08).
        return {f"clone:{self.row.site}/{self.row.template_node}": 2}

    @classmethod
    def tasks(cls, row: Machine) -> Scope:
        """Return the template's tasks: a clone's carry its VMID (`failures.md` P22)."""
        return scopes.tasks(row.site, row.template_node, row.template)

    def expect(self, view: View) -> View:
        copies = (copy for scope, seen in view.bulk.items() if scope.kind == "template" for copy in seen.known or ())
        disks = next((dict(copy.disks) for copy in copies if copy.vmid == self.row.template), {})
        mark = fields.mark(view.installation, self.row, "-")
        config = {**disks, "name": self.row.name, "description": mark, "digest": ""}
        return self.become(view, exists=True, node=self.row.node, status="stopped", config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure(Write):
    """Write options with the digest that they were compared against; None deletes one."""

    verb: ClassVar[str] = "configure"

    options: Mapping[str, Any]
    digest: str

    @property
    def sentence(self) -> str:
        shown = {"memory": "memory {} MiB", "cores": "{} cores", "sockets": "{} sockets", "tags": "tags {}"}
        if "smbios1" in self.options:
            return f"configure {self.row.name}: identity, {self.row.address}, processors, memory, tags"
        words = [shown.get(name, name + " {}").format(value) for name, value in sorted(self.options.items())]
        return f"configure {self.row.name}: {', '.join(words)}"

    def expect(self, view: View) -> View:
        vm = self.vm(view)
        kept = {k: v for k, v in vm.config.items() if k not in self.options}
        config = kept | {k: v for k, v in self.options.items() if v is not None}
        # What is off takes everything at once.
        late = () if vm.status != "running" else tuple(sorted(set(self.options) - fields.HOT))
        return self.become(view, config=config, pending=tuple(sorted({*vm.pending, *late})))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grow(Write):
    """Grow a disk to an absolute size; repeating it is a no-op (`failures.md` P04)."""

    verb: ClassVar[str] = "resize"
    task: ClassVar[str] = "resize"
    timeout: ClassVar[str] = "clone"
    once: ClassVar[bool] = True

    disk: str
    size_gb: int

    def before(self, view: View) -> Evidence:
        gained = self.size_gb - (growth.size(self.row, view, self.vm(view).config, self.disk) or 0)
        followed = {"growth": growth.remembered(self.row, view, gained)}
        return {**Write.before(self, view), "disk": self.disk, "size_gb": self.size_gb, **followed}

    @property
    def sentence(self) -> str:
        return f"grow {self.disk} of {self.row.name} to {self.size_gb} GiB"

    def expect(self, view: View) -> View:
        present = str(self.vm(view).config.get(self.disk, "")).split(",size=", maxsplit=1)[0]
        config = {**self.vm(view).config, self.disk: f"{present},size={self.size_gb}G"}
        return self.become(view, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Power):
    """Start the VM; one that runs already is as good as started (`failures.md` P17)."""

    verb: ClassVar[str] = "start"
    task: ClassVar[str] = "qmstart"
    timeout: ClassVar[str] = "start"

    @property
    def sentence(self) -> str:
        return f"start {self.row.name}"

    def expect(self, view: View) -> View:
        view = self.become(view, status="running", pending=(), host_key="ssh-ed25519 expected")
        node: Node | None = view.known(scopes.node(self.row.cluster, self.row.name))
        view = turned(view, self.row, boot_id=f"{node.boot_id}+") if node else view
        known: Facts | None = view.known(scopes.guest(self.row))
        facts = known or fresh_facts(self.row)
        return see(view, scopes.guest(self.row), facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown(Power):
    """Ask the guest to power off; Proxmox stops it hard after its own time-out."""

    verb: ClassVar[str] = "shutdown"
    task: ClassVar[str] = "qmshutdown"
    # After its time-out Proxmox stops the guest hard; longer than the default of 60 s (`failures.md` P25).
    options: ClassVar[Mapping[str, int]] = {"timeout": 120, "forceStop": 1}
    risk: ClassVar[Risk] = Risk.REBOOT

    @property
    def sentence(self) -> str:
        return f"shut {self.row.name} down"

    def before(self, view: View) -> Evidence:
        return {**Write.before(self, view), "boot": _ended(self.row, view)}

    def expect(self, view: View) -> View:
        return self.become(view, status="stopped", pending=())


def _ended(row: Machine, view: View) -> str:
    """Return the boot that is ended: a Node goes on saying Ready for a while after its machine went off."""
    node: Node | None = view.known(scopes.node(row.cluster, row.name))
    return node.boot_id if node else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Power):
    """Stop the VM hard: only what is to be destroyed."""

    verb: ClassVar[str] = "stop"
    task: ClassVar[str] = "qmstop"
    risk: ClassVar[Risk] = Risk.DESTROY

    @property
    def sentence(self) -> str:
        return f"stop {self.row.name}"

    def expect(self, view: View) -> View:
        return self.become(view, status="stopped", pending=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetVm(Power):
    """Reset the VM: the second rung of remediation; the row of a member counts the strike.

    A `job` that nobody answers for ends with it, so that two never hold one VM: set aside with the op's opening, and
    open again if the VM was not reset (`interrupted`).
    """

    verb: ClassVar[str] = "reset"
    task: ClassVar[str] = "qmreset"
    risk: ClassVar[Risk] = Risk.REBOOT

    job: Op | None = None

    @property
    def sentence(self) -> str:
        return f"reset {self.row.name}, {'whose node is unhealthy' if self.row.joined else 'which answers nothing'}"

    def changes(self, _view: View) -> tuple[Change, ...]:
        return (self.spent, *((CloseOp(self.job.id),) if self.job else ()))

    def before(self, view: View) -> Evidence:
        """Add the boot and the job that the reset ends."""
        job = self.job
        kept = {name: getattr(job, name) for name in ("id", "verb", "opened", "before", "handle")} if job else {}
        ended = {"job": {**kept, "slots": list(job.slots)}} if job else {}
        return {**Write.before(self, view), "boot": _ended(self.row, view), **ended}

    @staticmethod
    def tried(row: Machine, view: View) -> tuple[Change, ...]:
        """Return what is remembered of the rung; before a machine has joined its strikes are joins that failed."""
        struck = (PutMachine(replace(row, strikes=row.strikes + 1)),) if row.joined else ()
        return (*struck, PutFact(f"remedy/{row.uid}", view.wall))

    @staticmethod
    def interrupted(op: Op) -> Op | None:
        """Return the job that a reset was to end."""
        kept = op.before.get("job")
        return Op(**{**kept, "slots": tuple(kept["slots"])}, key=op.key, target=op.target) if kept else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy(Write):
    """Destroy the VM; VMID, mark, name and SMBIOS UUID were read just before and agree."""

    verb: ClassVar[str] = "destroy"
    task: ClassVar[str] = "qmdestroy"
    risk: ClassVar[Risk] = Risk.DESTROY
    once: ClassVar[bool] = True

    @property
    def sentence(self) -> str:
        return f"destroy the VM of {self.row.name} (VMID {self.row.vmid})"

    def expect(self, view: View) -> View:
        return see(view, scopes.vm(self.row), Vm(exists=False))
