"""Several clusters in one spec: what only shows when they stand side by side."""

import pytest

from cpcd.model.desired import Desired
from cpcd.spec import read_spec
from cpcd.spec.compile import compile_spec, fixed


def second(valid: str, **changes: str) -> str:
    """Return another cluster that shares the Proxmox but nothing else, with changes."""
    text = valid.replace("{name: home}", "{name: work}").replace(
        "10.10.10.110-10.10.10.139", "10.10.10.140-10.10.10.149"
    )
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def mistakes(first: str, other: str) -> list[str]:
    """Return what two files side by side give."""
    return [str(m) for m in read_spec({"a.yaml": first.encode(), "b.yaml": other.encode()}).mistakes]


def compiled(*texts: str) -> Desired:
    """Return what several files side by side want."""
    reading = read_spec({f"{number}.yaml": text.encode() for number, text in enumerate(texts)})
    assert reading.mistakes == ()
    return compile_spec(reading, operator_key="ssh-ed25519 AAAA")


def at(text: str, *hosts: str) -> str:
    """Return the file with these endpoints."""
    return text.replace("url: https://pve.home.arpa:8006", f"url: [{', '.join(f'https://{h}:8006' for h in hosts)}]")


@pytest.mark.parametrize("hosts", [("pve1", "pve2", "pve3"), ("pve3", "pve1", "pve2")])
def test_the_order_of_endpoints_says_nothing(valid: str, hosts: tuple[str, ...]) -> None:
    """The same Proxmox, so the re-ordering is no change of what cannot change."""
    wanted = compiled(at(valid, *hosts))

    assert ("pve1", ["pve1"]) == (fixed(wanted.clusters["home"])["infrastructure.proxmox"], list(wanted.sites))


def test_one_endpoint_names_the_proxmox_by_its_host(valid: str) -> None:
    """Ledgers hold this name."""
    assert ["pve.home.arpa"] == list(compiled(valid).sites)


def test_two_clusters_may_list_the_endpoints_of_one_proxmox_in_two_orders(valid: str) -> None:
    """They share VMIDs, addresses and limits all the same."""
    wanted = compiled(at(valid, "pve1", "pve2"), at(second(valid), "pve2", "pve1"))

    assert {"pve1"} == {cluster.infrastructure.site for cluster in wanted.clusters.values()} == set(wanted.sites)


def test_a_proxmox_that_machines_know_keeps_its_name(valid: str) -> None:
    """An endpoint added before it by alphabet makes it no other one."""
    reading = read_spec({"c.yaml": at(valid, "pve1", "pve2").encode()})

    assert ["pve2"] == list(compile_spec(reading, operator_key="k", sites={"pve2"}).sites)


def test_two_lists_that_overlap_are_refused(valid: str) -> None:
    """Taken for two, one Proxmox would give one VMID twice."""
    (said,) = mistakes(at(valid, "pve1", "pve2"), at(second(valid), "pve2", "pve3"))

    assert said == (
        "b.yaml:8:12: spec.infrastructure.proxmox.url: differs from another cluster's "
        '(cluster "home" on the same Proxmox); see a.yaml:8:12'
    )


def test_one_proxmox_is_asked_in_one_way(valid: str) -> None:
    """Each field that differs is told; how an endpoint is written is no difference."""
    other = second(valid).replace("https://pve.home.arpa:8006", "https://PVE.home.arpa/")
    told = other.replace("/etc/cpcd/pve-token}", f"/other}}\n      tls: {{fingerprint: {'AB' * 32}}}")

    assert mistakes(valid, other) == []
    assert list(compiled(valid, other).sites) == ["pve.home.arpa"]
    assert [said.split(": differs")[0] for said in mistakes(valid, told)] == [
        "b.yaml:9:23: spec.infrastructure.proxmox.credentialsRef",
        "b.yaml:10:12: spec.infrastructure.proxmox.tls",
    ]


def test_two_clusters_may_share_a_proxmox(valid: str) -> None:
    """Different names and ranges are no mistake, and the default VMID range is shared on purpose."""
    assert mistakes(valid, second(valid)) == []


def test_one_file_may_hold_several_documents(valid: str) -> None:
    """Documents of one file and of a directory are one spec."""
    reading = read_spec({"cluster.yaml": f"{second(valid)}---\n{valid}".encode()})

    assert (tuple(d.name for d in reading.documents), reading.mistakes) == (("home", "work"), ())


@pytest.mark.parametrize("home", ["pve.home", "pve.work"])
def test_one_name_for_two_clusters(valid: str, home: str) -> None:
    """The later one has the mistake, with the place of the first, wherever its Proxmox is."""
    assert mistakes(valid, valid.replace("pve.home", home)) == [
        'b.yaml:3:18: metadata.name: another cluster is called "home"; see a.yaml:3:18'
    ]


def test_one_name_for_three_clusters(valid: str) -> None:
    """Each that is too many is told once."""
    found = read_spec({"a.yaml": "---\n".join([valid] * 3).encode()}).mistakes

    assert [
        f'a.yaml:{line}:18: metadata.name: another cluster is called "home"; see a.yaml:3:18' for line in (16, 29)
    ] == [str(one) for one in found]


def test_overlapping_addresses(valid: str) -> None:
    """Two clusters on one Proxmox never hand out one address twice."""
    other = valid.replace("{name: home}", "{name: work}").replace("110-10.10.10.139", "130-10.10.10.150")

    assert mistakes(valid, other) == [
        (
            "b.yaml:10:32: spec.infrastructure.proxmox.ipv4Config.addresses[0]: 10.10.10.130-10.10.10.150 overlaps "
            '10.10.10.110-10.10.10.139 (cluster "home" on the same Proxmox); see a.yaml:10:32'
        )
    ]


def test_another_proxmox_has_addresses_of_its_own(valid: str) -> None:
    """Equal ranges are fine where the hypervisors differ; the default port does not make them differ."""
    other = valid.replace("{name: home}", "{name: work}")

    assert mistakes(valid, other.replace("pve.home", "pve.work")) == []
    assert len(mistakes(valid, other.replace("arpa:8006", "arpa"))) == 1


def test_overlapping_vmids(valid: str) -> None:
    """Ranges that were written down are promises to the reader of the file."""
    ranges = "      vmIDRange: {start: %d, end: %d}\n      credentialsRef"
    first = valid.replace("      credentialsRef", ranges % (300, 399))
    other = second(valid).replace("      credentialsRef", ranges % (399, 499))

    assert mistakes(first, other) == [
        (
            "b.yaml:9:18: spec.infrastructure.proxmox.vmIDRange: 399-499 overlaps 300-399 "
            '(cluster "home" on the same Proxmox); see a.yaml:9:18'
        )
    ]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((10_100, 10_200), (), "b.yaml:7:5: spec.infrastructure.proxmox.vmIDRange: 10000-19999, the default, overlaps 10100-10200 "),
        ((), (19_000, 20_000), "b.yaml:9:18: spec.infrastructure.proxmox.vmIDRange: 19000-20000 overlaps 10000-19999, the default "),
        ((300, 399), (), ""),
    ],
)  # fmt: skip
def test_a_written_range_keeps_clear_of_the_default_one(
    valid: str, one: tuple[int, ...], other: tuple[int, ...], said: str
) -> None:
    """Who writes none takes VMIDs of the default range, and would take them out of a written one."""
    texts = [
        text.replace(
            "      credentialsRef", f"      vmIDRange: {{start: {ends[0]}, end: {ends[1]}}}\n      credentialsRef"
        )
        if ends
        else text
        for text, ends in ((valid, one), (second(valid), other))
    ]
    found = mistakes(*texts)

    assert [said] == [each.split("(")[0] for each in found] if said else found == []


@pytest.mark.parametrize(("host", "count"), [("10.10.10.4", 1), ("10.10.10.120", 1), ("10.10.10.5", 0)])
def test_endpoints_are_not_shared(valid: str, host: str, count: int) -> None:
    """An endpoint is neither another's endpoint nor an address of another's pool."""
    first = valid + "  controlPlaneEndpoint: {host: 10.10.10.4}\n"

    assert count == len(mistakes(first, second(valid) + f"  controlPlaneEndpoint: {{host: {host}}}\n"))


def test_one_template_name_with_two_meanings(valid: str) -> None:
    """Templates belong to the Proxmox, so a name means one thing there."""
    first, other = (
        text + f"  templates: [{{name: ubuntu, templateID: {vmid}}}]\n"
        for text, vmid in ((valid, 9000), (second(valid), 9001))
    )

    assert mistakes(first, other) == [
        (
            'b.yaml:13:15: spec.templates[0]: template "ubuntu" is defined in two ways '
            '(cluster "home" on the same Proxmox); see a.yaml:13:15'
        )
    ]
    assert mistakes(first, other.replace("9001", "9000")) == []
