"""The table of contents of the modelled API: which function answers which call.

What is not in this table is answered with 501, as Proxmox answers what it does not have. Parameters, privileges and who
answers (root's daemon or not) are those of the API's own schema (`schema.py`). A new call is one line here and one
function elsewhere. Next: `http.py`, which walks the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cpcd.lab.pve import agent, auth, clone, config, create, drives, nodes, pools, power, resources, storages, task_api
from cpcd.lab.pve.call import Handler
from cpcd.lab.pve.schema import calls

__all__ = ["ROUTES", "Route", "match"]

VM: Final = "/nodes/{node}/qemu/{vmid}"
STORAGE: Final = "/nodes/{node}/storage/{storage}"
TASK: Final = "/nodes/{node}/tasks/{upid}"


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API."""

    call: str  # `METHOD /path/{template}`
    handler: Handler

    @property
    def parts(self) -> list[str]:
        """The method and the parts of the path."""
        method, _, template = self.call.partition(" ")
        return [method, *template.strip("/").split("/")]

    @property
    def permissions(self) -> Mapping[str, Any]:
        """Who may, as the schema says it."""
        found: Mapping[str, Any] = calls()[self.call]["permissions"]
        return found

    @property
    def open(self) -> bool:
        """Tell whether it is answered without a token."""
        return self.permissions.get("user") == "world"

    @property
    def protected(self) -> bool:
        """Tell whether pvedaemon answers it and not pveproxy itself."""
        return bool(calls()[self.call].get("protected"))


HANDLERS: Final[Mapping[str, Handler]] = {
    "GET /version": nodes.version,
    "POST /access/ticket": auth.login,
    "GET /access/permissions": auth.own_permissions,
    "GET /cluster/resources": resources.resources,
    "GET /cluster/status": resources.status,
    "GET /cluster/nextid": resources.next_id,
    "GET /cluster/tasks": task_api.cluster_tasks,
    "GET /pools": pools.list_pools,
    "POST /pools": pools.create_pool,
    "PUT /pools": pools.update_pool,
    "DELETE /pools": pools.delete_pool,
    "GET /pools/{poolid}": pools.get_pool,
    "PUT /pools/{poolid}": pools.update_pool,
    "DELETE /pools/{poolid}": pools.delete_pool,
    "GET /nodes": nodes.list_nodes,
    "GET /nodes/{node}/version": nodes.version,
    "GET /nodes/{node}/status": nodes.node_status,
    "GET /nodes/{node}/network": nodes.list_networks,
    "GET /nodes/{node}/storage": storages.list_storages,
    f"GET {STORAGE}/status": storages.storage_status,
    f"GET {STORAGE}/content": storages.storage_content,
    "GET /nodes/{node}/tasks": task_api.list_tasks,
    f"GET {TASK}/status": task_api.task_status,
    f"GET {TASK}/log": task_api.task_log,
    f"DELETE {TASK}": task_api.stop_task,
    "GET /nodes/{node}/qemu": nodes.list_vms,
    "POST /nodes/{node}/qemu": create.create,
    f"DELETE {VM}": create.destroy,
    f"GET {VM}/config": config.get_config,
    f"PUT {VM}/config": config.put_config,
    f"POST {VM}/config": config.post_config,
    f"GET {VM}/pending": config.get_pending,
    f"GET {VM}/status/current": nodes.current,
    f"POST {VM}/status/start": power.start,
    f"POST {VM}/status/stop": power.stop,
    f"POST {VM}/status/shutdown": power.shutdown,
    f"POST {VM}/status/reboot": power.reboot,
    f"POST {VM}/status/reset": power.reset,
    f"POST {VM}/status/suspend": power.suspend,
    f"POST {VM}/status/resume": power.resume,
    f"POST {VM}/clone": clone.clone,
    f"POST {VM}/template": create.make_template,
    f"PUT {VM}/resize": drives.resize,
    f"POST {VM}/agent/ping": agent.ping,
    f"GET {VM}/agent/network-get-interfaces": agent.interfaces,
    f"GET {VM}/agent/get-host-name": agent.host_name,
    f"GET {VM}/agent/file-read": agent.file_read,
}
ROUTES: Final = tuple(Route(call, handler) for call, handler in HANDLERS.items())
_SHAPED: Final[dict[tuple[str, int], list[tuple[list[str], Route]]]] = {}  # by method and length of the path
for _parts, _route in ((route.parts, route) for route in ROUTES):
    _SHAPED.setdefault((_parts[0], len(_parts)), []).append((_parts, _route))


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a call and the components of its path, None for what is not implemented."""
    parts = [method, *(part for part in path.split("/") if part)]
    for names, route in _SHAPED.get((method, len(parts)), ()):
        if all(map(_fits, names, parts)):
            pairs = zip(names, parts, strict=True)
            return route, {name[1:-1]: part for name, part in pairs if name.startswith("{")}
    return None


def _fits(name: str, part: str) -> bool:
    return name == part or name.startswith("{")
