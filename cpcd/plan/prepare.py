"""From a running VM to a machine that kubeadm can work on."""

from typing import Any

from cpcd.model.ledger import Machine
from cpcd.model.plan import Plan
from cpcd.model.seen import Facts
from cpcd.plan import effects, kubeadm, scopes
from cpcd.plan.case import Case, acting, leisure, waiting

__all__ = ["baseline", "prepare"]

MAX_SKEW = 30.0  # seconds; more and certificates are not yet valid (`failures.md` K11)


def prepare(case: Case) -> Plan | None:
    """Return what the operating system needs next, None when the baseline is there."""
    facts = case.facts
    if facts is None:
        return case.unseen(
            "GuestSilent", f"{case.row.name} cannot be asked over SSH yet", scopes.guest(case.row), after=1
        )
    if facts.hostname.split(".")[0] != case.row.name:
        return waiting("HostnameWrong", f"{case.row.name} calls itself {facts.hostname} still", after=10)
    if facts.cloud_init == "running":
        return waiting(
            "CloudInit",
            f"{case.row.name}: cloud-init is still at work",
            after=leisure(case.view, scopes.guest(case.row)),
        )
    if abs(facts.clock_skew) > MAX_SKEW:
        return waiting("ClockSkew", f"{case.row.name}: its clock is {facts.clock_skew:+.0f} s off", after=10)
    wanted = kubeadm.profile(case.cluster, case.group.machine.timezone)
    if facts.prepared == wanted:
        return None
    twin = _twin(case, facts)
    # Before the baseline: of two machines with one machine-id the younger is not made a member (G01).
    if twin is not None:
        how = f"empty /etc/machine-id in template {case.group.machine.template.name}, then delete VM {case.row.vmid}"
        return waiting("MachineIdShared", f"{case.row.name} has the machine-id of {twin.name}: {how}", after=60)
    doubt = "its cloud-init ended with an error" if facts.cloud_init == "error" else ""
    action = effects.Prepare(key=case.key, row=case.row, given=baseline(case), doubt=doubt)
    return acting("Preparing", action)


def _twin(case: Case, facts: Facts) -> Machine | None:
    """Return the machine whose machine-id this one has as well: of two the older one goes on (`failures.md` G01)."""
    # Of every cluster: a machine-id that is shared comes from the template, whoever cloned it.
    for row in case.view.machines.values():
        known: Facts | None = case.view.known(scopes.guest(row))
        if known is None or not facts.machine_id or known.machine_id != facts.machine_id:
            continue
        if row.uid != case.row.uid and (row.joined or row.vmid < case.row.vmid):
            return row
    return None


def baseline(case: Case) -> dict[str, Any]:
    """Return what `prepare` is given; its version is that of packages, without the v of Kubernetes's own."""
    timezone = case.group.machine.timezone
    return {
        "version": case.cluster.version.removeprefix("v"),
        "packages": [],
        "timezone": timezone,
        "profile": kubeadm.profile(case.cluster, timezone),
    }
