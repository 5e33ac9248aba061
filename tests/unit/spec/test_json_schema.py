"""The committed JSON schema and the examples agree with the models."""

import json
from pathlib import Path

import pytest
import yaml

from cpcd.spec import json_schema, listing, read_spec
from cpcd.spec.schema import ClusterDocument

SPECS = Path(__file__).parents[3] / "specs"


def test_the_committed_schema_is_the_models() -> None:
    """Regenerate with `cpcd schema > specs/cluster.schema.json` after a change of the models."""
    committed = (SPECS / "cluster.schema.json").read_text(encoding="utf-8")

    assert json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n" == committed


def test_every_field_has_a_sentence() -> None:
    """The reference in the docs and the editor's help come from it."""
    schema = json_schema()
    shapes = {"ClusterDocument": schema, **schema["$defs"]}

    assert [
        f"{name}.{word}"
        for name, shape in shapes.items()
        for word, field in shape.get("properties", {}).items()
        if not field.get("description")
    ] == []


def test_fields_that_are_not_supported_say_so() -> None:
    """An editor shows it before cpcd does."""
    properties = json_schema()["$defs"]["Addon"]["properties"]

    assert (
        (properties["chart"]["description"])
        == "A Helm chart. Not supported yet: addons are plain manifests: render the chart and name the files."
    )
    assert "Not supported" not in properties["manifests"]["description"]


def test_unknown_keys_are_refused_everywhere() -> None:
    """No model of the file swallows a misspelt key."""
    schema = json_schema()

    assert [name for name, shape in schema["$defs"].items() if shape.get("additionalProperties") is not False] == []


def test_defaults_in_the_schema_are_in_the_words_of_the_file() -> None:
    """Durations as text, not as seconds."""
    schema = json_schema()["$defs"]

    assert (
        schema["HealthCheck"]["properties"]["nodeStartupTimeout"]["default"],
        schema["Remediation"]["properties"]["unhealthyLessThanOrEqualTo"]["default"],
    ) == ("15m", "40%")


@pytest.mark.parametrize("name", ["minimal", "demo", "full"])
def test_examples_are_valid_and_name_the_schema(name: str) -> None:
    """Each example is read without a mistake, with its manifests, and editors find the schema."""
    content = (SPECS / f"{name}.yaml").read_bytes()
    referred = {f"addons/{path.name}": path.read_bytes() for path in (SPECS / "addons").glob("*.yaml")}
    files = {f"{name}.yaml": content}
    found = read_spec(files, referred=referred).mistakes

    assert found == (), listing(found, files)
    assert content.startswith(b"# yaml-language-server: $schema=cluster.schema.json\n")


def test_the_full_example_shows_every_supported_field() -> None:
    """A supported field that is nowhere in an example is not discoverable; the rest is told apart by the schema."""
    text = (SPECS / "full.yaml").read_text(encoding="utf-8")
    schema = json_schema()
    elsewhere = {"fingerprint", "systemdCredential", "env", "matchTags", "matchPolicy", "templateSelector"}
    supported = {
        word
        for shape in schema["$defs"].values()
        for word, field in shape.get("properties", {}).items()
        if "Not supported yet" not in field["description"]
    }
    unused = {"AdoptSelector", "AutoScale", "Task", "DNS", "PiHole", "RFC2136", "Records", "CoreDNSForward", "Registry",
              "Backup", "Retention", "S3", "Drill", "Image", "TemplateTest", "PCIDevice", "TimeWindow", "SOPSReference",
              "MachineOverride", "Autoscale", "Adopt", "Maintenance", "Volume", "IPv6Config", "Before", "Containerd",
              "HighAvailability", "Etcd"}  # fmt: skip
    inside = {word for name in unused & set(schema["$defs"]) for word in schema["$defs"][name]["properties"]}
    parents = {"etcd", "highAvailability", "containerd"}

    assert set() == {word for word in supported - elsewhere - inside - parents if f"{word}:" not in text}


def test_the_demo_is_what_the_story_needs() -> None:
    """3 control planes, 2 workers, 3 failure domains, one addon and the default CNI, all on loopback with an unprivileged SSH port."""
    spec = read_spec({"c": (SPECS / "demo.yaml").read_bytes()}).documents[0].spec
    proxmox = spec.infrastructure.proxmox

    assert (
        spec.control_plane.replicas,
        [(group.name, group.replicas) for group in spec.workers.machine_deployments],
        [zone.name for zone in proxmox.availability_zones],
        [addon.name for addon in spec.addons],
        spec.machine_defaults.ssh.port,
        proxmox.ipv4_config.network.is_loopback,
    ) == (3, [("general", 2)], ["a", "b", "c"], ["hello", "flannel"], 2222, True)


def test_the_addon_is_kubernetes() -> None:
    """The manifests of the demo have what server-side apply needs."""
    objects = list(yaml.safe_load_all((SPECS / "addons" / "hello.yaml").read_text(encoding="utf-8")))

    assert [(each["apiVersion"], each["kind"]) for each in objects] == [
        ("v1", "Namespace"),
        ("v1", "ConfigMap"),
        ("apps/v1", "Deployment"),
    ]


def test_models_are_frozen(valid: str) -> None:
    """Nobody changes the spec behind the digest's back."""
    document = read_spec({"c": valid.encode()}).documents[0]

    assert isinstance(document, ClusterDocument)
    with pytest.raises(ValueError, match="frozen"):
        document.spec.paused = True  # type: ignore[misc]  # that is the point
