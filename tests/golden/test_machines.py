"""What control planes and workers are given, letter by letter; `GOLDEN=write pytest tests/golden` writes it anew."""

import os
from pathlib import Path

import pytest

from cpcd.plan import kubeadm
from tests.unit.plan.build import CP, WORKERS, cluster, group, row

GIVEN = Path(__file__).parent / "machines"
WANTED = cluster(group(CP, 3), group(WORKERS, 2), domain="lab.example", extra_sans=("api.example",))
SECRETS = {"token": "abcdef.0123456789abcdef", "ca_hash": "sha256:aa", "certificate_key": ""}
KUBE_VIP = "/etc/kubernetes/manifests/kube-vip.yaml"
TEXTS = {
    "init.yaml": kubeadm.init_config(WANTED, row("u1"), ["10.0.0.5", "api.example"]),
    "join-control-plane.yaml": kubeadm.join_config(WANTED, row("u2", CP, 2), {**SECRETS, "certificate_key": "k" * 64}),
    "join-worker.yaml": kubeadm.join_config(WANTED, row("u4", WORKERS, 4), SECRETS),
    "kube-vip-first.yaml": kubeadm.files(WANTED, first=True)[KUBE_VIP],
    "kube-vip.yaml": kubeadm.files(WANTED, first=False)[KUBE_VIP],
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_machine_is_given_is_as_it_was(name: str) -> None:
    """JSON, which is YAML; on the first control plane kube-vip uses the stronger kubeconfig (`failures.md` K07)."""
    golden, text = GIVEN / name, TEXTS[name].rstrip("\n") + "\n"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")

    assert golden.read_text(encoding="utf-8") == text
