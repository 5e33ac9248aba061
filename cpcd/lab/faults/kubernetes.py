"""Faults on the way to a Kubernetes API, watches included. Next: `mechanisms.py` for what each means."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from cpcd.lab.faults import mechanisms as does
from cpcd.lab.faults.injector import Armed
from cpcd.model.errors import Failure, Unreachable
from cpcd.ports.kube import GVK, Kube, Object, Served

__all__ = ["FaultyKube"]

T = TypeVar("T")


class FaultyKube:
    """`ports.kube.Kube` with faults."""

    def __init__(self, faults: Armed, inner: Kube) -> None:
        self._faults, self._inner = faults, inner

    async def readyz(self) -> bool:
        """See the port."""
        return await self._through("readyz", self._inner.readyz)

    async def version(self) -> str:
        """See the port."""
        return await self._through("version", self._inner.version)

    async def served(self, group: str, kind: str) -> Served | None:
        """See the port."""
        return await self._through(f"discover {kind}", lambda: self._inner.served(group, kind))

    async def get(self, gvk: GVK, name: str, namespace: str = "") -> Object | None:
        """See the port."""
        return await self._through(f"get {gvk.kind} {name}", lambda: self._inner.get(gvk, name, namespace))

    async def list(self, gvk: GVK, **options: str) -> tuple[list[Object], str]:
        """See the port."""
        return await self._through(f"list {gvk.kind}", lambda: self._inner.list(gvk, **options))

    async def apply(self, obj: Object, *, force: bool = True, dry_run: bool = False) -> Object:
        """See the port."""
        words = f"{'try' if dry_run else 'apply'} {obj['kind']} {obj['metadata']['name']}"
        return await self._through(words, lambda: self._inner.apply(obj, force=force, dry_run=dry_run))

    async def patch(self, gvk: GVK, name: str, merge: Mapping[str, Any], *, namespace: str = "") -> Object:
        """See the port."""
        words = f"patch {gvk.kind} {name}"
        return await self._through(words, lambda: self._inner.patch(gvk, name, merge, namespace=namespace))

    async def delete(self, gvk: GVK, name: str, *, namespace: str = "", uid: str) -> None:
        """See the port."""
        words = f"delete {gvk.kind} {name}"
        await self._through(words, lambda: self._inner.delete(gvk, name, namespace=namespace, uid=uid))

    async def evict(self, namespace: str, name: str, uid: str) -> bool:
        """See the port."""
        return await self._through(f"evict {name}", lambda: self._inner.evict(namespace, name, uid))

    async def approve(self, csr: str) -> None:
        """See the port."""
        await self._through(f"approve {csr}", lambda: self._inner.approve(csr))

    async def watch(self, gvk: GVK, *, since: str, timeout: float = 300) -> AsyncIterator[tuple[str, Object]]:
        """See the port: silent for the time of a Delay, without the events of a Partial, cut after a DropAfter's."""
        mechanism = self._faults.due("kube", f"watch {gvk.kind}")
        match mechanism:
            case does.Refuse(code, words):
                raise Failure(code, words, target="kube:lab")
            case does.Delay(seconds):
                await self._faults.sleep(min(seconds, timeout))
                return
        end = mechanism.timeout if isinstance(mechanism, does.DropAfter) else timeout
        without = re.compile(mechanism.without if isinstance(mechanism, does.Partial) else "$.")
        async for kind, obj in self._inner.watch(gvk, since=since, timeout=end):
            if not without.search(json.dumps(obj)):
                yield kind, obj
        if isinstance(mechanism, does.DropAfter):
            raise Unreachable("kube:lab", "the stream was cut")

    async def close(self) -> None:
        """See the port."""
        await self._inner.close()

    async def _through(self, words: str, effect: Callable[[], Awaitable[T]]) -> T:
        mechanism = self._faults.due("kube", words)
        match mechanism:
            case does.Refuse(code, text):
                raise Failure(code, text, target="kube:lab")
            case does.DropBefore(timeout) | does.DropAfter(timeout):
                if isinstance(mechanism, does.DropAfter):
                    await effect()
                await self._faults.sleep(timeout)
                raise Unreachable("kube:lab", "no answer from the Kubernetes API")
            case does.Delay(seconds):
                await self._faults.sleep(seconds)
        return await effect()
