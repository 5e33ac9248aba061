"""A small valid spec, and what becomes of it when a line is changed."""

from collections.abc import Callable

import pytest
from hypothesis import settings

from cpcd.spec import read_spec

# How long an example takes says nothing on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

VALID = """\
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {name: home}
spec:
  version: v1.34.2
  infrastructure:
    proxmox:
      url: https://pve.home.arpa:8006
      credentialsRef: {file: /etc/cpcd/pve-token}
      ipv4Config: {addresses: [10.10.10.110-10.10.10.139], prefix: 24, gateway: 10.10.10.1}
  controlPlane: {replicas: 1}
  workers: {machineDeployments: [{name: general, replicas: 2}]}
"""


@pytest.fixture
def valid() -> str:
    """The text of a small valid spec of 12 lines."""
    return VALID


@pytest.fixture
def complaints() -> Callable[..., list[str]]:
    """Return the mistakes of the valid spec with one text replaced by another (or a line added at its end)."""

    def of(*change: str) -> list[str]:
        text = VALID.replace(*change) if len(change) == 2 else VALID + change[0] + "\n"
        assert text != VALID, "the change must hit"
        return [str(mistake) for mistake in read_spec({"cluster.yaml": text.encode()}).mistakes]

    return of
