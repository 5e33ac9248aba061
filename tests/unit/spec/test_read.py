"""From a file to its mistakes: each kind with line, column, path, sentence and suggestion."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.spec import listing, read_spec

Complaints = Callable[..., list[str]]
PROXMOX = "spec.infrastructure.proxmox"
CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_a_valid_spec_has_no_mistakes(valid: str) -> None:
    """The smallest file is read with every default filled in."""
    reading = read_spec({"cluster.yaml": valid.encode()})

    assert (
        reading.mistakes, reading.documents[0].name, reading.documents[0].spec.machine_defaults.memory_mib,
    ) == ((), "home", 8192)  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("controlPlane:", "controlPlan:", "11:3: spec.controlPlan: unknown key; did you mean controlPlane?"),
        (
            "replicas: 2", "numCores: 2",
            "12:50: spec.workers.machineDeployments[0].numCores: unknown key; it belongs into machine",
        ),
        (
            "{name: home}", "{name: home, colour: red}",
            "3:24: metadata.colour: unknown key; known here: name",
        ),
        ("  version: v1.34.2\n", "", "4:1: spec.version: is missing"),
        (
            "replicas: 1}", "replicas: 2}",
            ("11:28: spec.controlPlane.replicas: must be odd (1, 3 or 5), not 2; "
            "etcd needs a majority, and an even member adds risk but no tolerance"),
        ),
        (
            "v1.34.2", "1.34.2",
            '5:12: spec.version: must be a full Kubernetes version such as v1.34.2, not "1.34.2"; did you mean v1.34.2?',
        ),
        ("v1.34.2", "1.34", "5:12: spec.version: must be a Kubernetes version such as v1.34.2, not 1.34"),
        (
            "v1.34.2", "v1.29.0",
            "5:12: spec.version: v1.29.0 is too old; v1.31 is the first whose kubeadm reads the v1beta4 configuration",
        ),
        (
            "{name: home}", "{name: Home}",
            '3:18: metadata.name: must be lower-case letters, digits and dashes, not "Home"',
        ),
        ("{name: home}", "{name: 5}", '3:18: metadata.name: must be text, not 5; put it in quotes: "5"'),
        ("{name: home}", "[home]", "3:11: metadata: must be a mapping, not a list"),
        ("v1alpha1", "v1", "1:13: apiVersion: must be 'cpcd.dev/v1alpha1', not \"cpcd.dev/v1\"; did you mean cpcd.dev/v1alpha1?"),
        ("replicas: 2", 'replicas: "2"', '12:60: spec.workers.machineDeployments[0].replicas: must be a whole number, not "2"'),
        ("replicas: 2", "replicas: -2", "12:60: spec.workers.machineDeployments[0].replicas: must be at least 0, not -2"),
        (
            "https://", "http://",
            (f"8:12: {PROXMOX}.url[0]: must be an address such as https://pve.home.arpa:8006, "
            'not "http://pve.home.arpa:8006"'),
        ),
        (
            "10.10.10.110-10.10.10.139", "10.10.11.110-10.10.11.139",
            (f"10:32: {PROXMOX}.ipv4Config.addresses[0]: 10.10.11.110-10.10.11.139 is not inside 10.10.10.0/24, "
            "the network of gateway 10.10.10.1 with prefix 24"),
        ),
        (
            "10.10.10.110-10.10.10.139", "10.10.10.139-10.10.10.110",
            (f"10:32: {PROXMOX}.ipv4Config.addresses[0]: runs backwards: 10.10.10.139 is behind 10.10.10.110; "
            "write 10.10.10.110-10.10.10.139"),
        ),
        (
            "10.10.10.110-", "10.10.10.1-",
            f"10:32: {PROXMOX}.ipv4Config.addresses[0]: 10.10.10.1-10.10.10.139 holds 10.10.10.1, the gateway",
        ),
        (
            "https://pve.home.arpa:8006", "https://pve:99999",
            (f'8:12: {PROXMOX}.url[0]: port 99999 of "https://pve:99999" does not exist; '
            "ports are 1 to 65535; Proxmox's own is 8006"),
        ),
        (
            "https://pve.home.arpa:8006", "https://a..b:8006",
            f'8:12: {PROXMOX}.url[0]: must be an address such as https://pve.home.arpa:8006, not "https://a..b:8006"',
        ),
        (
            "https://pve.home.arpa:8006", "https://-:1",
            f'8:12: {PROXMOX}.url[0]: must be an address such as https://pve.home.arpa:8006, not "https://-:1"',
        ),
        (
            "https://pve.home.arpa:8006", "https://10.10.10.300:8006",
            f'8:12: {PROXMOX}.url[0]: must be an IPv4 address, not "10.10.10.300"',
        ),
        ("10.10.10.110-10.10.10.139", "10.0.0.0/9", f"10:32: {PROXMOX}.ipv4Config.addresses[0]: holds 8,388,606 addresses, at most 65,536 are used"),
        ("prefix: 24", "prefix: 33", f"10:68: {PROXMOX}.ipv4Config.prefix: must be at most 30, not 33"),
        (
            "10.10.10.110-10.10.10.139", "10.10.10.110-10.10.10.112",
            f"10:31: {PROXMOX}.ipv4Config.addresses: hold 3 addresses, but 3 machines and the endpoint need 4",
        ),
        ("kind: Cluster", "kind: ConfigMap", '2:7: kind: must be Cluster, not "ConfigMap"; manifests go into a directory of their own'),
        (
            "      credentialsRef", "      tls: {caFile: /etc/cpcd/ca.pem, fingerprint: '" + "ab" * 32 + "'}\n      credentialsRef",
            f"9:21: {PROXMOX}.tls.caFile: does nothing beside fingerprint, which is trusted whatever signed it; leave one of them out",
        ),
        (
            "139], prefix: 24, gateway: 10.10.10.1}",
            "112], prefix: 24, gateway: 10.10.10.1}\n  controlPlaneEndpoint: {provider: external, host: 10.10.10.111}",
            f"10:31: {PROXMOX}.ipv4Config.addresses: hold 3 addresses, but 3 machines and the endpoint need 4",
        ),
        ("kind: Cluster", "kind: cluster", '2:7: kind: must be Cluster, not "cluster"; did you mean Cluster?'),
        ("kind: Cluster", "kind: [Cluster]", "2:7: kind: must be Cluster, not a list; manifests go into a directory of their own"),
        ("gateway: 10.10.10.1", "gateway: 10.10.10.0", f"10:81: {PROXMOX}.ipv4Config.gateway: 10.10.10.0 is the network's own address; write a host of 10.10.10.0/24"),
        ("gateway: 10.10.10.1", "gateway: 10.10.10.255", f"10:81: {PROXMOX}.ipv4Config.gateway: 10.10.10.255 is the broadcast address; write a host of 10.10.10.0/24"),
        ("[10.10.10.110-10.10.10.139]", "[]", f"10:31: {PROXMOX}.ipv4Config.addresses: must not be empty"),
        ("      credentialsRef", "      dnsServers: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5]\n      credentialsRef", f"9:19: {PROXMOX}.dnsServers: must hold at most 3, not 5"),
        ("[{name: general, replicas: 2}]", "[{<<: {replicas: 2}, name: general}]", "12:35: spec.workers.machineDeployments[0]: merge keys (<<) are not read; `machine` already overrides machineDefaults"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place_and_sentence(complaints: Complaints, old: str, new: str, expected: str) -> None:
    """A changed text gives exactly one mistake, where it stands."""
    assert [f"cluster.yaml:{expected}"] == complaints(old, new)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  paused: no", '13:11: spec.paused: must be true or false, not "no"; only true and false are booleans'),
        ("  kubeconfig:", "13:14: spec.kubeconfig: must be a mapping, not null; remove the key, or write its value"),
        (
            "  changePolicy: {Destroy: approve}",
            "13:27: spec.changePolicy.Destroy: must be 'Auto', 'Approve' or 'Never', not \"approve\"; did you mean Approve?",
        ),
        (
            "  machineDefaults: {timezone: Europe/Atlantis}",
            '13:31: spec.machineDefaults.timezone: "Europe/Atlantis" is no time zone; `timedatectl list-timezones` lists them',
        ),
        (
            "  healthCheck: {nodeStartupTimeout: 15}",
            "13:37: spec.healthCheck.nodeStartupTimeout: must be a duration with a unit, such as 30s, 5m or 1h30m, not 15",
        ),
        (
            "  healthCheck: {unhealthyNodeConditions: [{type: Ready, status: False, timeout: 5m}]}",
            ("13:65: spec.healthCheck.unhealthyNodeConditions[0].status: must be 'True', 'False' or 'Unknown', "
            'not false; put it in quotes: "False"'),
        ),
        (
            '  healthCheck: {unhealthyNodeConditions: [{type: Ready, status: "True", timeout: 5m}]}',
            ('13:65: spec.healthCheck.unhealthyNodeConditions[0].status: must not be "True" for Ready, which healthy nodes '
            'say: each would be reset; write "False" or "Unknown"'),
        ),
        (
            '  healthCheck: {unhealthyNodeConditions: [{type: DiskPressure, status: "False", timeout: 5m}]}',
            ('13:72: spec.healthCheck.unhealthyNodeConditions[0].status: must not be "False" for DiskPressure, which healthy '
            'nodes say: each would be reset; write "True"'),
        ),
        (
            '  healthCheck: {unhealthyNodeConditions: [{type: Ready, status: "False", timeout: 0s}]}',
            '13:83: spec.healthCheck.unhealthyNodeConditions[0].timeout: must be more than 0, not "0s"',
        ),
        ("  healthCheck: {nodeStartupTimeout: 0s}", '13:37: spec.healthCheck.nodeStartupTimeout: must be more than 0, not "0s"'),
        (
            "  healthCheck: {remediation: {ladder: [Replace, Start]}}",
            "13:39: spec.healthCheck.remediation.ladder: must go from soft to hard; write [Start, Replace]",
        ),
        (
            "  healthCheck: {remediation: {unhealthyLessThanOrEqualTo: 40}}",
            "13:59: spec.healthCheck.remediation.unhealthyLessThanOrEqualTo: must be a percentage such as 40%, not 40",
        ),
        (
            "  machineDefaults: {memoryMiB: 4Gb}",
            '13:32: spec.machineDefaults.memoryMiB: must be a whole number of MiB or a size such as 4Gi, not "4Gb"',
        ),
        ("  machineDefaults: {memoryMiB: 64}", "13:32: spec.machineDefaults.memoryMiB: must be at least 256, not 64"),
        (
            "  machineDefaults: {templateID: 9000, template: a}",
            "13:33: spec.machineDefaults.templateID: template and templateID choose the template twice; keep one of them",
        ),
        (
            "  machineDefaults: {template: ubuntu}",
            '13:31: spec.machineDefaults.template: no template is called "ubuntu"; spec.templates lists them',
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [10.42.1.0/16]}}",
            '13:40: spec.clusterNetwork.pods.cidrBlocks[0]: "10.42.1.0/16" is no network address; did you mean 10.42.0.0/16?',
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [10.42.0.0/25]}}",
            "13:40: spec.clusterNetwork.pods.cidrBlocks[0]: 10.42.0.0/25 is too small for kubeadm; /24 is the smallest",
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [10.42.0.0/24]}}",
            "13:40: spec.clusterNetwork.pods.cidrBlocks[0]: 10.42.0.0/24 has a /24 for 1 Node, but with rollouts there may be 5; /21 is enough",
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [44.0.0.0/7]}}",
            "13:40: spec.clusterNetwork.pods.cidrBlocks[0]: 44.0.0.0/7 is too large for kubeadm; /8 is the largest",
        ),
        (
            "  clusterNetwork: {services: {cidrBlocks: [10.99.0.0/29]}}",
            "13:44: spec.clusterNetwork.services.cidrBlocks[0]: 10.99.0.0/29 is too small for kubeadm; /28 is the smallest",
        ),
        (
            "  clusterNetwork: {services: {cidrBlocks: [10.96.0.0/11]}}",
            "13:44: spec.clusterNetwork.services.cidrBlocks[0]: 10.96.0.0/11 is too large for kubeadm; /12 is the largest",
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [10.43.0.0/17]}}",
            "13:3: spec.clusterNetwork.services.cidrBlocks[0]: 10.43.0.0/16 overlaps the pods' network 10.43.0.0/17",
        ),
        (
            "  clusterNetwork: {pods: {cidrBlocks: [10.10.0.0/16]}}",
            "13:40: spec.clusterNetwork.pods.cidrBlocks[0]: 10.10.0.0/16 overlaps the machines' network 10.10.10.0/24",
        ),
        (
            "  controlPlaneEndpoint: {host: 10.10.11.4}",
            "13:32: spec.controlPlaneEndpoint.host: 10.10.11.4 is not inside the machines' network 10.10.10.0/24",
        ),
        (
            "  controlPlaneEndpoint: {host: api.home.arpa}",
            '13:32: spec.controlPlaneEndpoint.host: must be an address for kube-vip, not "api.home.arpa"; names go to extraSANs',
        ),
        (
            "  controlPlaneEndpoint: {provider: external}",
            "13:3: spec.controlPlaneEndpoint.host: is missing; an external endpoint is named here",
        ),
        (
            '  naming: {hostname: "{cluster}-{index}"}',
            "13:22: spec.naming.hostname: must hold {role} and {index}; else two machines would share a name",
        ),
        (
            '  naming: {hostname: "{host}-{role}-{index}"}',
            "13:22: spec.naming.hostname: {host} is no placeholder; there are {cluster}, {role} and {index}",
        ),
        (
            "  addons: [{name: a, manifests: [{file: ../x.yaml}]}]",
            ('13:41: spec.addons[0].manifests[0].file: "../x.yaml" leaves the spec\'s directory; '
            "write a path relative to it, without .."),
        ),
        ("  addons: [{name: a}]", "13:12: spec.addons[0]: names no manifests; such as manifests: [{file: extras/*.yaml}]"),
        (
            "  addons: [{name: a, manifests: [{file: x}]}, {name: a, manifests: [{file: y}]}]",
            '13:54: spec.addons[1].name: another addon is called "a"; names are unique',
        ),
        (
            "  templates: [{name: a, templateID: 100}, {name: b, templateID: 101}]\n  machineDefaults: {template: c}",
            '14:31: spec.machineDefaults.template: no template is called "c"; spec.templates lists them',
        ),
    ],
)  # fmt: skip
def test_each_mistake_of_an_added_line(complaints: Complaints, line: str, expected: str) -> None:
    """An added line gives exactly one mistake, where it stands."""
    assert [f"cluster.yaml:{expected}"] == complaints(line)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("vmIDRange: {start: 99, end: 300}", "vmIDRange.start: must be at least 100, not 99"),
        ("vmIDRange: {start: 300, end: 299}", "vmIDRange.end: must not be below start (300), it is 299"),
        ("vmIDRange: {start: 300, end: 301}", "vmIDRange: holds 2 VMIDs, but there are 3 machines"),
        (
            "availabilityZones: [{name: a, nodes: [p1]}, {name: b, nodes: [p1]}]",
            'availabilityZones[1].nodes[0]: node p1 is already in zone "a"',
        ),
        (
            "availabilityZones: [{name: a, nodes: [p1]}, {name: a, nodes: [p2]}]",
            'availabilityZones[1].name: another zone is called "a"; names are unique',
        ),
        (
            "allowedNodes: [p2]\n      availabilityZones: [{name: a, nodes: [p1]}]",
            "availabilityZones[0].nodes[0]: node p1 is not one of allowedNodes; p2",
        ),
        (
            "tls: {fingerprint: 12AB}",
            "tls.fingerprint: must be a certificate's SHA-256: 64 hexadecimal digits, with or without colons",
        ),
    ],
)
def test_mistakes_of_the_proxmox_part(complaints: Complaints, change: str, expected: str) -> None:
    """What one part can judge by itself is judged there."""
    found = complaints("      credentialsRef:", f"      {change}\n      credentialsRef:")

    assert [f"{PROXMOX}.{expected}"] == [said.split(": ", 1)[1] for said in found]


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        ("{name: cp}", "name: cp is kept for the control planes; choose another name"),
        (
            "{name: a, rollout: {strategy: {rollingUpdate: {maxSurge: 0}}}}",
            (
                "rollout.strategy.rollingUpdate.maxSurge: must not be 0 while maxUnavailable is 0; "
                "nothing could ever be replaced"
            ),
        ),
        ("{name: a, failureDomain: z}", 'failureDomain: no zone is called "z"; availabilityZones names none'),
        (
            "{name: a, taints: [{key: a b, effect: NoSchedule}]}",
            'taints[0].key: must be a label key such as example.org/tier, not "a b"',
        ),
        (
            "{name: a, machine: {ssh: {keys: [AAAA]}}}",
            'machine.ssh.keys[0]: must be a public key line such as ssh-ed25519 AAAA…, not "AAAA"',
        ),
    ],
)
def test_mistakes_of_a_deployment(complaints: Complaints, deployment: str, expected: str) -> None:
    """Deployments are judged one by one."""
    found = complaints("{name: general, replicas: 2}", deployment)

    assert [f"spec.workers.machineDeployments[0].{expected}"] == [said.split(": ", 1)[1] for said in found]


def test_ranges_hold_no_more_together_than_one_may(valid: str) -> None:
    """Each address is looked at one by one, whatever range it is of."""
    text = valid.replace("10.10.10.110-10.10.10.139", "10.0.0.2-10.0.255.255, 10.1.0.0-10.1.255.255")
    text = text.replace("prefix: 24, gateway: 10.10.10.1", "prefix: 8, gateway: 10.0.0.1")
    text += "  clusterNetwork: {pods: {cidrBlocks: [172.16.0.0/16]}, services: {cidrBlocks: [172.17.0.0/16]}}\n"

    assert [str(mistake) for mistake in read_spec({"c": text.encode()}).mistakes] == [
        f"c:10:31: {PROXMOX}.ipv4Config.addresses: hold 131,070 addresses, at most 65,536 are used"
    ]


def test_two_deployments_of_one_name(complaints: Complaints) -> None:
    """The second one is at fault."""
    found = complaints("{name: general, replicas: 2}", "{name: a}, {name: a}")

    assert found == [
        'cluster.yaml:12:52: spec.workers.machineDeployments[1].name: another deployment is called "a"; names are unique'
    ]


def test_a_control_plane_without_a_spare_needs_three(complaints: Complaints) -> None:
    """Replacing the only member without a surge would lose etcd."""
    found = complaints("{replicas: 1}", "{replicas: 1, rollout: {strategy: {rollingUpdate: {maxSurge: 0}}}}")

    assert len(found) == 1
    assert "rollingUpdate.maxSurge: must be 1 with fewer than 3 replicas" in found[0]


def test_several_templates_must_be_chosen_from(complaints: Complaints) -> None:
    """With several templates and no word about which, nothing is guessed."""
    found = complaints("  templates: [{name: a, templateID: 100}, {name: b, templateID: 101}]")

    assert sorted((said.split(": ", 1)[1] for said in found), reverse=True) == [
        "spec.workers.machineDeployments[0].machine: names no template, and there are several; template: a or b",
        "spec.controlPlane.machine: names no template, and there are several; template: a or b",
    ]


def test_a_literal_secret_is_not_repeated(valid: str) -> None:
    """A token typed where its reference belongs shows neither in the sentence nor in the listing."""
    text = valid.replace("{file: /etc/cpcd/pve-token}", '"root@pam!cpcd=0f0f-5eed"')
    files = {"cluster.yaml": text.encode()}
    reading = read_spec(files)

    assert [f"cluster.yaml:9:23: {PROXMOX}.credentialsRef: must be a mapping"] == [str(m) for m in reading.mistakes]
    assert "5eed" not in listing(reading.mistakes, files)


@pytest.mark.parametrize(
    "url",
    [
        "https://root:hunter2@pve.home.arpa:8006", "https://root@pam:hunter2@pve.home.arpa", "root:hunter2@pve.home.arpa",
        "https://root:hunter2/slashed@pve.home.arpa", f"https://{'r' * 300}:hunter2@pve.home.arpa", "https://hunter2@pve",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["url: https://pve.home.arpa:8006", "{name: home}", "{file: /etc/cpcd/pve-token}"])
def test_a_password_in_a_url_is_not_repeated(valid: str, url: str, place: str) -> None:
    """Neither in the sentence, which goes into status, log and history, nor in the line below it."""
    text = valid.replace(place, f"url: '{url}'" if place.startswith("url") else f"'{url}'")
    files = {"cluster.yaml": text.encode()}
    reading = read_spec(files)

    assert 1 == len(reading.mistakes)
    assert "hunter2" not in listing(reading.mistakes, files)
    assert "hunter2" not in str(reading.mistakes)


def test_an_excerpt_with_stars_is_as_long_as_the_line(valid: str) -> None:
    """So that the caret stands where it stood, and what is no login is shown as it is."""
    files = {"c": valid.replace("https://pve.home.arpa:8006", "https://root:pw@pve # ask admin@home").encode()}
    said = listing(read_spec(files).mistakes, files).splitlines()

    assert said[1:3] == ["          url: https://*******@pve # ask admin@home", "               ^"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{}", "credentialsRef: must name exactly one of file, systemdCredential or env; such as {file: /etc/cpcd/pve-token}"),
        (
            "{file: /a, env: B}",
            "credentialsRef: must name exactly one of file, systemdCredential or env; such as {file: /etc/cpcd/pve-token}",
        ),
        ("{file: token}", "credentialsRef.file: must be an absolute path"),
        ("{env: a-b}", "credentialsRef.env: must be a variable's name"),
        ("{token: abc}", "credentialsRef.token: unknown key; known here: env, file, sops, systemdCredential"),
    ],
)  # fmt: skip
def test_mistakes_of_a_reference(complaints: Complaints, reference: str, expected: str) -> None:
    """A reference names one kind; what was typed is not repeated."""
    found = complaints("{file: /etc/cpcd/pve-token}", reference)

    assert f"{PROXMOX}.{expected}" in [said.split(": ", 1)[1] for said in found]


def test_all_mistakes_are_told_at_once_in_order(valid: str) -> None:
    """Mistakes of shape, of support and of several files come together, sorted by place."""
    broken = valid.replace("v1.34.2", "latest").replace("replicas: 1}", "replicas: 4}") + "  dns: {records: {}}\n"
    reading = read_spec({"b.yaml": broken.encode(), "a.yaml": b"a: 1\na: 2\n"})
    places = [(mistake.file, mistake.line) for mistake in reading.mistakes]

    assert places == sorted(places)
    assert {("a.yaml", 2), ("b.yaml", 5), ("b.yaml", 11), ("b.yaml", 13)} <= set(places)


def test_no_file_at_all_is_a_mistake() -> None:
    """An empty directory never means that everything shall go (`failures.md` F04)."""
    assert [str(m) for m in read_spec({}).mistakes] == ["spec: no file; an absent spec never means: delete everything"]


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"- a", b"{}", b"null"])
def test_a_file_without_a_cluster_is_a_mistake(content: bytes) -> None:
    """Whatever parses but is no cluster is refused too."""
    assert read_spec({"cluster.yaml": content}).mistakes


def test_a_manifest_that_is_not_there_is_a_mistake(valid: str) -> None:
    """Referred files are part of the spec; a pattern that matches none is a slip of the pen."""
    text = valid + "  addons: [{name: a, manifests: [{file: extras/*.yaml}]}]\n"
    found = read_spec({"cluster.yaml": text.encode()}, referred={"other/a.yaml": CONFIG}).mistakes

    assert [str(mistake) for mistake in found] == [
        "cluster.yaml:13:41: spec.addons[0].manifests[0].file: no file is called extras/*.yaml; is it committed?"
    ]


def test_every_broken_manifest_is_told_with_its_place(valid: str) -> None:
    """All of them, beside the mistakes of the spec, by the path from where the spec is."""
    text = valid.replace("v1.34.2", "latest") + "  addons: [{name: a, manifests: [{file: extras/*.yaml}]}]\n"
    referred = {
        "extras/a.yaml": b"a: [1\n",
        "extras/b.yaml": CONFIG,
        "extras/c.yaml": b"kind: A\nmetadata: {name: c}\n",
    }
    found = read_spec({"infra/cluster.yaml": text.encode()}, referred=referred).mistakes

    assert [(mistake.file, mistake.line, mistake.column) for mistake in found] == [
        ("infra/cluster.yaml", 5, 12), ("infra/extras/a.yaml", 2, 1), ("infra/extras/c.yaml", 1, 1),
    ]  # fmt: skip


def test_a_name_that_is_no_text_is_a_mistake(valid: str) -> None:
    """As the file system gives it; it would be in the ledger and in every message."""
    name = b"clust\xff.yaml".decode("utf-8", "surrogateescape")

    assert [str(mistake) for mistake in read_spec({name: valid.encode()}).mistakes] == [
        r"clust\xff.yaml: the file's name is not UTF-8; rename it"
    ]


ALONE = {
    "pods": "  clusterNetwork: {services: {cidrBlocks: [10.42.0.0/17]}}",
    "zone": "  workers: {machineDeployments: [{name: a, failureDomain: z}]}",
    "template": "  machineDefaults: {template: z}",
    "endpoint": "  controlPlaneEndpoint: {host: 10.10.11.4}",
    "addons": "  addons: [{name: a, preset: flannel}, {name: a, preset: flannel}]",
}


@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.parametrize(
    "wrong",
    [
        ("v1.34.2", "latest"), ("  version: v1.34.2\n", ""), ("https://pve", "http://pve"), ("{name: home}", "{name: Home}"),
        ("kind: Cluster", "kind: Cluster\ncolour: red"), ("{replicas: 1}", "{replicas: 2}"), ("{file: /etc/", "{file: etc/"),
    ],
)  # fmt: skip
def test_a_wrong_shape_hides_no_other_mistake(valid: str, alone: str, wrong: tuple[str, str]) -> None:
    """The wrong part is taken out, and what does not look at it is checked."""
    other = ALONE[alone]
    whole = valid.replace("  workers: {machineDeployments: [{name: general, replicas: 2}]}\n", "") + f"{other}\n"
    both = [str(mistake) for mistake in read_spec({"c": whole.replace(*wrong).encode()}).mistakes]
    (hidden,) = [str(mistake).partition(": ")[2] for mistake in read_spec({"c": whole.encode()}).mistakes]

    assert len(both) == 2
    assert hidden in [said.partition(": ")[2] for said in both]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("replicas: 2}", "replicas: many, failureDomain: a}"),
        ("prefix: 24", "prefix: 240"),
        ("10.10.10.110-10.10.10.139", "10.10.10.110-10.10.10.1390"),
        ("controlPlane:", "templats: [{name: z}]\n  machineDefaults: {template: z}\n  controlPlane:"),
        ("controlPlane:", "templates: [{name: Z}]\n  machineDefaults: {template: z}\n  controlPlane:"),
        ("controlPlane:", "availabilityZones: [{name: z, nodes: [pve1]}]\n  controlPlane:"),
        ("workers:", "workrs:"),
    ],
)  # fmt: skip
def test_one_mistake_is_told_once_and_not_by_what_follows_from_it(valid: str, old: str, new: str) -> None:
    """What looks at a part that is gone would find a mistake that nobody made."""
    zoned = valid.replace(
        "      credentialsRef", "      availabilityZones: [{name: a, nodes: [pve1]}]\n      credentialsRef"
    )
    text = (valid if "availabilityZones" in new else zoned).replace(old, new)
    text = text.replace("replicas: 2}", "replicas: 2, failureDomain: z}") if "availabilityZones" in new else text

    assert 1 == len(read_spec({"c": text.encode()}).mistakes)


def test_a_wrong_shape_hides_no_clash_of_clusters(valid: str) -> None:
    """Only what the other cluster is compared by must be right."""
    other = valid.replace("{name: home}", "{name: work}").replace("v1.34.2", "latest")
    found = read_spec({"a.yaml": valid.encode(), "b.yaml": other.encode()}).mistakes

    assert [mistake.path for mistake in found] == ["spec.version", f"{PROXMOX}.ipv4Config.addresses[0]"]


@pytest.mark.parametrize(
    ("defaults", "general", "refused"),
    [("full: false", "{}", 1), ("full: false", "{full: true}", 0), ("full: true", "{full: false}", 0), ("{}", "{}", 0)],
)
def test_a_storage_that_no_machine_would_be_on_is_refused(
    valid: str, defaults: str, general: str, refused: int
) -> None:
    """Linked clones stay where their template is, so the field would be accepted and ignored."""
    text = valid.replace("      credentialsRef", "      storage: {disks: fast}\n      credentialsRef")
    text = text.replace("replicas: 2}", f"replicas: 2, machine: {general}}}")
    text += f"  machineDefaults: {{{defaults.strip('{}')}}}\n"
    why = "9:24: spec.infrastructure.proxmox.storage.disks: does nothing: every machine is a linked clone"

    assert refused == sum(why in str(mistake) for mistake in read_spec({"c": text.encode()}).mistakes)
    assert refused == len(read_spec({"c": text.encode()}).mistakes)


def test_the_listing_shows_the_line_and_a_caret(valid: str) -> None:
    """In a terminal each mistake stands above its line, with a caret under the place, and a count at the end."""
    files = {"cluster.yaml": valid.replace("replicas: 1}", "replicas: 2}").encode()}

    assert listing(read_spec(files).mistakes, files) == (
        "cluster.yaml:11:28: spec.controlPlane.replicas: must be odd (1, 3 or 5), not 2; "
        "etcd needs a majority, and an even member adds risk but no tolerance\n"
        "      controlPlane: {replicas: 2}\n"
        "                               ^\n"
        "CPCD-102 1 mistake; nothing of this spec is put in force"
    )


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_spec_never_raises(data: st.DataObject) -> None:
    """Any piece of a valid file replaced by anything gives a reading, not an exception."""
    from pathlib import Path

    text = (Path(__file__).parents[3] / "specs" / "full.yaml").read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 80)))
    reading = read_spec({"c": (text[:start] + data.draw(st.text(max_size=12)) + text[end:]).encode()}, referred={})

    assert all(mistake.line >= 1 and mistake.message for mistake in reading.mistakes)


TREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(
    ["paused", "version", "infrastructure", "templates", "machineDefaults", "controlPlane", "workers", "addons",
     "healthCheck", "policy", "clusterNetwork", "controlPlaneEndpoint", "naming", "dns", "tasks", "maintenance"]
), TREE, max_size=4))  # fmt: skip
def test_any_value_anywhere_is_judged_not_raised(spec: dict[str, object]) -> None:
    """A field may hold any shape at all."""
    import json

    document = {"apiVersion": "cpcd.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "x"}, "spec": spec}

    assert read_spec({"c": json.dumps(document).encode()}).mistakes
