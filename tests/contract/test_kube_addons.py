"""The addon reconciler on each site: what it applies, corrects and prunes, as an ApplySet (KEP-3659)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from cpcd.model.desired import Addon, Desired
from cpcd.model.errors import Failure
from cpcd.model.keys import Key, Kind
from cpcd.model.plan import Wait
from cpcd.model.view import View
from cpcd.plan import applyset, scopes
from cpcd.plan.effects import see
from cpcd.ports.bundle import Ports
from cpcd.ports.kube import GVK, Object
from cpcd.reconcilers import addon
from cpcd.sources.cluster_reading import ClusterReader
from tests.contract.kube_site import CONFIG, SPACE, Site, config, eventually, gone
from tests.unit.plan.build import NAME, cluster, identity, view

KEY = Key(NAME, Kind.ADDON, "contract")
SCOPE = scopes.addon(NAME, KEY.name)
PARENT, SYSTEM = applyset.parent_name(KEY.name), applyset.PARENT_NAMESPACE
ROLE, ROLE_NAME = GVK("rbac.authorization.k8s.io/v1", "ClusterRole"), "contract-addon"
DEFINITION = GVK("apiextensions.k8s.io/v1", "CustomResourceDefinition")


@dataclass
class Keeper:
    """Makes passes of the addon's key: reads afresh, plans and carries out, as the loop does."""

    site: Site
    view: View = field(default_factory=lambda: view(cluster(), known=identity()))

    async def keep(self, *objects: Object) -> list[str]:
        """Put these into the file, none for an addon that left it, and make passes until all is as wanted."""
        text = json.dumps(objects)
        given = (Addon(KEY.name, "full", objects, hashlib.sha256(text.encode()).hexdigest()),) if objects else ()
        self.view = replace(self.view, desired=Desired({NAME: cluster(addons=given)}))
        done = list[str]()
        for _ in range(60):
            if (steps := await self.passed()) is None:
                return done
            done += steps
        raise AssertionError(done)

    async def passed(self) -> list[str] | None:
        """Make one pass; return the sentences of its steps, None when there is nothing left to do."""
        try:
            steps, waits = await self._carry_out()
        except Failure:  # a pass that fails is made again
            steps, waits = [], True
        if waits:
            await self.site.wait(1)
        return steps if steps or waits else None

    async def _carry_out(self) -> tuple[list[str], bool]:
        none: Any = None
        ports = Ports(
            proxmox=none, kube=lambda _: self.site.kube, host=none, guests=none, kubeconfigs=none, installation=none
        )
        reader = ClusterReader(ports, lambda: self.view, none, none)
        self.view = see(self.view, SCOPE, await reader.read(SCOPE))
        decided = addon.plan(KEY, self.view)
        for step in decided.steps:
            self.view = self.view.with_ledger(step.changes(self.view))
            if not step.local:
                await addon.apply(step, ports, None)
        return [step.sentence for step in decided.steps], decided.wait is not None


def role(verb: str = "get") -> Object:
    """Return an object without a namespace."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
    return {"apiVersion": ROLE.api_version, "kind": ROLE.kind, "metadata": {"name": ROLE_NAME}, "rules": rules}


async def parent(site: Site) -> Mapping[str, str]:
    """Return what the ApplySet's parent says of itself."""
    found = await site.kube.get(CONFIG, PARENT, SYSTEM)
    assert found is not None
    return cast("Mapping[str, str]", found["metadata"]["annotations"])


async def test_addon_is_applied_once_and_at_rest_then(site: Site) -> None:
    """The parent comes first, and a second round of passes writes nothing."""
    keeper = Keeper(site)
    done = await keeper.keep(config("one", a="1"), role())
    again = await keeper.keep(config("one", a="1"), role())
    kinds = (await parent(site))[applyset.KINDS]
    await keeper.keep()

    assert [
        f"apply ConfigMap {SYSTEM}/{PARENT} of addon contract", f"apply ConfigMap {SPACE}/one of addon contract",
        f"apply ClusterRole {ROLE_NAME} of addon contract", "remember that addon contract was applied",
    ] == done  # fmt: skip
    assert [] == again
    assert "ClusterRole.rbac.authorization.k8s.io,ConfigMap" == kinds


async def test_what_left_the_file_is_pruned_and_what_is_others_stays(site: Site) -> None:
    """The parent names a kind until the last object of it is gone."""
    keeper = Keeper(site)
    await site.kube.apply(config("foreign", a="1"))
    await keeper.keep(config("one", a="1"), config("two", a="1"), role())
    done = await keeper.keep(config("one", a="1"))
    left = [not await gone(site, CONFIG, name, SPACE) for name in ("foreign", "one", "two")]
    kinds = (await parent(site))[applyset.KINDS]
    pruned = await gone(site, ROLE, ROLE_NAME)
    await keeper.keep()

    assert {
        "prune ConfigMap contract/two of addon contract",
        f"prune ClusterRole {ROLE_NAME} of addon contract",
    } <= set(done)
    assert [True, True, False] == left
    assert pruned
    assert "ConfigMap" == kinds


async def test_drift_is_corrected_and_foreign_fields_stay(site: Site) -> None:
    """What others changed of ours comes back; what they added is theirs."""
    keeper = Keeper(site)
    await keeper.keep(config("one", a="1"), role())
    await site.kube.patch(CONFIG, "one", {"data": {"a": "9", "b": "2"}}, namespace=SPACE)
    await site.kube.patch(ROLE, ROLE_NAME, {"rules": []})
    done = await keeper.keep(config("one", a="1"), role())
    stored = [await site.kube.get(CONFIG, "one", SPACE), await site.kube.get(ROLE, ROLE_NAME)]
    await keeper.keep()

    assert 2 == len(done)
    assert [{"a": "1", "b": "2"}, role()["rules"]] == [one and one.get("data", one.get("rules")) for one in stored]


async def test_addon_that_left_the_file_goes_with_its_parent(site: Site) -> None:
    """Objects first, the parent last: by it alone they would be found again."""
    keeper = Keeper(site)
    await keeper.keep(config("one", a="1"), role())
    done = await keeper.keep()
    left = [
        await gone(site, CONFIG, "one", SPACE), await gone(site, ROLE, ROLE_NAME), await gone(site, CONFIG, PARENT, SYSTEM)
    ]  # fmt: skip

    assert [True, True, True] == left
    assert [f"prune ConfigMap {SYSTEM}/{PARENT} of addon contract", "forget addon contract, which is pruned"] == done[
        -2:
    ]
    assert [] == await keeper.keep()


async def test_object_that_is_held_keeps_its_addon_waiting(site: Site) -> None:
    """Its finalizer is somebody's; the parent names it until it is gone."""
    keeper = Keeper(site)
    held = config("held", a="1")
    held["metadata"]["finalizers"] = ["contract.cpcd.dev/held"]
    await keeper.keep(config("one", a="1"), held)
    keeper.view = replace(keeper.view, desired=Desired({NAME: cluster()}))

    async def wait() -> Wait | None:
        await keeper.passed()
        return addon.plan(KEY, keeper.view).wait

    waiting = await eventually(site, wait)
    there = not await gone(site, CONFIG, PARENT, SYSTEM)
    await site.kube.patch(CONFIG, "held", {"metadata": {"finalizers": None}}, namespace=SPACE)
    await keeper.keep()

    assert "waits for ConfigMap contract/held to be gone" in waiting.sentence
    assert there
    assert await gone(site, CONFIG, PARENT, SYSTEM)


async def test_definition_comes_with_its_objects_and_goes_with_them(site: Site) -> None:
    """Its kind is served a moment after it is applied; the objects wait for that and are members like others."""
    keeper = Keeper(site)
    plural, api = "gadgets.contract.cpcd.dev", GVK("contract.cpcd.dev/v1", "Gadget")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": "Gadget", "listKind": "GadgetList", "plural": "gadgets", "singular": "gadget"}
    definition = {
        "apiVersion": DEFINITION.api_version, "kind": DEFINITION.kind, "metadata": {"name": plural},
        "spec": {
            "group": "contract.cpcd.dev", "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }  # fmt: skip
    gadget = {"apiVersion": api.api_version, "kind": "Gadget", "metadata": {"name": "g", "namespace": SPACE}}
    await keeper.keep(definition, gadget)
    made = await site.kube.get(api, "g", SPACE)
    await keeper.keep(definition)
    pruned = await gone(site, api, "g", SPACE)
    await keeper.keep()

    assert made is not None
    assert pruned
    assert await gone(site, DEFINITION, plural)
