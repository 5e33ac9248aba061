"""What Proxmox, a proxy in between or a broken wire answers becomes one Failure that says what, where and what to do."""

import json
from collections.abc import Callable

import pytest

from cpcd.adapters.proxmox import ProxmoxApi
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.model.texts import judged
from cpcd.ports.proxmox import Request, Response

Answer = Response | Exception
TOKEN = "cpcd@pve!lab=secret-of-the-token"


class Script:
    """A transport that plays answers in order, the last one for ever, and counts what was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        """Play the next answer."""
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


def refusal(status: int, reason: str, **body: object) -> Response:
    """Return an error as Proxmox writes it: text in the reason phrase and, where it has one, in the body."""
    return Response(status, reason, json.dumps({"data": None, **body}).encode() if body else b"")


def ok(value: object) -> Response:
    """Return a success."""
    return Response(200, "OK", json.dumps({"data": value}).encode())


def api(*answers: Answer) -> ProxmoxApi:
    """Return the adapter over scripted answers."""
    return ProxmoxApi(Script(*answers), "home", lambda: TOKEN)


async def failure(call: Callable[[ProxmoxApi], object], *answers: Answer) -> Failure:
    """Return the Failure that a call ends in."""
    with pytest.raises(Failure) as caught:
        await call(api(*answers))  # type: ignore[misc]  # any coroutine
    return caught.value


def read(proxmox: ProxmoxApi) -> object:
    """A read of one VM."""
    return proxmox.config("pve1", 100)


def bulk(proxmox: ProxmoxApi) -> object:
    """A read that names no node."""
    return proxmox.resources()


def clone(proxmox: ProxmoxApi) -> object:
    """A write."""
    return proxmox.clone("pve1", 9000, newid=301, name="n", description="d", pool="k8s", full=True, target="pve1")


async def test_refused_token_is_an_authentication_failure_without_the_secret() -> None:
    """A 401 has no body; its reason is quoted, and the token is nowhere in the failure."""
    error = await failure(bulk, refusal(401, "Authentication failed!"))

    assert (Code.AUTH, "pve:home") == (error.code, error.target)
    assert "Authentication failed!" in error.what
    assert "secret-of-the-token" not in f"{error} {error.hint} {error!r}"


@pytest.mark.parametrize(
    ("text", "privilege", "path"),
    [
        (
            "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)",
            "SDN.Use",
            "/sdn/zones/localnetwork/vmbr0",
        ),
        (
            "Permission check failed (/storage/local, Datastore.AllocateSpace)",
            "Datastore.AllocateSpace",
            "/storage/local",
        ),
        (
            "Permission check failed (/vms/900, VM.Config.Disk|VM.Config.CPU)",
            "VM.Config.Disk|VM.Config.CPU",
            "/vms/900",
        ),
    ],
)
async def test_missing_privilege_is_named(text: str, privilege: str, path: str) -> None:
    """A 403 names the privilege and the path, in the sentence and in the hint."""
    error = await failure(clone, refusal(403, text, message=text + "\n"))

    assert error.code is Code.AUTH
    assert f"the token lacks {privilege} on {path}" in error.what
    assert f"Grant {privilege} on {path}" in error.hint


async def test_bare_permission_check_says_what_a_clone_needs() -> None:
    """Without any right on the VMID Proxmox names nothing, so the hint does."""
    error = await failure(clone, refusal(403, "Permission check failed", message="Permission check failed\n"))

    assert error.code is Code.AUTH
    assert "VM.Allocate" in error.hint


async def test_missing_pool_is_a_dependency_though_it_is_a_403() -> None:
    """recorded(251): status 403, but no privilege is missing."""
    text = "Permission check failed (pool 'nosuch' does not exist)"
    error = await failure(clone, refusal(403, text, message=text))

    assert (Code.DEPENDENCY, "clone of template 9000 to 301 failed: pool nosuch does not exist") == (
        error.code,
        error.what,
    )


@pytest.mark.parametrize("status", [595, 596, 599])
async def test_lost_inner_hop_of_one_node_is_that_nodes_failure(status: int) -> None:
    """The endpoint answered: only the node is in question."""
    error = await failure(read, refusal(status, "No route to host"))

    assert not isinstance(error, Unreachable)
    assert (Code.NETWORK, "pve:home/node:pve1") == (error.code, error.target)


@pytest.mark.parametrize("status", [595, 596, 599])
async def test_lost_inner_hop_of_no_node_is_the_endpoints(status: int) -> None:
    """`/cluster` needs the node we talk to."""
    error = await failure(bulk, refusal(status, "Connection refused"))

    assert isinstance(error, Unreachable)
    assert error.endpoint == "pve:home"


@pytest.mark.parametrize(
    "trouble",
    [
        ConnectionRefusedError("https://127.0.0.1:8006: Connection refused"),
        ConnectionResetError("broken"),
        TimeoutError("no answer within 40 s"),
        refusal(500, "RPCEnvironment init request failed: Unable to load access control list: Connection refused"),
    ],
)
async def test_no_answer_is_unreachable(trouble: Answer) -> None:
    """Refused, reset, silent and a dead pmxcfs park the endpoint's keys."""
    error = await failure(read, trouble)

    assert isinstance(error, Unreachable)
    assert error.endpoint == "pve:home"


@pytest.mark.parametrize("trouble", [refusal(599, "Too many redirections"), ConnectionResetError("broken")])
async def test_read_survives_two_lost_connections(trouble: Answer) -> None:
    """GET is repeated, three times in all (`failures.md` T03, T08)."""
    proxmox = api(trouble, trouble, ok({"name": "web"}))

    assert {"name": "web"} == await proxmox.config("pve1", 100)


@pytest.mark.parametrize("trouble", [refusal(596, "Connection timed out"), ConnectionResetError("broken")])
async def test_write_is_never_repeated(trouble: Answer) -> None:
    """Nobody knows whether the first one took effect (`failures.md` rule 1)."""
    script = Script(trouble, ok("UPID:second"))

    with pytest.raises(Failure):
        await ProxmoxApi(script, "home", lambda: TOKEN).destroy("pve1", 100)
    assert len(script.sent) == 1


async def test_silence_is_not_asked_again() -> None:
    """A time-out has cost 40 s already; the endpoint's owner decides when to ask again."""
    script = Script(TimeoutError())

    with pytest.raises(Unreachable):
        await ProxmoxApi(script, "home", lambda: TOKEN).resources()
    assert len(script.sent) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, "OK", b"<html>Login</html>", {"Content-Type": "text/html"}),
        Response(502, "Bad Gateway", b"<html>nginx</html>", {"Content-Type": "text/html; charset=utf-8"}),
        Response(302, "Found", b"", {"Location": "/login"}),
        Response(503, "Service Unavailable", b"no healthy upstream"),
        Response(200, "OK", b'{"data": [{"vmid": 10', {"Content-Type": "application/json"}),
        Response(200, "OK", b'{"errors": "x"}'),
        Response(200, "OK", b'{"data": "a text where a list belongs"}'),
    ],
)
async def test_foreign_answer_is_not_taken_for_the_api(answer: Response) -> None:
    """HTML of a proxy, truncated JSON and the wrong type are failures, never data (`failures.md` T10)."""
    error = await failure(bulk, answer)

    assert error.code is Code.NETWORK
    assert "not the Proxmox API's JSON" in error.what


async def test_bad_parameters_are_named() -> None:
    """400 says nothing in its reason; the fields are in `errors`."""
    errors = {"memory": "type check ('integer') failed - got 'lots'\n", "newid": "invalid format\n"}
    error = await failure(clone, refusal(400, "Parameter verification failed.", errors=errors))

    assert error.code is Code.EXECUTION
    assert "memory: type check ('integer') failed - got 'lots'; newid: invalid format" in error.what


@pytest.mark.parametrize(
    ("text", "code", "retry"),
    [
        ("VM is locked (backup)", Code.EXECUTION, 3),
        ("can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout", Code.EXECUTION, 3),
        ("checksum mismatch (file change by other user?)", Code.EXECUTION, 0),
        ("cluster not ready - no quorum?", Code.NETWORK, None),
        ("unable to open file '/etc/pve/nodes/pve1/qemu-server/1.conf.tmp.9' - Permission denied", Code.NETWORK, None),
        ("storage 'nosuch' does not exist", Code.DEPENDENCY, None),
        ("unable to find configuration file for VM 9000 on node 'pve1'", Code.DEPENDENCY, None),
        ("hostname lookup 'pve9' failed - failed to get address info for: pve9: Name or service not known",
         Code.DEPENDENCY, None),
        ("only root can set 'args' config", Code.AUTH, None),
        ("unable to create VM 301: config file already exists", Code.EXECUTION, None),
        ("some text that nobody has seen before", Code.EXECUTION, None),
    ],
)  # fmt: skip
async def test_text_decides_alike_in_answers_and_task_exits(text: str, code: Code, retry: float | None) -> None:
    """The same text comes as status 500 or as a task's exit, depending on the release."""
    answered = await failure(clone, refusal(500, text, message=text + "\n"))
    exited, said, _, again = judged(text)

    assert (code, retry, "pve:home/vm:301") == (answered.code, answered.retry, answered.target)
    assert (code, f"clone of template 9000 to 301 failed: {said}", retry) == (exited, answered.what, again)


@pytest.mark.parametrize(
    "answer",
    [
        refusal(500, "VM is locked (backup)"),
        refusal(500, "Internal Server Error", message="VM is locked (backup)\n"),
        Response(500, "", b'{"data":null,"message":"VM is locked (backup)\\n"}'),
    ],
)
async def test_text_is_found_in_reason_or_body(answer: Response) -> None:
    """HTTP/2 and rewriting proxies drop the reason, old releases have no message (`failures.md` T07)."""
    error = await failure(clone, answer)

    assert "clone of template 9000 to 301 failed: VM is locked (backup)" == error.what


async def test_missing_vm_is_none_for_reads_and_a_failure_for_writes() -> None:
    """There is no 404: the text decides."""
    text = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"
    gone = refusal(500, text, message=text + "\n")
    error = await failure(lambda it: it.configure("pve1", 100, {"cores": 2}, digest="d"), gone)

    assert None is await api(gone).config("pve1", 100)
    assert None is await api(gone).status("pve1", 100)
    assert error.code is Code.EXECUTION


async def test_unknown_task_is_none() -> None:
    """Just after its start and after log rotation a task is unknown (`failures.md` T15)."""
    answer = refusal(400, "Parameter verification failed.", errors={"upid": "no such task"})

    assert None is await api(answer).task_status("pve1", "UPID:pve1:1:2:3:qmstart:100:a@pve!t:")


async def test_taken_vmid_is_not_free_and_other_refusals_are_no_answer() -> None:
    """recorded(209) is an answer; a range error (recorded(74)) is not."""
    taken = refusal(400, "Parameter verification failed.", errors={"vmid": "VM 100 already exists"})
    wrong = refusal(400, "Parameter verification failed.", errors={"vmid": "value does not look like a valid VM ID"})
    error = await failure(lambda it: it.vmid_free(9), wrong)

    assert (True, False) == (await api(ok("100")).vmid_free(100), await api(taken).vmid_free(100))
    assert error.code is Code.EXECUTION
