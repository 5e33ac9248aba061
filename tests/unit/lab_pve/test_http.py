"""Statuses, reasons and bodies, held against the recorded texts."""

import pytest

from cpcd.lab.pve import Silent


def test_no_token_is_a_delayed_401_without_body(lab) -> None:
    """Recorded 1."""
    answer = lab.get("/version", token="")

    assert (answer.status, answer.reason, answer.body, answer.seconds) == (401, "No ticket", None, 3.0)


def test_wrong_secret_is_a_delayed_401_without_body(lab) -> None:
    """Recorded 44."""
    answer = lab.get("/version", token="admin@pve!full=wrong")

    assert (answer.status, answer.reason, answer.body, answer.seconds) == (401, "Authentication failed!", None, 3.0)


def test_login_is_a_401_with_body(lab) -> None:
    """Recorded 3."""
    answer = lab.post("/access/ticket", username="root@pam", password="wrong", token="")

    assert (answer.status, answer.body) == (401, {"data": None, "message": "authentication failure\n"})


def test_version_is_the_recorded_one(lab) -> None:
    """Recorded 8, with a trailing slash as in 21."""
    assert lab.get("/version/").data == {"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nosuch"),
        ("GET", "/nodes/pve1/nosuch"),
        ("POST", "/version"),
        ("POST", "/nodes/pve1/qemu/100/status/nosuch"),
    ],
)
def test_unknown_path_is_501_without_newline(lab, method, path) -> None:
    """Recorded 16, 17, 19, 521."""
    answer = lab.call(method, path)

    text = f"Method '{method} {path}' not implemented"
    assert (501, text, {"data": None, "message": text}) == (answer.status, answer.reason, answer.body)


def test_unsupported_method_is_501_without_body(lab) -> None:
    """Recorded 18."""
    answer = lab.call("PATCH", "/version")

    assert (answer.status, answer.reason, answer.body) == (501, "method 'PATCH' not available", None)


def test_missing_vm_is_a_500_with_the_text_twice(lab) -> None:
    """Recorded 397, 1173."""
    answer = lab.get("/nodes/pve1/qemu/9999/config")

    text = "Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist"
    assert (500, text, {"data": None, "message": text + "\n"}) == (answer.status, answer.reason, answer.body)


def test_vm_of_another_node_is_as_missing_as_none(lab) -> None:
    """pve/README.md: `missing` is not proof of deletion."""
    answer = lab.get("/nodes/pve2/qemu/9000/config")

    assert answer.reason == "Configuration file 'nodes/pve2/qemu-server/9000.conf' does not exist"


def test_unknown_node_does_not_resolve(lab) -> None:
    """Recorded 68."""
    answer = lab.get("/nodes/nosuchnode/status")

    why = "failed to get address info for: nosuchnode: Temporary failure in name resolution"
    assert (500, f"hostname lookup 'nosuchnode' failed - {why}") == (answer.status, answer.reason)


def test_all_bad_fields_are_reported_at_once(lab) -> None:
    """Recorded 214."""
    answer = lab.post(
        "/nodes/pve1/qemu",
        vmid=101, memory="lots", cores=0, name="bad_name", foo="1", net9x="virtio", scsi0="local", onboot="yes",
    )  # fmt: skip

    undefined = "property is not defined in schema and the schema does not allow additional properties"
    assert (answer.status, answer.reason) == (400, "Parameter verification failed.")
    assert answer.body["message"] == "Parameter verification failed.\n"
    assert {
        "scsi0": "invalid format - format error\nscsi0.file: invalid format - unable to parse volume ID 'local'\n\n",
        "onboot": "type check ('boolean') failed - got 'yes'",
        "net9x": undefined,
        "cores": "value must have a minimum value of 1",
        "name": "invalid format - value does not look like a valid DNS name\n",
        "memory": "invalid format - format error\nmemory.current: type check ('integer') failed - got 'lots'\n",
        "foo": undefined,
    } == answer.body["errors"]


@pytest.mark.parametrize(
    ("vmid", "text"),
    [
        (99, "invalid format - value does not look like a valid VM ID\n"),
        (1_000_000_000, "invalid format - value does not look like a valid VM ID\n"),
        ("abc", "type check ('integer') failed - got 'abc'"),
    ],
)
def test_bad_vmid_texts(lab, vmid, text) -> None:
    """Recorded 211, 212, 213."""
    assert {"vmid": text} == lab.post("/nodes/pve1/qemu", vmid=vmid).body["errors"]


def test_missing_parameter_text(lab) -> None:
    """Recorded 210."""
    errors = lab.post("/nodes/pve1/qemu", name="x").body["errors"]

    assert errors == {"vmid": "property is missing and it is not optional"}


def test_unknown_query_parameter_is_refused(lab) -> None:
    """Recorded 201."""
    answer = lab.get("/nodes/pve1/qemu/9000/status/current", full=1)

    assert answer.status == 400
    assert list(answer.body["errors"]) == ["full"]


def test_parameter_may_repeat_but_not_contradict_the_path(lab) -> None:
    """pve/README.md, Errors and HTTP."""
    same = lab.get("/nodes/pve1/qemu/9000/config", vmid=9000)
    other = lab.get("/nodes/pve1/qemu/9000/config", vmid=9001)

    assert same.status == 200
    assert other.body["errors"] == {"vmid": "duplicate parameter (already defined in URI) with conflicting values!"}


def test_bad_enumeration_lists_the_words(lab) -> None:
    """Recorded 364."""
    errors = lab.get("/cluster/resources", type="qemu").body["errors"]

    assert errors == {"type": "value 'qemu' does not have a value in the enumeration 'vm, storage, node, sdn'"}


def test_silence_raises_and_ends(lab) -> None:
    """A silent API gives no answer at all, and workers go on meanwhile."""
    answer = lab.post("/nodes/pve1/qemu/9000/clone", newid=200)
    lab.pve.silence(True)
    with pytest.raises(Silent):
        lab.get("/version")
    assert issubclass(Silent, TimeoutError)

    lab.run(60)
    lab.pve.silence(False)

    assert lab.status(answer.data)["exitstatus"] == "OK"


def test_calls_are_counted_by_template(lab) -> None:
    """The counter's keys carry no VMID."""
    lab.get("/nodes/pve1/qemu/9000/config")
    lab.get("/nodes/pve2/qemu/100/config")

    assert lab.pve.calls["GET /nodes/{node}/qemu/{vmid}/config"] == 2


@pytest.mark.parametrize(("asked", "answer"), [(None, "100"), (123, "123")])
def test_nextid_is_text(lab, asked, answer) -> None:
    """Recorded 72, 73."""
    assert answer == lab.get("/cluster/nextid", **({"vmid": asked} if asked else {})).data


def test_nextid_of_a_taken_id(lab) -> None:
    """Recorded 209."""
    answer = lab.get("/cluster/nextid", vmid=9000)

    assert (answer.status, answer.body["errors"]) == (400, {"vmid": "VM 9000 already exists"})


def test_network_shows_bridge_then_interface(lab) -> None:
    """Recorded 78, 79."""
    everything = [entry["iface"] for entry in lab.get("/nodes/pve1/network").data]
    bridges = [entry["iface"] for entry in lab.get("/nodes/pve1/network", type="any_bridge").data]

    assert (everything, bridges) == (["vmbr0", "eno1"], ["vmbr0"])


def test_storage_list_filters_by_content(lab) -> None:
    """Recorded 90; a missing storage is a 400 here and nowhere else (93)."""
    names = [entry["storage"] for entry in lab.get("/nodes/pve1/storage", content="iso").data]
    absent = lab.get("/nodes/pve1/storage/nosuch/status")

    assert names == ["local"]
    assert (absent.status, absent.body["errors"]) == (400, {"storage": "No such storage."})
