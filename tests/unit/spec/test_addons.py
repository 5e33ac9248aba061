"""Objects of addons: each stands in one place, else two would apply it over each other for ever."""

import pytest

from cpcd.spec import read_spec

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: hello}\n"
WIDGET = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: c}\n"
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: c}\n"
TWO = "  addons: [{name: o1, manifests: [{file: a.yaml}]}, {name: o2, manifests: [{file: b.yaml}]}]\n"


def mistakes(text: str, **referred: str) -> list[str]:
    """Return the mistakes of a file with these manifests beside it."""
    found = read_spec({"c": text.encode()}, referred={f"{name}.yaml": of.encode() for name, of in referred.items()})
    return [str(mistake) for mistake in found.mistakes]


@pytest.mark.parametrize(
    ("first", "other", "said"),
    [
        (CONFIG, f"{CONFIG}data: {{a: b}}\n", "ConfigMap hello/c of b.yaml is in addon o1 too, in a.yaml"),
        (f"{CONFIG}---\n{WIDGET}", f"{WIDGET}---\n{CONFIG}", "Widget.example.org c and 1 more of b.yaml is in addon o1 too, in a.yaml"),
        (WIDGET, WIDGET.replace("v1", "v2"), "Widget.example.org c of b.yaml is in addon o1 too, in a.yaml"),
        (WIDGET, WIDGET.replace("c}", "c, namespace: default}"), "Widget.example.org c of b.yaml is in addon o1 too, in a.yaml"),
        (WIDGET, WIDGET.replace("c}", "c, namespace: ''}"), "Widget.example.org c of b.yaml is in addon o1 too, in a.yaml"),
        (ROLE, ROLE.replace("c}", "c, namespace: x}"), "ClusterRole.rbac.authorization.k8s.io c of b.yaml is in addon o1 too, in a.yaml"),
    ],
    ids=["data", "several", "version", "namespace", "empty", "stray"],
)  # fmt: skip
def test_an_object_of_two_addons_is_refused(valid: str, first: str, other: str, said: str) -> None:
    """Whatever differs in it: its kind and group, namespace and name say which object it is."""
    place = "c:13:83: spec.addons[1].manifests[0].file"

    assert [f"{place}: {said}; keep it in one of them"] == mistakes(valid + TWO, a=first, b=other)


@pytest.mark.parametrize(
    "other",
    [WIDGET, CONFIG.replace("hello", "world"), CONFIG.replace("name: c", "name: d"), WIDGET.replace("Widget", "ConfigMap")],
)  # fmt: skip
def test_other_objects_are_no_doubles(valid: str, other: str) -> None:
    """Of another kind, group, namespace or name."""
    assert [] == mistakes(valid + TWO, a=CONFIG, b=other)


def test_a_file_of_two_addons_is_refused_and_one_listed_twice_in_an_addon_is_not(valid: str) -> None:
    """A pattern may find what is named already; it is applied once."""
    once = "  addons: [{name: o1, manifests: [{file: a.yaml}, {file: '*.yaml'}]}]\n"

    (said,) = mistakes(valid + TWO.replace("b.yaml", "a.yaml"), a=CONFIG)

    assert "spec.addons[1].manifests[0].file: ConfigMap hello/c of a.yaml is in addon o1 too, in a.yaml" in said
    assert [] == mistakes(valid + once, a=CONFIG)


def test_a_preset_is_one_addon(valid: str) -> None:
    """Under two names, both would apply its objects and call themselves ready."""
    said = mistakes(f"{valid}  addons: [{{name: a, preset: flannel}}, {{name: b, preset: flannel}}]\n")

    assert ["c:13:58: spec.addons[1].preset: flannel is addon a already; keep one of them"] == said


def test_what_a_preset_brings_is_in_no_manifest(valid: str) -> None:
    """Flannel's own file beside the flannel that cpcd adds."""
    flannel = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-flannel}\n"
    (said,) = mistakes(f"{valid}  addons: [{{name: o1, manifests: [{{file: a.yaml}}]}}]\n", a=flannel)

    assert "Namespace kube-flannel of a.yaml is in addon flannel too, in preset flannel" in said


def test_an_object_that_is_twice_in_a_file_is_shown_at_both(valid: str) -> None:
    """Else the first of the two would be nowhere."""
    one = "  addons: [{name: o1, manifests: [{file: a.yaml}]}]\n"

    assert mistakes(valid + one, a=f"{CONFIG}---\n{CONFIG}data: {{a: b}}\n") == [
        "a.yaml:7:18: metadata.name: ConfigMap hello/c is there twice, first in line 3; keep one of them"
    ]
