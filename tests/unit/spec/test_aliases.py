"""Older spellings mean the same as the field's word."""

import pytest

from cpcd.spec import read_spec
from cpcd.spec.aliases import SPELLINGS
from cpcd.spec.paths import pattern
from cpcd.spec.suggestions import fields_at


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("machineDeployments", "nodePools"),
        ("version:", "kubernetesVersion:"),
        ("url:", "urls:"),
        ("replicas: 2", "replicas: 2, machine: {cores: 4, sockets: 1, memory: 8Gi}"),
        ("replicas: 2", "replicas: 2, machine: {disks: {bootVolume: {size: 40Gi}}}"),
    ],
)
def test_a_spelling_means_the_same(valid: str, old: str, new: str) -> None:
    """The same meaning has the same digest, however it is spelt."""
    plain, spelt = (read_spec({"c": text.encode()}) for text in (valid, valid.replace(old, new)))

    assert ((), plain.digest) == (spelt.mistakes, spelt.digest)


def test_a_mistake_under_an_old_spelling_points_at_what_was_written(valid: str) -> None:
    """Marks move with the renamed field."""
    text = valid.replace("machineDeployments", "nodePools").replace("replicas: 2", "replicas: many")

    assert [str(mistake) for mistake in read_spec({"c": text.encode()}).mistakes] == [
        'c:12:51: spec.workers.machineDeployments[0].replicas: must be a whole number, not "many"'
    ]


def test_two_spellings_of_one_field_are_a_mistake(valid: str) -> None:
    """Which of the two is meant cannot be guessed."""
    text = valid.replace("replicas: 2", "replicas: 2, machine: {cores: 2, numCores: 4}")

    assert [str(mistake) for mistake in read_spec({"c": text.encode()}).mistakes] == [
        (
            "c:12:73: spec.workers.machineDeployments[0].machine.cores: is another spelling of numCores, which is there too; "
            "keep one"
        )
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("machineDefaults: {disks: {bootVolume: {sizeGB: 50, size: 30}}}", "13:54: spec.machineDefaults.disks.bootVolume.size: is another spelling of sizeGB"),
        ("machineDefaults: {disks: {bootVolume: {size: 30, sizeGB: 50}}}", "13:52: spec.machineDefaults.disks.bootVolume.sizeGB: is another spelling of size"),
        ("templates: [{name: a, templateId: 9001, vmid: 9002}]", "13:43: spec.templates[0].vmid: is another spelling of templateId"),
    ],
)  # fmt: skip
def test_two_older_spellings_of_one_field_are_a_mistake(valid: str, line: str, expected: str) -> None:
    """Neither is the field's own word, and still one of the two would be dropped."""
    found = read_spec({"c": f"{valid}  {line}\n".encode()}).mistakes

    assert [f"c:{expected}, which is there too; keep one"] == [str(mistake) for mistake in found]


@pytest.mark.parametrize(("where", "old", "new"), SPELLINGS)
def test_every_spelling_leads_to_a_field(where: str, old: str, new: str) -> None:
    """The table cannot rename a field away or to nothing."""
    fields = fields_at(tuple(0 if part == "*" else part for part in pattern(where)))

    assert (new in fields, old in fields) == (True, False)
