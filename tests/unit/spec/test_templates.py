"""Which template a machine is made from, and that only another one replaces machines."""

import pytest

from cpcd.model.desired import TemplateRef
from cpcd.plan.fields import group_revision
from cpcd.spec import read_spec, show_defaults
from cpcd.spec.compile import compile_spec

UBUNTU, DEBIAN = "{name: ub, templateID: 9002}", "{name: deb, templateID: 9001}"
BY_ID = "  machineDefaults: {templateID: 9002}\n"


def made_from(text: str) -> tuple[TemplateRef, str]:
    """Return the template of the control planes and the revision that it gives them."""
    reading = read_spec({"c": text.encode()})
    assert reading.mistakes == ()
    group = compile_spec(reading, operator_key="ssh-ed25519 AAAA").clusters["home"].groups[0]
    return group.machine.template, group_revision(group)


@pytest.mark.parametrize("templates", [f"[{UBUNTU}, {DEBIAN}]", f"[{DEBIAN}, {UBUNTU}]", f"[{UBUNTU}]", "[]"])
@pytest.mark.parametrize("choice", [BY_ID, "  machineDefaults: {templateSelector: {matchTags: [gold]}}\n"])
def test_the_list_of_templates_replaces_no_machine_that_chooses_by_itself(
    valid: str, templates: str, choice: str
) -> None:
    """Re-ordering it, and taking out what nobody uses, is no other template."""
    assert made_from(valid + choice) == made_from(f"{valid}{choice}  templates: {templates}\n")


@pytest.mark.parametrize("entry", [UBUNTU, UBUNTU.replace("ub,", "gold,")])
def test_what_a_template_is_called_replaces_no_machine(valid: str, entry: str) -> None:
    """The VMID says which one it is."""
    assert made_from(valid + BY_ID)[1] == made_from(f"{valid}  templates: [{entry}]\n")[1]


def test_another_system_without_a_vmid_is_another_template(valid: str) -> None:
    """There the system says which tag is looked for."""
    ubuntu, debian = (made_from(f"{valid}  templates: [{{name: a, os: {os}}}]\n") for os in ("ubuntu", "debian"))

    assert (("cpcd-ubuntu",), ("cpcd-debian",)) == (ubuntu[0].tags, debian[0].tags)
    assert ubuntu[1] != debian[1]


@pytest.mark.parametrize("os", ["ubuntu", "debian"])
def test_a_system_beside_a_vmid_is_refused(valid: str, os: str) -> None:
    """It would be accepted and ignored; what is printed with all defaults does not have it either."""
    entry = f"  templates: [{{name: a, templateID: 9001, os: {os}}}]\n"
    (said,) = read_spec({"c": (valid + entry).encode()}).mistakes
    (document,) = read_spec({"c": (valid + entry.replace(f", os: {os}", "")).encode()}).documents

    assert str(said) == (
        "c:13:47: spec.templates[0].os: does nothing beside templateID: it says which tag is looked for; leave it out"
    )
    assert () == read_spec({"c": show_defaults(document).encode()}).mistakes
