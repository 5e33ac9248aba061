"""The default CNI: vendored as published, fitted to the pods' network, and left out where the file has its own."""

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import yaml

import cpcd
from cpcd.model.desired import Addon
from cpcd.spec import json_schema, read_spec, show_defaults
from cpcd.spec.compile import compile_spec
from cpcd.spec.schema.services import CNIS

VENDORED = sorted((Path(cpcd.__file__).parent / "vendor").glob("*/VENDORED.toml"))
MANIFEST = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}\n"


def addons(text: str) -> dict[str, Addon]:
    """Return the addons of a file's only cluster, with one manifest beside it."""
    referred = {"a.yaml": MANIFEST}
    reading = read_spec({"c": text.encode()}, referred=referred)
    assert reading.mistakes == ()
    (cluster,) = compile_spec(reading, operator_key="ssh-ed25519 AAAA cpcd").clusters.values()
    return {addon.name: addon for addon in cluster.addons}


@pytest.mark.parametrize("path", VENDORED, ids=lambda path: path.parent.name)
def test_what_is_vendored_is_what_was_published(path: Path) -> None:
    """Each file has its sum, and beside what is listed there is nothing."""
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    sums = {name: about["sha256"] for name, about in told["files"].items()}
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.parent.iterdir() if file != path}

    assert sums == found
    assert {"project", "version", "licence", "source", "files"} == set(told)


def test_the_vendored_manifest_names_the_vendored_version() -> None:
    """A manifest that named `latest` would be another one tomorrow."""
    (path,) = VENDORED
    version = tomllib.loads(path.read_text(encoding="utf-8"))["version"]
    text = (path.parent / "kube-flannel.yml").read_text(encoding="utf-8")
    images = {line.split("image: ")[1] for line in text.splitlines() if "image: " in line}

    assert f"ghcr.io/flannel-io/flannel:{version}" in images
    assert all(image.rpartition(":")[2].startswith("v") for image in images)


def test_a_file_without_a_cni_gets_flannel_with_its_own_pod_network(valid: str) -> None:
    """The network differs from what was published, in the text's own form, and where flanneld asks the API; nothing else."""
    published = (VENDORED[0].parent / "kube-flannel.yml").read_text(encoding="utf-8")
    text = valid + "  clusterNetwork: {pods: {cidrBlocks: [10.77.0.0/16]}}\n"
    expected = list(yaml.safe_load_all(published.replace("10.244.0.0/16", "10.77.0.0/16")))
    (daemon,) = (obj["spec"]["template"]["spec"]["containers"] for obj in expected if obj["kind"] == "DaemonSet")
    daemon[0]["env"] += [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "10.10.10.110"}, {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
    ]  # fmt: skip

    assert expected == list(addons(text)["flannel"].objects)
    assert published.count("10.244.0.0/16") == 1


def test_flannel_asks_the_api_at_the_endpoint(valid: str) -> None:
    """Not at the service's address, where nothing answers until kube-proxy does: flanneld would be started in vain."""
    text = valid + "  controlPlaneEndpoint: {host: api.example.org, port: 8443, provider: external}\n"
    (daemon,) = (obj for obj in addons(text)["flannel"].objects if obj["kind"] == "DaemonSet")
    given = {each["name"]: each.get("value") for each in daemon["spec"]["template"]["spec"]["containers"][0]["env"]}

    assert ("api.example.org", "8443") == (given["KUBERNETES_SERVICE_HOST"], given["KUBERNETES_SERVICE_PORT"])


def test_the_network_is_the_default_one_where_the_file_names_none(valid: str) -> None:
    """The one that kubeadm is given too: else no Node's podCIDR would lie inside flannel's."""
    config = next(obj for obj in addons(valid)["flannel"].objects if obj["kind"] == "ConfigMap")

    assert "10.42.0.0/16" == json.loads(config["data"]["net-conf.json"])["Network"]


def test_flannel_is_an_addon_of_the_effective_file(valid: str) -> None:
    """It is shown, and the file with it means the same as the file without."""
    first = read_spec({"c": valid.encode()})
    shown = yaml.safe_load(show_defaults(first.documents[0]))["spec"]["addons"]
    written = valid + "  addons: [{name: flannel, preset: flannel}]\n"

    assert [("flannel", "flannel")] == [(addon["name"], addon["preset"]) for addon in shown]
    assert first.digest == read_spec({"c": written.encode()}).digest


@pytest.mark.parametrize("name", CNIS)
def test_an_addon_that_is_called_like_a_cni_is_the_only_one(valid: str, name: str) -> None:
    """Flannel's own name too: then its manifests are the user's."""
    found = addons(valid + f"  addons: [{{name: {name}, manifests: [{{file: a.yaml}}]}}]\n")

    assert [name] == list(found)
    assert [yaml.safe_load(MANIFEST)] == list(found[name].objects)


def test_other_addons_leave_flannel_in(valid: str) -> None:
    """It comes last, so that places in the file stay what they are."""
    assert ["hello", "flannel"] == list(addons(valid + "  addons: [{name: hello, manifests: [{file: a.yaml}]}]\n"))


def test_the_preset_may_bear_another_name_and_have_more_manifests(valid: str) -> None:
    """Then it is the file's CNI, and no second one is added."""
    found = addons(valid + "  addons: [{name: network, preset: flannel, manifests: [{file: a.yaml}]}]\n")

    assert ["network"] == list(found)
    assert ["Namespace", "ConfigMap"] == [found["network"].objects[at]["kind"] for at in (0, -1)]


@pytest.mark.parametrize("chart", ["cilium", "cilium/cilium", "oci://quay.io/cilium/charts/cilium"])
def test_a_chart_counts_as_a_cni_too(valid: str, chart: str) -> None:
    """Charts are refused until they are supported, but never answered by a second CNI."""
    text = valid + f"  addons: [{{name: network, chart: {chart}}}]\n"
    (document,) = read_spec({"c": text.encode()}).documents

    assert ["network"] == [addon.name for addon in document.spec.addons]


def daemon_set(path: str, *, kind: str = "DaemonSet", mount: str = "") -> bytes:
    """Return a manifest whose pods mount a path of the host."""
    volume = f"{{name: cni, hostPath: {{path: {path}}}}}"
    mounts = f"[{{name: cni, mountPath: /host{mount}}}]"
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: net, namespace: kube-system}}\nspec:\n  template:\n    spec:\n"
        f"      initContainers: [{{name: install, image: x, volumeMounts: {mounts}}}]\n      volumes: [{volume}]\n"
    ).encode()


def network_mistakes(valid: str, addons: str, manifest: bytes) -> list[str]:
    """Return the mistakes of a file with these addons, whose manifest is `a.yaml`."""
    text = f"{valid}  addons: {addons}\n"
    return [str(mistake) for mistake in read_spec({"c": text.encode()}, referred={"a.yaml": manifest}).mistakes]


OWN = "[{name: net, manifests: [{file: a.yaml}]}]"


@pytest.mark.parametrize("path", ["/etc/cni/net.d", "/etc/cni/net.d/", "/etc/cni", "/etc/cni/net.d/multus"])
def test_a_cni_of_another_name_is_no_second_one_beside_flannel(valid: str, path: str) -> None:
    """Flannel would be added to it and both would make the pods' network; the sentence names both ways out."""
    (said,) = network_mistakes(valid, OWN, daemon_set(path))

    assert said == (
        "c:13:43: spec.addons[0].manifests[0].file: DaemonSet net of a.yaml writes /etc/cni/net.d, and flannel, which is "
        "added, makes the pods' network already; call the addon `cni` if it makes it, or list "
        "{name: flannel, preset: flannel} too if it builds on one"
    )


@pytest.mark.parametrize(
    ("addons", "manifest"),
    [
        (OWN.replace("name: net", "name: cni"), daemon_set("/etc/cni/net.d")),
        (f"[{{name: flannel, preset: flannel}}, {OWN[1:]}", daemon_set("/etc/cni/net.d")),
        (OWN, daemon_set("/etc/cni/net.d", mount=", readOnly: true")),
        (OWN, daemon_set("/etc/kubernetes")),
        (OWN, daemon_set("/etc/cni/net.d", kind="Deployment")),
        (OWN, b"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec: [template]\n"),
        (OWN, daemon_set("[a]")),
    ],
    ids=["named", "chained", "read only", "elsewhere", "no daemon", "another shape", "no path"],
)
def test_what_makes_no_second_network_is_no_mistake(valid: str, addons: str, manifest: bytes) -> None:
    """One that is called a CNI is the only one; one that extends another has that one listed."""
    assert network_mistakes(valid, addons, manifest) == []


def test_the_reference_names_every_cni() -> None:
    """The sentence in the schema is what people go by."""
    sentence = json_schema()["$defs"]["ClusterSpec"]["properties"]["addons"]["description"]

    assert f"of a CNI: {', '.join(CNIS)}." in sentence
