"""The meaning of a spec: its effective file, its digest, and machines after their overrides."""

from pathlib import Path

import pytest

from cpcd.spec import read_spec, references, show_defaults

SPECS = Path(__file__).parents[3] / "specs"


def digest(text: str, referred: dict[str, bytes] | None = None) -> str:
    """Return the digest of one file."""
    return read_spec({"c": text.encode()}, referred=referred).digest


@pytest.mark.parametrize("name", ["minimal", "demo", "full"])
def test_the_printed_file_means_the_same(name: str) -> None:
    """What `--show-defaults` prints is a valid file of the same meaning, and printing it again changes nothing."""
    first = read_spec({"c": (SPECS / f"{name}.yaml").read_bytes()})
    printed = show_defaults(first.documents[0])
    second = read_spec({"c": printed.encode()})

    assert ((), first.digest, printed) == (second.mistakes, second.digest, show_defaults(second.documents[0]))


def test_comments_order_and_written_defaults_change_nothing(valid: str) -> None:
    """A comment or a re-ordering never causes an action."""
    head, body = valid.split("spec:\n")
    lines = body.splitlines(keepends=True)
    shuffled = f"# a comment\nspec:\n  paused: false\n{''.join(lines[-2:])}{''.join(lines[:-2])}\n{head}"

    assert digest(valid) == digest(shuffled)


def test_the_order_of_named_things_says_nothing(valid: str) -> None:
    """Deployments are known by name."""
    one, other = ("{name: a}, {name: b}", "{name: b}, {name: a}")
    whole = "{name: general, replicas: 2}"

    assert digest(valid.replace(whole, one)) == digest(valid.replace(whole, other))


def test_a_change_of_meaning_changes_the_digest(valid: str) -> None:
    """So does a change of a referred file."""
    changed = [digest(valid), digest(valid.replace("replicas: 2", "replicas: 3"))]
    changed += [digest(valid, {"a": b"1"}), digest(valid, {"a": b"2"}), digest(valid, {"b": b"2"})]

    assert len(changed) == len(set(changed))


def test_an_override_only_changes_what_it_says(valid: str) -> None:
    """A default of the override never hides a value of machineDefaults."""
    text = valid + "  machineDefaults: {numCores: 2, memoryMiB: 2Gi, disks: {bootVolume: {sizeGb: 20}}}\n"
    text = text.replace("replicas: 2", "replicas: 2, machine: {memoryMiB: 4096, disks: {bootVolume: {disk: virtio0}}}")
    spec = read_spec({"c": text.encode()}).documents[0].spec
    machine = spec.machine_defaults.overridden_by(spec.workers.machine_deployments[0].machine)

    assert (
        machine.num_cores, machine.memory_mib, machine.disks.boot_volume.disk, machine.disks.boot_volume.size_gb,
    ) == (2, 4096, "virtio0", 20)  # fmt: skip


def test_an_override_of_the_template_replaces_the_choice(valid: str) -> None:
    """A tag in the override wins over a VMID in machineDefaults instead of contradicting it."""
    text = valid + "  machineDefaults: {templateID: 9000}\n"
    text = text.replace("replicas: 2", "replicas: 2, machine: {templateSelector: {matchTags: [noble]}}")
    spec = read_spec({"c": text.encode()}).documents[0].spec
    machine = spec.machine_defaults.overridden_by(spec.workers.machine_deployments[0].machine)

    assert (
        machine.template_id,
        machine.template_selector and machine.template_selector.match_tags,
    ) == (None, ("noble",))


def test_text_that_looks_like_a_number_is_printed_in_quotes(valid: str) -> None:
    """`1e3` is text to PyYAML and a number to YAML 1.2: the printed file must not change it."""
    text = valid.replace("replicas: 2", 'replicas: 2, metadata: {labels: {tier: "1e3"}}')
    printed = show_defaults(read_spec({"c": text.encode()}).documents[0])

    assert digest(text) == digest(printed)
    assert 'tier: "1e3"' in printed


def test_retry_classes_inherit_from_the_default(valid: str) -> None:
    """What a class does not say is the default's; what it says by itself is its own."""
    text = valid + "  policy: {retry: {default: {max: 2m}, network: {degradedAfter: 9}}}\n"
    retry = read_spec({"c": text.encode()}).documents[0].spec.policy.retry.effective()

    assert [
        (retry[name].base, retry[name].max, retry[name].degraded_after) for name in ("default", "network", "ansible")
    ] == [(2.0, 120.0, 3), (5.0, 120.0, 9), (2.0, 120.0, 2)]


def test_references_are_the_manifests_of_all_addons() -> None:
    """They are part of the generation."""
    document = read_spec({"c": (SPECS / "demo.yaml").read_bytes()}).documents[0]

    assert references(document) == ("addons/hello.yaml",)
