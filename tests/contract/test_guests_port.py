"""One suite for the port of machines, run on each implementation (`guest_sites.py`).

They are the lab's model in process, the adapter on the lab's SSH server, and the adapter on a real sshd with
`guest/ops.py` behind it.

What one implementation alone can do is not here: connections that are cut or fall silent, time-outs, cancellation,
idleness and what a shell says instead of a reply are the adapter's (`tests/integration/test_ssh.py`), systemd's unit
is the machine's (`test_guest_unit.py`), `prepare` on a real machine is Ansible's (`test_prepare_playbook.py`).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.guests import LONG_VERBS, SHORT_VERBS
from tests.contract.guest_sites import SITES, Site
from tests.integration.sshd import write_key

ABSENT = {"state": "absent", "boot_id": "", "rc": None, "output": {}, "error": {}}
WAYS = ("call", "submit", "poll")
BACKUP = "/var/lib/cpcd/backup.db"
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "facts": {"names": []},
    "join_secrets": {"ttl": "15m0s", "control_plane": True},
    "etcd_remove": {"id": "4660"},
    "release_endpoint": {"address": "10.9.9.9"},
}
SECRET = "s3cr3t"
MANIFEST = "/etc/kubernetes/manifests/kube-vip.yaml"


@pytest.fixture(params=SITES.values(), ids=SITES)
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Return each site in turn."""
    async for opened in request.param(tmp_path):
        yield opened


async def refusal(call: Awaitable[object]) -> Failure:
    """Return the Failure that a call ends in."""
    with pytest.raises(Failure) as caught:
        await call
    return caught.value


async def submitted(site: Site, op: str, path: str = BACKUP) -> None:
    """Begin a snapshot and see it at work."""
    await site.guests.submit(site.host, op, "etcd_snapshot", {"path": path})
    await site.begun()


# --- looks and short verbs -------------------------------------------------------------------------------------------


async def test_facts_are_of_one_shape(site: Site) -> None:
    """The keys of the catalogue, and below them the same keys and types everywhere."""
    facts = await site.guests.call(site.host, "facts", {})

    assert set(SHORT_VERBS["facts"][1]) == set(facts)
    assert {"status", "detail"} == set(facts["cloud_init"])
    assert {"kubelet", "kubeadm", "kubectl", "containerd"} == set(facts["packages"])
    assert {name: {"active", "enabled"} for name in ("kubelet", "containerd")} == {
        name: set(service) for name, service in facts["services"].items()
    }
    assert {"admin_conf", "kubelet_conf", "bootstrap_conf", "pki", "ca_hash", "etcd_data", "manifests"} == set(
        facts["kubeadm"]
    )
    types = {"clock": float, "swap": bool, "modules": list, "holds": list, "certificates": dict, "prepared": str}
    types |= {"addresses": list, "readyz": int, "hostname": str, "machine_id": str, "system_uuid": str}
    assert types == {name: type(facts[name]) for name in types}
    assert {"size", "disk"} == set(facts["root"])
    assert facts["root"]["size"] > 0
    assert facts["root"]["disk"] is None or facts["root"]["disk"] > 0
    assert re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", facts["boot_id"])


async def test_only_the_facts_that_are_named_are_told(site: Site) -> None:
    """Some take a program to tell."""
    for names in (["boot_id", "readyz"], ["cloud_init"]):
        assert set(names) == set(await site.guests.call(site.host, "facts", {"names": names}))


async def test_facts_show_what_kubeadm_left(site: Site) -> None:
    """A control plane has its files, its authority and its data; certificates have their ends."""
    facts = await site.guests.call(site.host, "facts", {})

    found = facts["kubeadm"]
    assert (True, True, True) == (found["admin_conf"], found["pki"], found["etcd_data"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", found["ca_hash"])
    assert facts["certificates"]["ca"] > facts["clock"]


async def test_a_short_verb_answers_with_its_keys(site: Site) -> None:
    """No more, no less; what they are given are the catalogue's keys too."""
    leader = (await site.guests.call(site.host, "etcd_members", {}))["leader"]
    given = {verb: GIVEN.get(verb, {"to": leader} if verb == "etcd_move_leader" else {}) for verb in SHORT_VERBS}

    assert {verb: set(taken) for verb, (taken, _) in SHORT_VERBS.items()} == {
        verb: set(with_) for verb, with_ in given.items()
    }
    assert {verb: set(keys) for verb, (_, keys) in SHORT_VERBS.items()} == {
        verb: set(await site.guests.call(site.host, verb, with_)) for verb, with_ in given.items()
    }


async def test_secrets_of_a_join_have_kubeadms_forms(site: Site) -> None:
    """A worker's have no certificate key."""
    for_all = await site.guests.call(site.host, "join_secrets", {"ttl": "15m0s", "control_plane": True})
    for_worker = await site.guests.call(site.host, "join_secrets", {"ttl": "15m0s", "control_plane": False})

    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", for_all["token"])
    assert re.fullmatch(r"[0-9a-f]{64}", for_all["certificate_key"])
    assert "" == for_worker["certificate_key"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", for_worker["ca_hash"])


async def test_one_authority_is_told_by_all_verbs(site: Site) -> None:
    """Facts, kubeconfig and join secrets name the same hash."""
    facts = await site.guests.call(site.host, "facts", {})
    kubeconfig = await site.guests.call(site.host, "kubeconfig", {})
    secrets = await site.guests.call(site.host, "join_secrets", {"ttl": "15m0s", "control_plane": False})

    assert facts["kubeadm"]["ca_hash"] == kubeconfig["ca_hash"] == secrets["ca_hash"]
    assert "kind: Config" in kubeconfig["kubeconfig"]


async def test_members_are_of_one_shape_and_the_leader_is_one_of_them(site: Site) -> None:
    """Ids are decimal text: they do not fit into what JSON readers call a number."""
    found = await site.guests.call(site.host, "etcd_members", {})

    [member] = found["members"]
    assert {"id", "name", "peer_urls", "client_urls", "learner", "started", "healthy"} == set(member)
    assert (True, True, False) == (member["started"], member["healthy"], member["learner"])
    assert member["id"] == found["leader"]
    assert found["leader"].isdigit()


async def test_a_member_that_is_not_listed_is_removed_already(site: Site) -> None:
    """Removal is repeatable, and takes nothing else away."""
    before = await site.guests.call(site.host, "etcd_members", {})
    removed = await site.guests.call(site.host, "etcd_remove", {"id": "4660"})

    assert ({"removed": True}, before) == (removed, await site.guests.call(site.host, "etcd_members", {}))


async def test_what_is_no_member_id_is_refused_as_input(site: Site) -> None:
    """It never reaches etcd."""
    error = await refusal(site.guests.call(site.host, "etcd_remove", {"id": ""}))

    assert (Code.INPUT, "cp1") == (error.code, error.target)
    assert "is no etcd member id" in error.what


async def test_leadership_moved_to_the_leader_stays(site: Site) -> None:
    """Repeatable like everything."""
    leader = (await site.guests.call(site.host, "etcd_members", {}))["leader"]

    assert {"leader": leader} == await site.guests.call(site.host, "etcd_move_leader", {"to": leader})


async def test_an_address_that_is_not_here_is_released(site: Site) -> None:
    """Nothing happens, and that is success."""
    assert {"released": True} == await site.guests.call(site.host, "release_endpoint", {"address": "10.9.9.9"})


@pytest.mark.parametrize("verb", ["reset", "nonsense"])
async def test_what_is_no_short_verb_is_refused_as_input(site: Site, verb: str) -> None:
    """A long verb cannot be called."""
    assert Code.INPUT == (await refusal(site.guests.call(site.host, verb, {}))).code


@pytest.mark.parametrize("verb", ["facts", "nonsense"])
async def test_what_is_no_long_verb_is_refused_as_input_and_not_begun(site: Site, verb: str) -> None:
    """A short verb cannot be submitted."""
    assert Code.INPUT == (await refusal(site.guests.submit(site.host, "op1", verb, {}))).code
    assert ABSENT == await site.guests.poll(site.host, "op1")


# --- operations ------------------------------------------------------------------------------------------------------


async def test_an_op_that_nobody_began_is_absent(site: Site) -> None:
    """The proof that it may be begun."""
    assert ABSENT == await site.guests.poll(site.host, "never")


async def test_an_op_runs_and_is_done(site: Site) -> None:
    """Running under this boot, then rc 0 with the verb's output, and the result stays."""
    boot = (await site.guests.call(site.host, "facts", {}))["boot_id"]
    await submitted(site, "op1")
    running = await site.guests.poll(site.host, "op1")
    done = await site.ended("op1")

    assert {"state": "running", "boot_id": boot, "rc": None, "output": {}, "error": {}} == running
    assert ("done", 0, {}, boot) == (done["state"], done["rc"], done["error"], done["boot_id"])
    assert set(LONG_VERBS["etcd_snapshot"][1]) == set(done["output"])
    assert BACKUP == done["output"]["path"]
    assert site.there(BACKUP)
    assert done == await site.guests.poll(site.host, "op1")


async def test_a_machine_waits_for_the_end_of_what_runs(site: Site) -> None:
    """So that it is asked once, beside its work."""
    await submitted(site, "op1")
    polled = asyncio.create_task(site.guests.poll(site.host, "op1", patience=60))
    while not polled.done():
        await asyncio.sleep(0)  # the model's time passes without it
        await site.wait(1)

    assert "done" == (await polled)["state"]


async def test_of_the_snapshots_the_newest_three_are_kept(site: Site) -> None:
    """Of those that are named after their op, as the daemon names them."""
    names = {f"op{number}": f"/var/lib/cpcd/snapshots/op{number}.db" for number in range(1, 5)}
    for op, path in {"other": "/var/lib/cpcd/snapshots/mine.db", **names}.items():
        await submitted(site, op, path)
        assert "done" == (await site.ended(op))["state"]

    assert [False, True, True, True] == [site.there(path) for path in names.values()]
    assert site.there("/var/lib/cpcd/snapshots/mine.db")


async def test_an_op_fails_with_its_reason(site: Site) -> None:
    """A machine that is a member already: kubeadm's finding, by cpcd's name."""
    given = {"config": _join_config(), "manifests": {}}
    await site.guests.submit(site.host, "op1", "join", given)
    failed = await site.ended("op1")

    assert ("failed", {}, {"reason", "message"}) == (failed["state"], failed["output"], set(failed["error"]))
    assert failed["rc"] != 0
    assert "PreflightFilesPresent" == failed["error"]["reason"]


async def test_an_init_after_a_reset_makes_a_control_plane(site: Site) -> None:
    """Output as the catalogue says, one voter, and the late phases' ConfigMaps."""
    await site.guests.submit(site.host, "op0", "reset", {})
    assert "done" == (await site.ended("op0"))["state"]
    await site.guests.submit(site.host, "op1", "init", site.init)
    made = await site.ended("op1")

    assert ("done", set(LONG_VERBS["init"][1])) == (made["state"], set(made["output"]))
    assert (1, {"kubeadm-config", "cluster-info"}) == (made["output"]["voters"], set(made["output"]["config_maps"]))


async def test_a_reset_takes_kubeadms_files_away(site: Site) -> None:
    """What facts tell afterwards."""
    await site.guests.submit(site.host, "op1", "reset", {})
    done = await site.ended("op1")
    found = (await site.guests.call(site.host, "facts", {}))["kubeadm"]

    assert ("done", {}) == (done["state"], done["output"])
    assert (False, False, False, []) == (
        found["admin_conf"], found["pki"], found["etcd_data"], found["manifests"],
    )  # fmt: skip
    gone = await refusal(site.guests.call(site.host, "kubeconfig", {}))
    assert (Code.EXECUTION, "cp1") == (gone.code, gone.target)
    assert "there is no /etc/kubernetes/admin.conf" in gone.what


async def test_a_manifest_is_placed_before_kubeadm_runs(site: Site) -> None:
    """The preflight refuses this join, and the file is there; a secret that came with it is told nowhere."""
    given = {"config": _join_config(), "manifests": {MANIFEST: f"kind: Pod\n# {SECRET}\n"}}
    await site.guests.submit(site.host, "op1", "join", given)
    failed = await site.ended("op1")

    assert site.there(MANIFEST)
    assert SECRET not in str(failed)


async def test_two_submits_of_one_op_begin_it_once(site: Site) -> None:
    """While it runs and after its end, also where the second one asks for something else."""
    await submitted(site, "op1")
    await site.guests.submit(site.host, "op1", "etcd_snapshot", {"path": "/var/lib/cpcd/other.db"})
    done = await site.ended("op1")
    await site.guests.submit(site.host, "op1", "reset", {})

    assert (BACKUP, done) == (done["output"]["path"], await site.guests.poll(site.host, "op1"))
    assert not site.there("/var/lib/cpcd/other.db")
    assert (await site.guests.call(site.host, "facts", {}))["kubeadm"]["admin_conf"]


async def test_two_submits_at_the_same_time_begin_it_once(site: Site) -> None:
    """Both return, or the second finds the machine held by the first and is tried again."""
    both = [site.guests.submit(site.host, "op1", "etcd_snapshot", {"path": BACKUP}) for _ in range(2)]
    ends = await asyncio.gather(*both, return_exceptions=True)
    await site.begun()
    done = await site.ended("op1")

    assert None in ends
    assert {"busy"} >= {end.what for end in ends if isinstance(end, Failure)}
    assert "done" == done["state"]


async def test_a_held_machine_is_busy_and_the_other_op_is_not_begun(site: Site) -> None:
    """One at a time; afterwards the same submit goes through."""
    await submitted(site, "op1")
    error = await refusal(site.guests.submit(site.host, "op2", "reset", {}))
    other = await site.guests.poll(site.host, "op2")
    await site.ended("op1")
    await site.guests.submit(site.host, "op2", "reset", {})

    assert (Code.EXECUTION, "busy", "cp1") == (error.code, error.what, error.target)
    assert ABSENT == other
    assert "done" == (await site.ended("op2"))["state"]


async def test_what_was_killed_is_lost_and_is_not_begun_again(site: Site) -> None:
    """No result will ever come; the machine is free for another op."""
    await submitted(site, "op1")
    await site.kill()
    lost = await site.ended("op1")
    await site.guests.submit(site.host, "op1", "etcd_snapshot", {"path": BACKUP})
    await submitted(site, "op2", "/var/lib/cpcd/second.db")

    assert ("lost", None, {}, {}) == (lost["state"], lost["rc"], lost["output"], lost["error"])
    assert lost == await site.guests.poll(site.host, "op1")
    assert "done" == (await site.ended("op2"))["state"]


async def test_what_ran_before_a_reboot_is_lost_under_its_own_boot(site: Site) -> None:
    """The boot id tells that the machine has gone down since; what was done stays done."""
    before = (await site.guests.call(site.host, "facts", {}))["boot_id"]
    await submitted(site, "op1")
    await site.ended("op1")
    await submitted(site, "op2", "/var/lib/cpcd/second.db")
    await site.reboot()
    after = (await site.guests.call(site.host, "facts", {}))["boot_id"]

    assert before != after
    assert ("done", before) == _of(await site.guests.poll(site.host, "op1"))
    assert ("lost", before) == _of(await site.guests.poll(site.host, "op2"))


def _of(state: Mapping[str, Any]) -> tuple[str, str]:
    return state["state"], state["boot_id"]


async def test_prepare_is_an_op_where_the_machine_itself_answers_it(site: Site) -> None:
    """The model's; `guest/ops.py` has no such verb, for it is a playbook, and refuses it."""
    given = {"version": "v1.34.2", "packages": {}, "timezone": "UTC", "profile": "p2"}
    if not site.prepares:
        assert Code.INPUT == (await refusal(site.guests.submit(site.host, "op1", "prepare", given))).code
        return
    await site.guests.submit(site.host, "op1", "prepare", given)
    done = await site.ended("op1")

    assert ("done", {"changed": True}) == (done["state"], done["output"])
    assert "p2" == (await site.guests.call(site.host, "facts", {}))["prepared"]


# --- identity and reach ----------------------------------------------------------------------------------------------


async def asked(site: Site, way: str) -> object:
    """Use one method of the port."""
    match way:
        case "call":
            return await site.guests.call(site.host, "facts", {})
        case "submit":
            return await site.guests.submit(site.host, "op1", "reset", {})
        case _:
            return await site.guests.poll(site.host, "op1")


@pytest.mark.parametrize("pinned", ["another", ""])
async def test_a_machine_without_the_pinned_key_is_not_asked(site: Site, tmp_path: Path, pinned: str) -> None:
    """`failures.md` S02: AUTH, not a network matter; nothing was begun, and the right key goes on working."""
    host = site.host
    site.host = replace(host, host_key=pinned and write_key(tmp_path / "other"))
    errors = [await refusal(asked(site, way)) for way in WAYS]
    site.host = host

    assert [(Code.AUTH, "cp1")] * 3 == [(error.code, error.target) for error in errors]
    assert not any(isinstance(error, Unreachable) for error in errors)
    assert ABSENT == await site.guests.poll(host, "op1")


async def test_the_comment_of_a_pinned_key_is_no_part_of_it(site: Site) -> None:
    """The agent reads whole lines."""
    kind, key, *_ = site.host.host_key.split()

    assert await site.guests.call(replace(site.host, host_key=f"{kind} {key} root@elsewhere"), "facts", {})


async def test_the_next_user_is_tried_when_one_is_refused(site: Site) -> None:
    """Cloud images differ in their user's name (`failures.md` G07)."""
    assert await site.guests.call(replace(site.host, users=("nobody-one", *site.host.users)), "facts", {})


async def test_when_no_user_is_let_in_it_is_said(site: Site) -> None:
    """AUTH with everybody who was tried."""
    error = await refusal(site.guests.call(replace(site.host, users=("nobody-one", "nobody-two")), "facts", {}))

    assert (Code.AUTH, "cp1") == (error.code, error.target)
    assert "the key is refused for nobody-one, nobody-two" == error.what


async def test_who_is_not_in_the_file_any_more_is_not_connected_to(site: Site) -> None:
    """CONFIG, whatever is asked: nothing says as whom, or on which port."""
    host = site.host
    site.host = replace(host, port=0, users=())
    errors = [await refusal(asked(site, way)) for way in WAYS]
    site.host = host

    assert [(Code.CONFIG, "cp1", "nothing says how to reach it: its document is gone")] * 3 == [
        (error.code, error.target, error.what) for error in errors
    ]
    assert ABSENT == await site.guests.poll(host, "op1")


async def test_a_machine_that_is_off_is_unreachable_by_its_own_endpoint(site: Site) -> None:
    """Its keys alone park; a connection that was open before is of no use."""
    await asked(site, "poll")
    await site.off()
    errors = [await refusal(asked(site, way)) for way in WAYS]

    assert [(Code.NETWORK, "guest:u1")] * 3 == [
        (error.code, error.endpoint) for error in errors if isinstance(error, Unreachable)
    ]


async def test_a_machine_listens_until_it_is_off(site: Site) -> None:
    """No login and no trust is needed, and it never raises."""
    stranger = replace(site.host, host_key="", users=())
    before = await site.guests.listens(stranger)
    await site.off()

    assert (True, False) == (before, await site.guests.listens(stranger))


async def test_calls_may_overlap(site: Site) -> None:
    """Each has its own answer."""
    found = await asyncio.gather(*(site.guests.poll(site.host, f"op{number}") for number in range(4)))

    assert [ABSENT] * 4 == found


async def test_closing_closes_what_is_idle_and_the_next_call_works(site: Site) -> None:
    """Nothing is lost with a connection."""
    await submitted(site, "op1")
    await site.guests.close()

    assert "running" == (await site.guests.poll(site.host, "op1"))["state"]
    assert "done" == (await site.ended("op1"))["state"]


def _join_config() -> str:
    bootstrap = '{"token": "abcdef.0123456789abcdef", "apiServerEndpoint": "10.0.0.4:6443"}'
    registration = '{"name": "cp1", "kubeletExtraArgs": []}'
    return (
        '{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",'
        f' "discovery": {{"bootstrapToken": {bootstrap}}}, "nodeRegistration": {registration}}}'
    )
