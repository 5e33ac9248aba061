"""A field that cpcd cannot act on is refused by name; its harmless value is not."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cpcd.spec import read_spec
from cpcd.spec.paths import pattern
from cpcd.spec.suggestions import fields_at
from cpcd.spec.support import UNSUPPORTED, Unsupported

REFUSED = {
    "spec.controlPlaneEndpoint.provider": "  controlPlaneEndpoint: {provider: none}",
    "spec.naming.releaseLetter": "  naming: {releaseLetter: c}",
    "spec.templates.*.image": "  templates: [{name: a, image: {url: https://x}}]",
    "spec.templates.*.storage": "  templates: [{name: a, storage: local}]",
    "spec.templates.*.cpuType": "  templates: [{name: a, cpuType: host}]",
    "spec.templates.*.packages": "  templates: [{name: a, packages: [vim]}]",
    "spec.templates.*.test": "  templates: [{name: a, test: {boot: true}}]",
    "spec.templates.*.keep": "  templates: [{name: a, keep: 2}]",
    "spec.machineDefaults.templateSelector.matchPolicy": (
        "  machineDefaults: {templateSelector: {matchTags: [a], matchPolicy: exact}}"
    ),
    "spec.machineDefaults.disks.additionalVolumes": (
        "  machineDefaults: {disks: {additionalVolumes: [{disk: scsi1, sizeGb: 1}]}}"
    ),
    "spec.machineDefaults.network.networkDevices.1": (
        "  machineDefaults: {network: {networkDevices: [{name: net0}, {name: net1}]}}"
    ),
    "spec.machineDefaults.network.networkDevices.0.defaultIPv4": (
        "  machineDefaults: {network: {networkDevices: [{name: net0, defaultIPv4: false}]}}"
    ),
    "spec.machineDefaults.pciDevices": "  machineDefaults: {pciDevices: [{mapping: gpu0}]}",
    "spec.machineDefaults.numa": "  machineDefaults: {numa: true}",
    "spec.machineDefaults.highAvailability.enabled": "  machineDefaults: {highAvailability: {enabled: true}}",
    "spec.machineDefaults.highAvailability.state": "  machineDefaults: {highAvailability: {state: stopped}}",
    "spec.machineDefaults.ssh.keyRef": "  machineDefaults: {ssh: {keyRef: {file: /a}}}",
    "spec.registry": "  registry: {mirrors: {docker.io: https://x}}",
    "spec.containerd.version": "  containerd: {version: 2.1.0}",
    "spec.certificates.renewBefore": "  certificates: {renewBefore: 30d}",
    "spec.addons.*.chart": "  addons: [{name: a, chart: cilium}]",
    "spec.addons.*.preset": "  addons: [{name: a, preset: metallb}]",
    "spec.addons.*.repoURL": "  addons: [{name: a, manifests: [{file: a}], repoURL: https://x}]",
    "spec.addons.*.values": "  addons: [{name: a, manifests: [{file: a}], values: {b: 1}}]",
    "spec.addons.*.version": "  addons: [{name: a, manifests: [{file: a}], version: 1.2.3}]",
    "spec.addons.*.namespace": "  addons: [{name: a, manifests: [{file: a}], namespace: b}]",
    "spec.dns": "  dns: {pihole: {url: http://10.10.10.100}}",
    "spec.kubeconfig.server": "  kubeconfig: {server: api.home.arpa}",
    "spec.policy.timeouts.kubernetes": "  policy: {timeouts: {kubernetes: 3m}}",
    "spec.deletionPolicy": "  deletionPolicy: Destroy",
    "spec.deletionProtection": "  deletionProtection: false",
    "spec.healthCheck.remediation.ladder.*": "  healthCheck: {remediation: {ladder: [Rejoin]}}",
    "spec.policy.onFailure.dns": "  policy: {onFailure: {dns: Block}}",
    "spec.tasks": "  tasks: [{id: a, playbook: a.yml, hosts: workers}]",
    "spec.maintenance": '  maintenance: {timeWindow: {begin: "22:00", end: "02:00"}}',
    "spec.adopt": "  adopt: {vmids: [100]}",
    "spec.changePolicy.InPlace": "  changePolicy: {InPlace: Approve}",
}
CONTROL_PLANE = {
    "spec.controlPlane.kubeadmConfigSpec.initConfiguration": "kubeadmConfigSpec: {initConfiguration: {a: 1}}",
    "spec.controlPlane.kubeadmConfigSpec.joinConfiguration": "kubeadmConfigSpec: {joinConfiguration: {a: 1}}",
    "spec.controlPlane.kubeadmConfigSpec.files": "kubeadmConfigSpec: {files: [{path: /a}]}",
    "spec.controlPlane.kubeadmConfigSpec.preKubeadmCommands": "kubeadmConfigSpec: {preKubeadmCommands: [a]}",
    "spec.controlPlane.kubeadmConfigSpec.postKubeadmCommands": "kubeadmConfigSpec: {postKubeadmCommands: [a]}",
    "spec.controlPlane.rollout.before": "rollout: {before: {certificatesExpiryDays: 30}}",
    "spec.controlPlane.etcd.backup": "etcd: {backup: {directory: /a}}",
    "spec.controlPlane.machine.numa": "machine: {numa: true}",
}
DEPLOYMENT = {
    "spec.workers.machineDeployments.*.rollout.before": "rollout: {before: {certificatesExpiryDays: 30}}",
    "spec.workers.machineDeployments.*.autoscale": "autoscale: {min: 1, max: 3}",
    "spec.workers.machineDeployments.*.machines": "machines: {general-1: {locked: true}}",
    "spec.workers.machineDeployments.*.machine.numa": "machine: {numa: true}",
}
PROXMOX = {
    "spec.infrastructure.proxmox.dhcp4": "dhcp4: true",
    "spec.infrastructure.proxmox.ipv6Config": "ipv6Config: {addresses: [], prefix: 64, gateway: fe80::1}",
    "spec.infrastructure.proxmox.storage.images": "storage: {images: local}",
}


def refused(text: str) -> list[str]:
    """Return the paths that are not supported yet."""
    reading = read_spec({"cluster.yaml": text.encode()})
    return [mistake.path for mistake in reading.mistakes if mistake.message.startswith("not supported yet (")]


def dotted(path: str) -> str:
    """Return a path in the way of the table."""
    return path.replace("[", ".").replace("]", "")


def expected_path(row: str) -> str:
    """Return the path of the one place that the tests fill."""
    return row.replace("*", "0")


@pytest.mark.parametrize(("row", "line"), REFUSED.items())
def test_a_field_of_the_spec_is_refused_by_name(valid: str, row: str, line: str) -> None:
    """Whatever cannot be acted on is named, not ignored."""
    assert [expected_path(row)] == [dotted(path) for path in refused(f"{valid}{line}\n")]


@pytest.mark.parametrize(("row", "field"), CONTROL_PLANE.items())
def test_a_field_of_the_control_plane_is_refused_by_name(valid: str, row: str, field: str) -> None:
    """The same for control planes."""
    assert [expected_path(row)] == [dotted(path) for path in refused(valid.replace("{replicas: 1}", f"{{{field}}}"))]


@pytest.mark.parametrize(("row", "field"), DEPLOYMENT.items())
def test_a_field_of_a_deployment_is_refused_by_name(valid: str, row: str, field: str) -> None:
    """The same for workers."""
    assert [expected_path(row)] == [dotted(path) for path in refused(valid.replace("replicas: 2", field))]


@pytest.mark.parametrize(("row", "field"), PROXMOX.items())
def test_a_field_of_the_proxmox_is_refused_by_name(valid: str, row: str, field: str) -> None:
    """The same for Proxmox."""
    text = valid.replace("      url:", f"      {field}\n      url:")

    assert [expected_path(row)] == [dotted(path) for path in refused(text)]


def test_sops_and_metric_are_refused_by_name(valid: str) -> None:
    """Two fields deeper down."""
    text = valid.replace("{file: /etc/cpcd/pve-token}", "{sops: {file: a, key: b}}").replace(
        "prefix:", "metric: 5, prefix:"
    )

    assert sorted(refused(text)) == [
        "spec.infrastructure.proxmox.credentialsRef.sops", "spec.infrastructure.proxmox.ipv4Config.metric",
    ]  # fmt: skip


def test_every_row_of_the_table_has_a_test() -> None:
    """A row that no test refuses could be misspelt; machine fields are tried where they are shortest."""
    tried = {*REFUSED, *CONTROL_PLANE, *DEPLOYMENT, *PROXMOX}
    tried |= {f"spec.infrastructure.proxmox.{end}" for end in ("credentialsRef.sops", "ipv4Config.metric")}
    rest = {row.path for row in UNSUPPORTED} - tried
    others = {
        path for path in rest
        if path.startswith(("spec.controlPlane.machine.", "spec.workers.machineDeployments.*.machine."))
        or ".networkDevices." in path
    }  # fmt: skip

    assert set() == rest - others


@pytest.mark.parametrize("row", UNSUPPORTED, ids=lambda row: row.path)
def test_every_row_names_a_field_of_the_models(row: Unsupported) -> None:
    """A row about a field that does not exist would never refuse anything."""
    *parents, field = pattern(row.path)
    fields = fields_at(tuple(int(part) if part.isdigit() else 0 if part == "*" else part for part in parents))

    assert field == "*" or field.isdigit() or field in fields


def test_the_message_says_what_and_why(complaints: Callable[..., list[str]]) -> None:
    """The sentence holds the words that the issue promises, and the field's name."""
    assert complaints("  tasks: [{id: a, playbook: a.yml, hosts: workers}]") == [
        "cluster.yaml:13:3: spec.tasks: not supported yet (tasks): own playbooks are not run"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  healthCheck: {remediation: {ladder: [Start, Rejoin]}}", "(ladder: Rejoin): the rungs are Start, Reset and Replace"),
        ("  machineDefaults: {network: {networkDevices: [{}, {name: net1}]}}", "(networkDevices): machines have one network device, net0"),
        ("  machineDefaults: {numa: true}", "(numa: true): NUMA is not shown to guests"),
        ("  machineDefaults: {ssh: {keyRef: geheim}}", "(keyRef): cpcd makes a key of its own in the state directory"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_said_by_name_and_value(
    complaints: Callable[..., list[str]], line: str, said: str
) -> None:
    """An index is no name, and of two values only one may be supported; what could be a secret is not repeated."""
    (found,) = [one for one in complaints(line) if "not supported yet" in one]

    assert found.endswith(f"not supported yet {said}")


@pytest.mark.parametrize(
    "line",
    [
        "  dns: null", "  tasks: []", "  machineDefaults: {numa: false, highAvailability: {enabled: false}}",
        "  controlPlaneEndpoint: {provider: kube-vip}", "  policy: {onFailure: {dns: Warn}}", "  registry: {}",
        "  addons: [{name: a, manifests: [{file: a}], preset: null}]", "  addons: [{name: a, preset: flannel}]",
    ],
)  # fmt: skip
def test_values_that_mean_nothing_are_harmless(complaints: Callable[..., list[str]], line: str) -> None:
    """What `--show-defaults` prints can be used as a file."""
    assert complaints(line) == []


def test_support_is_told_beside_other_mistakes(complaints: Callable[..., list[str]]) -> None:
    """A wrong field elsewhere does not hide that another is not supported."""
    assert len(complaints("  tasks: [{id: a, playbook: a.yml, hosts: workers}]\n  paused: 1")) == 2


def test_the_table_does_not_reach_supported_fields() -> None:
    """The fields of the full example are not in the table."""
    rows: Mapping[str, Any] = {row.path: row for row in UNSUPPORTED}

    assert not {"spec.templates.*.templateID", "spec.addons.*.manifests", "spec.healthCheck", "spec.paused"} & set(rows)
