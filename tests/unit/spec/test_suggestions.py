"""What an unknown key leads to: the word that is meant here, another tool's word, or the place where it belongs."""

import pytest

from cpcd.spec.suggestions import FOREIGN, fields_at, meant

SPEC, MACHINE = ("spec",), ("spec", "machineDefaults")


@pytest.mark.parametrize(
    ("here", "key", "hint"),
    [
        (SPEC, "controlplane", "did you mean controlPlane?"),
        (SPEC, "controlPlan", "did you mean controlPlane?"),
        (SPEC, "ipv4Config", "it belongs into infrastructure.proxmox"),
        (SPEC, "storage", "it belongs into infrastructure.proxmox"),
        (SPEC, "tags", "it belongs into machineDefaults"),
        (SPEC, "replicas", "it belongs into controlPlane"),
        (SPEC, "memoryMiB", "it belongs into machineDefaults"),
        (SPEC, "cores", "did you mean machineDefaults.numCores?"),
        (SPEC, "masters", "did you mean controlPlane.replicas?"),
        (SPEC, "nodes", "did you mean workers.machineDeployments?"),
        (SPEC, "podCIDR", "did you mean clusterNetwork.pods.cidrBlocks?"),
        (SPEC, "colour", ""),
        ((), "version", "it belongs into spec"),
        (MACHINE, "ram", "did you mean memoryMiB?"),
        (MACHINE, "cpus", "did you mean numCores?"),
        (MACHINE, "disk", "did you mean disks.bootVolume.sizeGb?"),
        (MACHINE, "bridge", "it belongs into network.networkDevices"),
        ((*MACHINE, "ssh"), "key", "did you mean keys?"),
        (("metadata",), "replicas", "it belongs into spec.controlPlane"),
        (("metadata",), "colour", "known here: name"),
        (("spec", "workers", "machineDeployments", 3), "numCores", "it belongs into machine"),
    ],
)
def test_a_key_leads_to_what_was_meant(here: tuple[str | int, ...], key: str, hint: str) -> None:
    """The same word in another case first, then other tools' words, then the nearest place that has it."""
    assert hint == meant((*here, key))


def test_nothing_is_suggested_that_is_refused() -> None:
    """A field that is not supported yet leads nowhere, nor does what stands below it."""
    assert [""] * 3 == [meant(("spec", key)) for key in ("numa", "pihole", "playbook")]


@pytest.mark.parametrize(("word", "own"), FOREIGN.items())
def test_every_foreign_word_leads_to_a_field(word: str, own: str) -> None:
    """A suggestion that is refused in turn would be worse than none."""
    starts = (SPEC, MACHINE, ("spec", "infrastructure", "proxmox"), ("spec", "workers"), ("spec", "templates", 0),
              (*MACHINE, "disks", "bootVolume"))  # fmt: skip
    *above, field = own.split(".")

    assert word == word.lower()
    assert any(field in fields_at((*start, *above)) for start in starts)
