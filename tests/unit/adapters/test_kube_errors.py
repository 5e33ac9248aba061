"""What a Kubernetes API, something in its place or nobody answers becomes one Failure; no key is left in a file."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from cpcd.adapters.kube import KubeApi
from cpcd.lab.kube.pki import Authority
from cpcd.lab.servers.https import Certificate, server_context
from cpcd.model.errors import Code, Failure, Unreachable
from cpcd.ports.kube import GVK

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = Authority("seed", "home")
OTHER = Authority("another seed", "home")
NODE = GVK("v1", "Node")


def status(code: int, reason: str, message: str, **details: object) -> web.Response:
    """Return an error as the API server writes it."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(body | ({"details": details} if details else {}), status=code)


def discovery(request: web.Request) -> web.Response | None:
    """Answer what a client asks before its first verb."""
    resources = [{"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": ["get"]}]
    documents: dict[str, object] = {
        "/version": {"gitVersion": "v1.34.2"},
        "/apis": {"kind": "APIGroupList", "groups": []},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
    }
    return web.json_response(documents[request.path]) if request.path in documents else None


@asynccontextmanager
async def serving(
    handler: Handler, authority: Authority = AUTHORITY, found: Callable[[web.Request], web.Response | None] = discovery
) -> AsyncIterator[str]:
    """Serve an API whose certificate is `authority`'s; discovery is `found`, the rest is the handler's."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return found(request) or await handler(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tls = server_context(Certificate(*authority.serving(["127.0.0.1"])), client_authority=authority.ca_pem)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def client(url: str, private: Path, authority: Authority = AUTHORITY, scale: float = 1) -> AsyncIterator[KubeApi]:
    """Open the adapter."""
    api = KubeApi(authority.kubeconfig(url), endpoint="kube:home", cache_dir=private, scale=scale)
    yield api
    await api.close()


async def failure(handler: Handler, private: Path, scale: float = 1) -> Failure:
    """Return the Failure that reading a Node ends in."""
    async with serving(handler) as url, client(url, private, scale=scale) as api:
        with pytest.raises(Failure) as caught:
            await api.get(NODE, "cp1")
    return caught.value


@pytest.mark.parametrize(
    ("answer", "code", "text", "retry"),
    [
        ((401, "Unauthorized", "Unauthorized"), Code.AUTH, "401 Unauthorized", None),
        (
            (
                403,
                "Forbidden",
                'nodes is forbidden: User "kubernetes-admin" cannot list resource "nodes" in API group ""',
            ),
            Code.AUTH,
            "still loading RBAC",
            5,
        ),
        (
            (403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted'),
            Code.EXECUTION,
            "403 Forbidden: namespaces",
            None,
        ),
        ((409, "Conflict", "object modified"), Code.EXECUTION, "409 Conflict: object modified", None),
        ((410, "Expired", "too old"), Code.EXECUTION, "410 Expired: too old", 0),
        ((422, "Invalid", "spec.x: Required"), Code.EXECUTION, "spec.x: Required", None),
        ((500, "InternalError", "etcdserver: leader changed"), Code.NETWORK, "leader changed", None),
        ((504, "Timeout", "request did not complete"), Code.NETWORK, "504 Timeout", None),
    ],
)
async def test_status_decides_code_and_words(
    tmp_path: Path, answer: tuple[int, str, str], code: Code, text: str, retry: float | None
) -> None:
    """The sentence carries the API's own message."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return status(*answer)

    error = await failure(handler, tmp_path)

    assert (code, "kube:home", retry) == (error.code, error.target, error.retry)
    assert f"reading Node cp1 failed: {answer[0]}" in error.what
    assert text in error.what


async def test_retry_after_of_the_server_is_kept(tmp_path: Path) -> None:
    """An overloaded server says when to come back (`failures.md` C09)."""

    async def handler(_: web.Request) -> web.StreamResponse:
        refused = status(429, "TooManyRequests", "please try again later")
        refused.headers["Retry-After"] = "7"
        return refused

    assert 7 == (await failure(handler, tmp_path)).retry


async def test_only_a_named_object_is_absent(tmp_path: Path) -> None:
    """A 404 of a path that is no longer served says nothing about the object."""

    async def missing(_: web.Request) -> web.StreamResponse:
        return status(404, "NotFound", 'nodes "cp1" not found', name="cp1", kind="nodes")

    async def unserved(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found\n")

    async with serving(missing) as url, client(url, tmp_path) as api:
        absent = await api.get(NODE, "cp1")
    error = await failure(unserved, tmp_path)

    assert absent is None
    assert error.code is Code.EXECUTION


@pytest.mark.parametrize("code", [404, 503])
async def test_group_that_does_not_answer_is_not_one_without_kinds(tmp_path: Path, code: int) -> None:
    """An aggregated API whose server is away: its kinds are listed nowhere, and yet none of them is absent."""
    version = {"groupVersion": "metrics.k8s.io/v1beta1", "version": "v1beta1"}
    groups = [{"name": "metrics.k8s.io", "versions": [version], "preferredVersion": version}]

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/apis":
            return web.json_response({"kind": "APIGroupList", "groups": groups})
        return web.Response(status=code, text="service unavailable")

    async with serving(handler, found=lambda _: None) as url, client(url, tmp_path) as api:
        calls = (
            api.served("metrics.k8s.io", "NodeMetrics"),
            api.get(GVK("metrics.k8s.io/v1beta1", "NodeMetrics"), "cp1"),
        )
        for call in calls:
            with pytest.raises(Failure) as caught:
                await call
            assert f"{code}" in caught.value.what


async def test_refusal_in_the_body_of_a_success_is_a_refusal(tmp_path: Path) -> None:
    """So the eviction of a pod with two budgets comes (kubernetes: registry/core/pod/storage/eviction.go)."""

    async def handler(_: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "status": "Failure", "message": "more than one PodDisruptionBudget", "code": 500}
        return web.json_response(body, status=201)

    async with serving(handler) as url, client(url, tmp_path) as api:
        with pytest.raises(Failure) as caught:
            await api.evict("default", "web", "u")

    assert Code.EXECUTION is caught.value.code
    assert "500" in caught.value.what
    assert "more than one PodDisruptionBudget" in caught.value.what


async def test_html_is_not_taken_for_the_api(tmp_path: Path) -> None:
    """A login page with status 200 is a failure."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    error = await failure(handler, tmp_path)

    assert error.code is Code.NETWORK
    assert "not the Kubernetes API's JSON" in error.what


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    """A closed port parks the endpoint's keys."""
    async with serving(lambda _: pytest.fail("never asked")) as url:
        pass
    async with client(url, tmp_path) as api:
        with pytest.raises(Unreachable) as caught:
            await api.readyz()

    assert "kube:home" == caught.value.endpoint


async def test_silence_is_unreachable_after_the_timeout(tmp_path: Path) -> None:
    """30 s of the world's time, here 0.2 s."""

    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    assert isinstance(await failure(silent, tmp_path, scale=150), Unreachable)


async def test_a_watch_that_falls_silent_ends_as_unreachable(tmp_path: Path) -> None:
    """Half-open: the server's own limit never comes, the client's does (`failures.md` C01)."""
    events = [{"type": "MODIFIED", "object": {"metadata": {"name": "cp1"}}}]

    async def handler(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        await reply.prepare(request)
        await reply.write(json.dumps(events[0]).encode() + b"\n")
        await asyncio.sleep(3600)
        return reply

    async with serving(handler) as url, client(url, tmp_path, scale=300) as api:
        changes = api.watch(NODE, since="1")
        seen, _ = await anext(changes)
        with pytest.raises(Unreachable):
            await anext(changes)

    assert "MODIFIED" == seen


@pytest.mark.parametrize("event", [{"type": "ERROR", "object": {}}, {"type": "ERROR"}, {"object": {}}, [], "text"])
async def test_an_error_without_a_reason_ends_the_watch_as_a_failure(tmp_path: Path, event: object) -> None:
    """Never as a KeyError that ends the daemon's own reader (`failures.md` C08)."""

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    async with serving(handler) as url, client(url, tmp_path) as api:
        with pytest.raises(Failure):
            await anext(api.watch(NODE, since="1"))


async def test_two_clusters_keep_apart_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client reaches its own, also beside a user's kubeconfig that names another (`failures.md` C13)."""

    def named(name: str) -> Handler:
        async def handler(_: web.Request) -> web.StreamResponse:
            return web.json_response({"kind": "Node", "metadata": {"name": name}})

        return handler

    async with serving(named("one")) as first, serving(named("two"), OTHER) as second:
        (tmp_path / "config").write_text(OTHER.kubeconfig(second))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        async with client(first, tmp_path) as one, client(second, tmp_path, OTHER) as two:
            nodes = [await api.get(NODE, "cp1") for api in (one, two, one, two)]

    assert ["one", "two", "one", "two"] == [node["metadata"]["name"] for node in nodes if node]


async def test_another_clusters_api_is_not_trusted(tmp_path: Path) -> None:
    """Whoever answers at the address without our authority's certificate is an authentication failure."""
    async with serving(lambda _: pytest.fail("never asked"), OTHER) as url, client(url, tmp_path) as api:
        with pytest.raises(Failure) as caught:
            await api.readyz()

    assert caught.value.code is Code.AUTH
    assert "certificate is not trusted" in caught.value.what


async def test_readyz_is_false_while_the_server_says_so(tmp_path: Path) -> None:
    """5xx and 403 are answers."""
    answers = [500, 403, 200]

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=answers.pop(0), text="x")

    async with serving(handler) as url, client(url, tmp_path) as api:
        ready = [await api.readyz() for _ in range(3)]

    assert [False, False, True] == ready


async def test_list_goes_on_to_the_last_page_and_starts_again_when_it_expires(tmp_path: Path) -> None:
    """Items of all pages; an expired continuation is read again in one piece."""

    async def handler(request: web.Request) -> web.StreamResponse:
        match request.query.get("limit"), request.query.get("continue"):
            case None, None:
                names, more = ["a", "b", "c"], ""
            case _, None:
                names, more = ["a"], "second"
            case _, "second":
                names, more = ["b"], "third"
            case _:
                return status(410, "Expired", "The provided continue parameter is too old")
        items = [{"metadata": {"name": name}} for name in names]
        return web.json_response({"metadata": {"resourceVersion": "9", "continue": more}, "items": items})

    async with serving(handler) as url, client(url, tmp_path) as api:
        items, version = await api.list(NODE)

    assert [("a", "Node"), ("b", "Node"), ("c", "Node")] == [(it["metadata"]["name"], it["kind"]) for it in items]
    assert "9" == version


@pytest.mark.parametrize("text", ["", "{", "apiVersion: v1", "contexts: [{name: a, context: {cluster: b, user: c}}]"])
def test_unusable_kubeconfig_is_an_authentication_failure(tmp_path: Path, text: str) -> None:
    """Its text is never quoted."""
    with pytest.raises(Failure) as caught:
        KubeApi(text, endpoint="kube:home", cache_dir=tmp_path)

    assert caught.value.code is Code.AUTH


async def test_key_and_discovery_leave_no_file(tmp_path: Path) -> None:
    """The private directory is ours alone and empty afterwards."""
    private = tmp_path / "private"

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": "cp1"}})

    async with serving(handler) as url, client(url, private) as api:
        await api.get(NODE, "cp1")

    assert [] == list(private.iterdir())
    assert 0o700 == private.stat().st_mode & 0o777


async def test_watch_ends_with_the_server_and_raises_expired(tmp_path: Path) -> None:
    """An ERROR event of 410 tells to list again (`failures.md` C02)."""
    events = [
        {"type": "MODIFIED", "object": {"metadata": {"name": "cp1"}}},
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}},
    ]

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text="".join(json.dumps(event) + "\n" for event in events), content_type="application/json")

    async with serving(handler) as url, client(url, tmp_path) as api:
        changes = api.watch(NODE, since="1")
        seen, _ = await anext(changes)
        with pytest.raises(Failure) as caught:
            await anext(changes)

    assert "MODIFIED" == seen
    assert "410 Expired" in caught.value.what
