"""The Kubernetes API's answers, through the library that carries them, the adapter's verbs and the decoding.

Only the HTTP session is replaced. Whatever comes, discovery's documents included: values of the right shape or a
Failure, and an object is only absent when the API says so.
"""

import functools
import json
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self

import aiohttp

from cpcd.adapters.kube import KubeApi
from cpcd.adapters.kube.discovery import Discovery
from cpcd.adapters.requests import names_of
from cpcd.lab.kube.pki import Authority
from cpcd.model.errors import Failure
from cpcd.model.seen import Csr, Node, Pod
from cpcd.ports.kube import Object, Served
from cpcd.sources import decode
from tests.fuzz import mutate
from tests.fuzz.seeds import KINDS, now, objects
from tests.fuzz.shapes import conforms, demand, judge

__all__ = ["Case", "check", "make"]

STATUSES: Final = (200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 404, 409, 410, 422, 429, 500, 503, 504, 100, 0)
SILENCE: Final[tuple[Callable[[], Exception], ...]] = (
    aiohttp.ServerDisconnectedError, lambda: aiohttp.ClientPayloadError("cut"), TimeoutError,
    ConnectionResetError, lambda: ssl.SSLError(1, "tlsv13 alert certificate required"),
    lambda: aiohttp.ClientConnectionError("no route"), lambda: aiohttp.InvalidURL("x"),
)  # fmt: skip
VERSION: Final = {"major": "1", "minor": "34", "gitVersion": "v1.34.2"}
NODES = KINDS["Node"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    reason: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One verb, a kind, and answers by the order of requests; what is beyond them is answered as it should be."""

    verb: str
    kind: str
    answers: tuple[Reply | Exception, ...]
    discovery: bool


class _Response:
    """What the library uses of an aiohttp response."""

    def __init__(self, reply: Reply) -> None:
        self.status, self.reason, self.headers, self._body = reply.status, reply.reason, reply.headers, reply.body

    async def read(self) -> bytes:
        return self._body

    async def json(self) -> Any:
        """Decode as aiohttp does, which is strict about the content type and nothing else."""
        if "json" not in self.headers.get("Content-Type", ""):
            raise aiohttp.ContentTypeError(SimpleNamespace(real_url="https://127.0.0.1"), (), message="text/html")
        return json.loads(self._body.decode("utf-8"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    def release(self) -> None:
        return

    @property
    async def _lines(self) -> AsyncIterator[bytes]:
        for line in self._body.splitlines(keepends=True):
            yield line

    @property
    def content(self) -> AsyncIterator[bytes]:
        return self._lines


class _Session:
    """Answers requests: discovery as it should be unless it is what is damaged, then the case's answers in turn."""

    def __init__(self, case: Case) -> None:
        self._case, self._next = case, iter(case.answers)
        self.last: Reply | Exception | None = None

    async def request(self, *, method: str, url: str, **_: Any) -> _Response:
        path = url.removeprefix("https://127.0.0.1:6443").partition("?")[0]
        right = _discovered(path)
        answer = None if right is not None and not self._case.discovery else next(self._next, None)
        if right is None:
            answer = answer or self._case.answers[-1]
            self.last = answer
        answer = answer or Reply(200, "OK", json.dumps(right).encode(), {"Content-Type": "application/json"})
        if isinstance(answer, Exception):
            raise answer
        return _Response(answer)


def _discovered(path: str) -> Any:
    """Return the document of a path that discovery asks for."""
    resources = [
        {"name": f"{kind.lower()}s", "singularName": kind.lower(), "namespaced": kind in {"Pod", "ConfigMap"}, "kind": kind, "verbs": ["get"]}
        for kind in KINDS
    ]  # fmt: skip
    version = {"groupVersion": "certificates.k8s.io/v1", "version": "v1"}
    group = {"name": "certificates.k8s.io", "versions": [version], "preferredVersion": version}
    return {
        "/version": VERSION,
        "/apis": {"kind": "APIGroupList", "groups": [group]},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources},
        "/apis/certificates.k8s.io/v1": {
            "kind": "APIResourceList", "groupVersion": "certificates.k8s.io/v1", "resources": resources,
        },
    }.get(path)  # fmt: skip


@functools.cache
def _api() -> KubeApi:
    """The adapter, made once: its client key passes through a directory that is gone again at once."""
    kubeconfig = Authority("seed", "home").kubeconfig("https://127.0.0.1:6443")
    with tempfile.TemporaryDirectory(prefix="cpcd-fuzz-") as private:
        return KubeApi(kubeconfig, endpoint="kube:home", cache_dir=Path(private))


def make(rng: random.Random) -> Case:
    """Return a verb with its answers."""
    verb, kind = rng.choice(tuple(VERBS)), rng.choice(tuple(KINDS))
    kind = {
        "nodes": "Node",
        "node": "Node",
        "pods": "Pod",
        "csrs": "CertificateSigningRequest",
        "approve": "CertificateSigningRequest",
    }.get(verb, kind)
    discovery = mutate.chance(rng, 0.15)
    return Case(verb, kind, tuple(_answer(rng, verb, kind) for _ in range(rng.choice((1, 1, 2, 4)))), discovery)


def _answer(rng: random.Random, verb: str, kind: str) -> Reply | Exception:
    if mutate.chance(rng, 0.04):
        return rng.choice(SILENCE)()
    if mutate.chance(rng, 0.25):
        return _refusal(rng)
    status = 200 if mutate.chance(rng, 0.95) else rng.choice(STATUSES)
    return Reply(status, "OK", _body(rng, verb, kind), {"Content-Type": "application/json"})


def _body(rng: random.Random, verb: str, kind: str) -> bytes:
    one = rng.choice(objects()[kind])
    match verb:
        case "nodes" | "pods" | "csrs" | "list":
            meta = {"resourceVersion": "12", **({"continue": "more"} if mutate.chance(rng, 0.1) else {})}
            return mutate.damaged(rng, {"kind": f"{kind}List", "metadata": meta, "items": objects()[kind][:2]})
        case "watch":
            kinds = ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
            return b"\n".join(mutate.damaged(rng, {"type": rng.choice(kinds), "object": one}) for _ in range(3))
        case "version":
            return mutate.damaged(rng, VERSION)
        case _:
            return mutate.damaged(rng, rng.choice((one, one, VERSION, _discovered("/apis"), _discovered("/api/v1"))))


def _refusal(rng: random.Random) -> Reply:
    status = rng.choice(STATUSES)
    said = rng.choice(("not found", "Precondition failed: UID", "etcdserver: no leader", "is forbidden", "", "x\ny"))
    body = {
        "kind": "Status",
        "status": "Failure",
        "message": said,
        "reason": "x",
        "code": status,
        "details": {"name": "w1"},
    }
    headers = (
        {"Retry-After": rng.choice(("1", "x", "9" * 400, "", "-1", "1.5", "²"))} if mutate.chance(rng, 0.3) else {}
    )
    reason = mutate.bytes_of(rng, b"Not Found").decode("utf-8", "surrogateescape")
    return Reply(status, reason, mutate.damaged(rng, body), headers)


def check(case: Case) -> None:
    """Hold one case to what is promised for every answer."""
    api, session = _api(), _Session(case)
    api._discovery = Discovery(lambda path: api._call("get", path))
    api._client.client.rest_client.pool_manager = session
    verb, shape = VERBS[case.verb]
    try:
        value = now(verb(api, case.kind))
    except Failure as failure:
        judge(failure)
        return
    demand(conforms(value, shape), f"{case.verb} is taken as what it is not")
    if value is None and shape is not NOTHING and not case.discovery and isinstance(session.last, Reply):
        demand(session.last.status == 404, "an object is absent although nobody said so")


async def _nodes(api: KubeApi, _kind: str) -> tuple[Node, ...]:
    return tuple(map(decode.node, (await api.list(NODES))[0]))


async def _node(api: KubeApi, _kind: str) -> Node | None:
    found = await api.get(NODES, "w1")
    return decode.node(found) if found else None


async def _pods(api: KubeApi, kind: str) -> tuple[Pod, ...]:
    return tuple(map(decode.pod, (await api.list(KINDS[kind], fields="spec.nodeName=w1"))[0]))


async def _csrs(api: KubeApi, kind: str) -> tuple[Csr, ...]:
    listed, _ = await api.list(KINDS[kind])
    return tuple(decode.csr(one, names_of) for one in listed)


async def _get(api: KubeApi, kind: str) -> Object | None:
    found = await api.get(KINDS[kind], "w1", "default")
    if found:
        decode.reference(found)
    return found


async def _watch(api: KubeApi, kind: str) -> list[tuple[str, Object]]:
    return [event async for event in api.watch(KINDS[kind], since="1")]


OBJECT: Final[Object] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
NOTHING: Final = type(None)
VERBS: Final[dict[str, tuple[Callable[[KubeApi, str], Awaitable[Any]], Any]]] = {
    "nodes": (_nodes, tuple[Node, ...]), "node": (_node, Node | None), "pods": (_pods, tuple[Pod, ...]),
    "csrs": (_csrs, tuple[Csr, ...]), "get": (_get, dict[str, Any] | None), "watch": (_watch, list[tuple[str, dict[str, Any]]]),
    "readyz": (lambda api, _: api.readyz(), bool), "version": (lambda api, _: api.version(), str),
    "served": (lambda api, kind: api.served(KINDS[kind].api_version.rpartition("/")[0], kind), Served | None),
    "list": (lambda api, kind: api.list(KINDS[kind]), tuple[list[dict[str, Any]], str]),
    "apply": (lambda api, _: api.apply(OBJECT), dict[str, Any]),
    "patch": (lambda api, kind: api.patch(KINDS[kind], "w1", {}), dict[str, Any]),
    "delete": (lambda api, kind: api.delete(KINDS[kind], "w1", uid="u"), NOTHING),
    "evict": (lambda api, _: api.evict("default", "web", "u"), bool),
    "approve": (lambda api, _: api.approve("csr-1"), NOTHING),
}  # fmt: skip
