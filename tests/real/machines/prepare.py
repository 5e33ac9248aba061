"""`prepare` as it is, Ansible and all, on a machine whose template carries Kubernetes: nothing is fetched, or changed twice."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from cpcd.ports.guests import Host
from tests.real import binaries
from tests.real.machines import image
from tests.real.machines.hand import Hand, new_key, shell, until
from tests.real.machines.image import Image
from tests.real.machines.report import Report

GIVEN = {"version": binaries.KUBERNETES, "packages": [], "timezone": "", "profile": "p1"}


@pytest.fixture(scope="session")
def template() -> Image:
    """Return the template's image."""
    return image.made(kubernetes=True)


async def test_baked_machine_is_prepared_and_then_left_alone(hand: Hand, place: Path, report: Report) -> None:
    """Ansible configures what is there; a second run changes nothing, and kubeadm then finds all it wants."""
    host = await hand.machine(101, "m1", new_key(place / "key"), cores=2, memory=2048)
    results = []
    for op in ("first", "second"):
        began = time.monotonic()
        await hand.guests.submit(host, op, "prepare", GIVEN)
        results.append(await until(lambda op=op: ended(hand, host, op), f"the {op} prepare"))
        report.add(f"the {op} prepare: {results[-1]['output'].get('changed')} changed", time.monotonic() - began)
    facts = await until(lambda: hand.guests.call(host, "facts", {}), "its facts")
    wrong = await preflight(host, place / "key")
    report.add("kubeadm's preflight finds nothing wrong", time.monotonic() - report.began)

    assert ["done", "done"] == [each["state"] for each in results], results
    assert [True, False] == [bool(each["output"]["changed"]) for each in results]
    assert ("p1", binaries.KUBERNETES) == (facts["prepared"], facts["packages"]["kubelet"])
    assert {"active": True, "enabled": True} == facts["services"]["containerd"]
    assert [] == wrong


async def ended(hand: Hand, host: Host, op: str) -> Any:
    """Return what became of an op, nothing while it runs."""
    state = await hand.guests.poll(host, op)
    return None if state["state"] == "running" else state


async def preflight(host: Host, key: Path) -> list[str]:
    """Let kubeadm look at the machine, its images too, which it would have to fetch if one were missing."""
    version = {"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration"}
    config = shlex.quote(json.dumps({**version, "kubernetesVersion": f"v{binaries.KUBERNETES}"}))
    done = await shell(host, key, f"echo {config} | sudo kubeadm init phase preflight --config /dev/stdin")
    return [] if done.exit_status == 0 else str(done.stderr).splitlines()
