"""Options of a VM: what differs, what is written first, and what proves that a VM is ours."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcd.model.desired import TemplateRef
from cpcd.model.keys import system_uuid
from cpcd.model.seen import Claim, Vm
from cpcd.plan import fields
from tests.unit.plan.build import INSTALLATION, clone_of, cluster, row, spec, vm

ROW = row("u1")


def test_a_vm_as_wanted_differs_in_nothing() -> None:
    """No drift, no work."""
    assert {} == fields.delta(cluster(), spec(), vm(ROW).config)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"cores": 4}, {"cores": 4}),
        ({"sockets": 2}, {"sockets": 2}),
        ({"cpu_type": "x86-64-v3"}, {"cpu": "x86-64-v3"}),
        ({"memory_mib": 8192}, {"memory": 8192}),
        ({"balloon": True}, {"balloon": None}),
        ({"on_boot": False}, {"onboot": 0}),
        ({"tags": ("Prod",)}, {"tags": "cpcd;lab;prod"}),
    ],
)
def test_each_wanted_change_is_the_only_difference(changed: dict[str, Any], wanted: dict[str, Any]) -> None:
    """By Proxmox's own names; None deletes."""
    assert wanted == fields.delta(cluster(), spec(**changed), vm(ROW).config)


@pytest.mark.parametrize("present", [{"memory": "4096"}, {"memory": 4096}, {"cores": "2", "sockets": "1"}])
def test_numbers_and_their_text_are_the_same(present: dict[str, Any]) -> None:
    """Proxmox answers some options as text."""
    assert {} == fields.delta(cluster(), spec(), {**vm(ROW).config, **present})


def test_what_is_kept_equal_is_taken_at_once_or_at_a_cold_start() -> None:
    """Of each option it is known which: one of neither kind would be written and never arrive."""
    kept = fields.delta(cluster(), spec(), {}).keys() | {"balloon"}

    assert kept == {*fields.late(replace(vm(ROW), pending=tuple(kept))), *(kept & fields.HOT)}


def test_a_machine_is_rebooted_for_what_cpcd_keeps_and_for_nothing_else() -> None:
    """What else waits for a cold start somebody has set by hand, and says when."""
    found = replace(vm(ROW), pending=("memory", "net0", "cores"))

    assert (("memory", "cores"), ("net0",)) == (fields.late(found), fields.foreign(found))


def test_what_people_set_besides_is_left_alone() -> None:
    """Only options that the file speaks of are compared."""
    assert {} == fields.delta(cluster(), spec(), {**vm(ROW).config, "numa": 1, "args": "-foo"})


def test_the_first_options_carry_identity_and_cloud_init() -> None:
    """Everything that is frozen after the first start."""
    options = fields.first_options(cluster(domain="lab.example"), ROW, spec(), clone_of(ROW).config)

    wanted = {
        "smbios1": f"uuid={system_uuid(ROW.uid)}", "agent": "1", "ipconfig0": "ip=10.0.0.11/24,gw=10.0.0.1",
        "ciuser": "cpcd", "ciupgrade": 0, "sshkeys": "ssh-ed25519%20AAAA%20cpcd", "nameserver": "10.0.0.1",
        "searchdomain": "lab.example", "net0": "virtio,bridge=vmbr0", "memory": 4096,
    }  # fmt: skip
    assert wanted == {name: options[name] for name in wanted}


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, "virtio=BC:24:11:00:00:01,bridge=vmbr0"),
        ({"nic_model": "e1000"}, "e1000=BC:24:11:00:00:01,bridge=vmbr0"),
        (
            {"vlan": 12, "mtu": 9000, "firewall": True, "bridge": "vmbr1"},
            "virtio=BC:24:11:00:00:01,bridge=vmbr1,firewall=1,mtu=9000,tag=12",
        ),
    ],
)
def test_the_clones_mac_is_kept(changed: dict[str, Any], wanted: str) -> None:
    """A PUT without one makes a new one each time (recorded: encoding and types)."""
    config = {**clone_of(ROW).config, "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr9"}

    assert wanted == fields.first_options(cluster(), ROW, spec(**changed), config)["net0"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, True),
        ({"name": "lab-cp-2"}, False),
        ({"description": ""}, False),
        ({"description": "cpcd/1 other lab u1 op-1"}, False),
        ({"description": "cpcd/2 inst lab u1 op-1"}, False),
        ({"description": "cpcd/1 inst prod u1 op-1"}, False),
        ({"description": "cpcd/1 inst lab u2 op-1"}, False),
        ({"description": "a note\ncpcd/1 inst lab u1 op-1"}, False),
        ({"description": "cpcd/1 inst lab u1 op-1\na note by hand"}, True),
        ({"smbios1": ""}, False),
        ({"smbios1": "uuid=00000000-0000-0000-0000-000000000000"}, False),
        ({"smbios1": f"base64=1,uuid={system_uuid(ROW.uid)}"}, True),
    ],
)
def test_a_vm_is_ours_only_when_every_mark_agrees(options: dict[str, str], wanted: bool) -> None:
    """Name, mark and SMBIOS UUID, at the row's VMID; one that differs is enough to keep hands off."""
    assert wanted == fields.ours(vm(ROW, options=options), ROW, INSTALLATION)


THEIRS = {"name": "nextcloud", "description": "", "smbios1": "uuid=11111111-0000-0000-0000-000000000000"}


@pytest.mark.parametrize(
    ("options", "lock", "wanted"),
    [
        ({}, "", True),
        ({"description": "cpcd/1 other lab u9 op-1"}, "", True),
        ({}, "create", False),
        ({"name": ROW.name}, "", True),
        ({"description": f"moved by hand, was {ROW.uid}"}, "", False),
        ({"smbios1": ""}, "", False),
        ({"smbios1": f"base64=1,uuid={system_uuid(ROW.uid).upper()}"}, "", False),
    ],
)
def test_a_vm_is_strange_only_when_neither_mark_nor_uuid_is_ours(
    options: dict[str, str], lock: str, wanted: bool
) -> None:
    """One thing that is ours, or cannot be told, is enough to think of an edit by hand."""
    found = vm(ROW, options={**THEIRS, **options}, lock=lock)

    assert wanted == fields.strange(found, ROW, INSTALLATION)


@pytest.mark.parametrize("edit", [{"name": "web"}, {"description": "for the web team"}, {"smbios1": "uuid=1"}])
def test_a_mark_that_was_edited_is_told_so_that_it_can_be_put_back(edit: dict[str, str]) -> None:
    """What belongs there stands in the hint, in the form that root types; nobody is told to destroy anything."""
    found = vm(ROW, options=edit)

    refusal = fields.foreign_vm(found, ROW, INSTALLATION)

    typed = shlex.split(refusal.hint.split(": ", 1)[1].split(" (on ")[0].replace("$'", "'"))
    written = dict(zip([name.removeprefix("--") for name in typed[3::2]], typed[4::2], strict=True))
    assert ["qm", "set", str(ROW.vmid)] == typed[:3]
    assert set(edit) == set(written)
    whole = {name: value.replace("\\n", "\n") for name, value in written.items()}
    assert fields.ours(replace(found, config={**found.config, **whole}), ROW, INSTALLATION)
    assert not {"destroy", "\n"} & {*refusal.sentence.split(" "), *refusal.hint, *refusal.hint.split(" ")}


def test_a_description_that_was_put_back_tells_of_the_row_again() -> None:
    """The second line is put back as well: it makes the row when the ledger is lost."""
    hint = fields.foreign_vm(vm(ROW, options={"description": ""}), ROW, INSTALLATION).hint

    text = hint.split("--description $'")[1].split("'")[0].replace("\\n", "\n")
    claim = Claim(INSTALLATION, ROW.cluster, ROW.uid, ROW.node, ROW.vmid, {"name": ROW.name, "description": text})
    assert replace(ROW, started=True) == fields.recalled(claim, ROW.site)


def test_who_found_another_vm_in_a_machines_place_is_told_to_leave_it() -> None:
    """Neither to put marks on it nor to destroy it: it is somebody's, and serves."""
    refusal = fields.foreign_vm(vm(ROW, options=THEIRS), ROW, INSTALLATION)

    assert ("ForeignVm", True) == (refusal.reason, f"VM {ROW.vmid} on pve1 is another" in refusal.sentence)
    assert "Leave it as it is" in refusal.hint
    assert not {"qm", "destroy"} & {*refusal.hint.split()}
    assert "nextcloud" not in refusal.sentence + refusal.hint


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60).filter(lambda text: not text.strip().startswith("cpcd/1")))
def test_no_text_but_our_mark_names_an_owner(text: str) -> None:
    """People may write what they like into a description."""
    assert fields.owner(Vm(True, config={"description": text})) is None


def test_whose_op_made_a_vm_is_no_part_of_the_proof() -> None:
    """An id of the day: who edits the line and loses it, or puts another there, has the machine all the same."""
    for line in ("cpcd/1 inst lab u1", "cpcd/1 inst lab u1 restored", "cpcd/1 inst lab u1 op-1 and words"):
        assert fields.ours(vm(ROW, options={"description": line}), ROW, INSTALLATION)


def test_the_mark_and_its_reading_belong_together() -> None:
    """What the clone writes is what proves ownership later."""
    marked = Vm(True, config={"description": fields.mark(INSTALLATION, ROW, "op-9")})

    assert (INSTALLATION, "lab", "u1") == fields.owner(marked)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("local:1,size=20G", 20.0),
        ("local:1,discard=on,size=512M", 0.5),
        ("local:1,size=2T", 2048.0),
        ("local:1,size=1048576K", 1.0),
        ("local:1,size=2147483648", 2.0),
        ("local:1", None),
        ("", None),
    ],
)
def test_disk_sizes_are_read_in_every_unit(text: str, wanted: float | None) -> None:
    """Property strings as Proxmox writes them."""
    assert wanted == fields.boot_disk_gb({"scsi0": text}, "scsi0")


@pytest.mark.parametrize(("size", "refused"), [("20G", False), ("20971524K", False), ("21G", True), ("19G", False)])
def test_only_a_disk_that_would_have_to_shrink_is_refused(size: str, refused: bool) -> None:
    """What a storage rounded up to its extents is as large as asked for."""
    found = fields.unfit_boot_disk(spec(), {"scsi0": f"local:1,size={size}"}, who="lab-cp-1", whose="VM 301")

    assert refused == (found is not None)


@pytest.mark.parametrize(("in_place", "wanted"), [(True, "2df9aa16684f"), (False, "74ef0fa00c8a")])
def test_a_newer_cpcd_makes_the_same_revision_of_the_same_machine(in_place: bool, wanted: str) -> None:
    """The rows and marks of those that run were made by an older one: another hash would replace every machine."""
    fields.revision.cache_clear()  # or an earlier test may have asked for it already, of other code
    full = spec(full=True, vlan=7, mtu=9000, firewall=True, template=TemplateRef("ubuntu", tags=("a", "b")))

    assert wanted == fields.revision(full, in_place=in_place)


@pytest.mark.parametrize(
    ("changed", "in_place", "replaces"),
    [
        ({"memory_mib": 1}, True, False),
        ({"cores": 64}, True, False),
        ({"tags": ("x",)}, True, False),
        ({"timezone": "Europe/Berlin"}, True, False),
        ({"boot_disk_gb": 99}, True, False),
        ({"memory_mib": 1}, False, True),
        ({"boot_disk_gb": 99}, False, True),
        ({"bridge": "vmbr1"}, True, True),
        ({"vlan": 7}, True, True),
        ({"full": True}, True, True),
        ({"ssh_keys": ("ssh-ed25519 BBBB",)}, True, False),
        ({"template": TemplateRef("ubuntu", vmid=9001)}, True, True),
        ({"template": TemplateRef("renamed", vmid=9000)}, True, False),
    ],
)
def test_the_revision_changes_with_what_only_a_new_clone_can_have(
    changed: dict[str, Any], in_place: bool, replaces: bool
) -> None:
    """And with everything when in-place changes are off."""
    before, after = fields.revision(spec(), in_place=in_place), fields.revision(spec(**changed), in_place=in_place)

    assert replaces == (before != after)
