"""All mistakes at once: none hides another that does not follow from it, in the same part or beside it."""

import itertools
from collections.abc import Callable

import pytest

from cpcd.spec import read_spec

TEXT = """\
apiVersion: cpcd.dev/v1alpha1
kind: Cluster
metadata: {name: home}
spec:
  version: v1.34.2
  infrastructure:
    proxmox:
      url: https://pve.home.arpa:8006
      credentialsRef: {file: /etc/cpcd/pve-token}
      ipv4Config: {addresses: [10.10.10.110-10.10.10.139, 10.10.10.150], prefix: 24, gateway: 10.10.10.1}
      allowedNodes: [pve1, pve2]
      vmIDRange: {start: 300, end: 399}
      availabilityZones:
        - {name: a, nodes: [pve1]}
        - {name: b, nodes: [pve2]}
  templates: [{name: t, templateID: 100}, {name: u, templateID: 101}]
  machineDefaults: {template: t}
  controlPlane: {replicas: 3, rollout: {strategy: {rollingUpdate: {maxSurge: 0}}}}
  workers:
    machineDeployments:
      - {name: general, rollout: {strategy: {rollingUpdate: {maxSurge: 1}}}}
      - {name: storage, machine: {template: u}}
  addons: [{name: x, preset: flannel}, {name: y, manifests: [{file: y.yaml}]}]
"""
DATA = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
MISTAKES = {
    "gateway": ("gateway: 10.10.10.1}", "gateway: 10.10.10}"),
    "pool": ("10.10.10.150]", "10.10.10.139]"),
    "zones of one name": ("{name: b, nodes", "{name: a, nodes"),
    "zone outside": ("nodes: [pve2]", "nodes: [pve3]"),
    "range": ("end: 399}", "end: 299}"),
    "known nowhere": ("end: 399", "end: 399, colour: red"),
    "template twice": ("{name: u, templateID: 101}", "{name: u, templateID: 101}, {name: t, templateID: 102}"),
    "unknown template": ("machineDefaults: {template: t", "machineDefaults: {template: zz"),
    "quorum": ("replicas: 3, ", "replicas: 1, "),
    "no surge": ("{maxSurge: 1}", "{maxSurge: 0}"),
    "deployments of one name": ("name: storage", "name: general"),
    "two choices": ("template: u}", "template: u, templateID: 9}"),
    "two good choices": ("template: u}", "template: u, templateID: 101}"),
    "cores": ("machineDefaults: {", "machineDefaults: {numCores: many, "),
    "addon of nothing": ("{name: y, manifests: [{file: y.yaml}]}", "{name: y}"),
    "name of an addon": ("{name: x, ", "{name: X, "),
    "name of a deployment": ("{name: general, ", "{name: General, "),
    "network": ("  addons:", "  clusterNetwork: {pods: {cidrBlocks: [10.10.0.0/16]}}\n  addons:"),
}
# What is told of both follows from both, or one changes what the other changes.
TOGETHER = [
    {"gateway", "network"}, {"pool", "network"}, {"two choices", "two good choices"}, {"range", "known nowhere"},
    {"deployments of one name", "name of a deployment"},
]  # fmt: skip


def said(*names: str) -> set[tuple[str, str]]:
    """Return where and what is said of the file with these mistakes."""
    text = TEXT
    for name in names:
        assert MISTAKES[name][0] in text, f"{name} must hit"
        text = text.replace(*MISTAKES[name])
    found = read_spec({"c": text.encode()}, referred={"y.yaml": DATA}).mistakes
    return {(mistake.path, mistake.message) for mistake in found}


def test_without_any_the_file_is_valid() -> None:
    """Else what is told below would be of something else."""
    assert set() == said()


@pytest.mark.parametrize("name", MISTAKES)
def test_each_is_told_once(name: str) -> None:
    """And nothing that only follows from it."""
    assert 1 == len(said(name))


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(MISTAKES, 2)))
def test_none_hides_another(one: str, other: str) -> None:
    """Whichever two are in a file, both are told as each alone."""
    if {one, other} in TOGETHER:
        return
    assert said(one) | said(other) == said(one, other)


@pytest.mark.parametrize(
    ("line", "doubled"),
    [
        ("  controlPlane: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: b, effect: No}]}",
         'controlPlane.taints[1]: another taint is called "a:NoSchedule"'),
        ("  controlPlane: {taints: [5, {key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}]}",
         'controlPlane.taints[2]: another taint is called "a:NoSchedule"'),
        ("  workers: {machineDeployments: [{name: a, taints: [&t {key: a, effect: NoExecute}, *t, {key: cpcd.dev/a, effect: NoExecute}]}]}",
         'workers.machineDeployments[0].taints[1]: another taint is called "a:NoExecute"'),
        ("  workers: {machineDeployments: [{name: a}, {name: A}, {name: a}]}",
         'workers.machineDeployments[2].name: another deployment is called "a"'),
        ("  templates: [{name: a, templateID: 100}, {name: a, templateID: 101}, {templateID: 102}]",
         'templates[1].name: another template is called "a"'),
        ("  addons: [{name: a, preset: flannel}, {name: A, preset: flannel}, {name: a, preset: flannel}]",
         'addons[2].name: another addon is called "a"'),
        ("  infrastructure: {proxmox: {allowedNodes: [pve1, pve_2, pve1]}}",
         'infrastructure.proxmox.allowedNodes[2]: another node is called "pve1"'),
        ("  infrastructure: {proxmox: {availabilityZones: [{name: a, nodes: [pve_1]}, {name: a, nodes: [pve2]}]}}",
         'infrastructure.proxmox.availabilityZones[1].name: another zone is called "a"'),
    ],
)  # fmt: skip
def test_what_is_there_twice_is_told_beside_a_mistaken_one(line: str, doubled: str) -> None:
    """What is wrong with one of a list says nothing of the others."""
    found = read_spec({"c": f"spec:\n{line}\n".encode()}).mistakes
    inside = [str(one) for one in found if "[" in one.path]

    assert 2 == len(inside), inside
    assert [f"spec.{doubled}; names are unique"] == [one.split(": ", 1)[1] for one in inside if doubled in one]


def test_two_templates_of_one_name_are_one_mistake(complaints: Callable[..., list[str]]) -> None:
    """Whichever of them goes, one is left, which a machine then need not name."""
    (said,) = complaints("  templates: [{name: t, templateID: 100}, {name: t, templateID: 101}]")

    assert 'spec.templates[1].name: another template is called "t"' in said
