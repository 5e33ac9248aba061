"""The table of contents of the modelled API: method, path, handler, privilege, parameters.

What is not in this table is answered with 501, as Proxmox answers what it does not have. A new call is one line here
and one function elsewhere. Next: `http.py`, which walks the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cpcd.lab.pve import agent, clone, config, create, drives, nodes, pools, power, resources, storages, task_api
from cpcd.lab.pve.auth import login, own_permissions, perm
from cpcd.lab.pve.call import Check, Handler
from cpcd.lab.pve.options import CONFIG_PRIVILEGES, DISKS, look_up
from cpcd.lab.pve.schema import (
    Kind,
    Param,
    boolean,
    disk_size,
    dns_name,
    enum,
    identifier,
    integer,
    string,
    upid,
    vmid,
)  # fmt: skip

__all__ = ["ROUTES", "Route", "match"]

VM = "/nodes/{node}/qemu/{vmid}"
TASK = "/nodes/{node}/tasks/{upid}"
COMPONENTS: Mapping[str, Kind] = {
    "node": string(), "vmid": vmid, "upid": upid, "poolid": identifier, "storage": string(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API; `options` adds the options of a VM's configuration to its parameters."""

    method: str
    template: str
    handler: Handler
    check: Check | None = None
    params: Mapping[str, Param] = field(default_factory=dict)
    options: bool = False
    open: bool = False  # answered without a token

    def kind(self, name: str) -> Kind | None:
        """Return the kind of a parameter, None for one that the call does not have."""
        if name in self.params:
            return self.params[name].kind
        if f"{{{name}}}" in self.template:
            return COMPONENTS[name]
        option = look_up(name) if self.options else None
        return option.kind if option else None


def _params(**kinds: Kind) -> dict[str, Param]:
    """Optional parameters; `_` in a name stands for `-`."""
    return {name.replace("_", "-"): Param(kind) for name, kind in kinds.items()}


text, whole = string(), integer(0)
SKIPLOCK = _params(skiplock=boolean)
AGENT = ("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")
AUDIT, POWER, CHANGE = (
    perm("/vms/{vmid}", "VM.Audit"),
    perm("/vms/{vmid}", "VM.PowerMgmt"),
    perm("/vms/{vmid}", *CONFIG_PRIVILEGES),
)
STORE = perm("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")
UPDATE = SKIPLOCK | _params(delete=text, revert=text, digest=string(40), force=boolean)
POOL = {"poolid": Param(identifier, required=True)}
MEMBERS = _params(comment=text, vms=text, storage=text, delete=boolean, allow_move=boolean)
POOL_TYPE = _params(type=enum("qemu", "lxc", "storage"))
TASK_FILTER = _params(
    vmid=vmid, typefilter=text, userfilter=text, errors=boolean, since=whole, until=whole, start=whole, limit=whole,
    source=enum("archive", "active", "all"), statusfilter=text,
)  # fmt: skip
CLONE = {"newid": Param(vmid, required=True)} | _params(
    name=dns_name, description=text, pool=identifier, snapname=text, storage=text, target=text, full=boolean,
    format=enum("raw", "qcow2", "vmdk"), bwlimit=whole,
)  # fmt: skip
RESIZE = (
    SKIPLOCK
    | _params(digest=string(40))
    | {"disk": Param(enum(*DISKS), required=True), "size": Param(disk_size, required=True)}
)

ROUTES: tuple[Route, ...] = (
    Route("GET", "/version", nodes.version),
    Route("POST", "/access/ticket", login, params=_params(realm=text) | {
        "username": Param(text, required=True), "password": Param(text, required=True),
    }, open=True),
    Route("GET", "/access/permissions", own_permissions, params=_params(path=text)),
    Route("GET", "/cluster/resources", resources.resources, params=_params(type=enum("vm", "storage", "node", "sdn"))),
    Route("GET", "/cluster/status", resources.status, perm("/", "Sys.Audit")),
    Route("GET", "/cluster/nextid", resources.next_id, params=_params(vmid=vmid)),
    Route("GET", "/cluster/tasks", task_api.cluster_tasks),
    Route("GET", "/pools", pools.list_pools, params=_params(poolid=identifier) | POOL_TYPE),
    Route("POST", "/pools", pools.create_pool, perm("/pool/{poolid}", "Pool.Allocate"), POOL | _params(comment=text)),
    Route("PUT", "/pools", pools.update_pool, perm("/pool/{poolid}", "Pool.Allocate"), POOL | MEMBERS),
    Route("DELETE", "/pools", pools.delete_pool, perm("/pool/{poolid}", "Pool.Allocate"), POOL),
    Route("GET", "/pools/{poolid}", pools.get_pool, perm("/pool/{poolid}", "Pool.Audit"), POOL_TYPE),
    Route("PUT", "/pools/{poolid}", pools.update_pool, perm("/pool/{poolid}", "Pool.Allocate"), MEMBERS),
    Route("DELETE", "/pools/{poolid}", pools.delete_pool, perm("/pool/{poolid}", "Pool.Allocate")),
    Route("GET", "/nodes", nodes.list_nodes),
    Route("GET", "/nodes/{node}/version", nodes.version),
    Route("GET", "/nodes/{node}/status", nodes.node_status, perm("/nodes/{node}", "Sys.Audit")),
    Route("GET", "/nodes/{node}/network", nodes.list_networks, params=_params(type=text)),
    Route("GET", "/nodes/{node}/storage", storages.list_storages, params=_params(
        content=text, storage=text, target=text, enabled=boolean, format=boolean,
    )),
    Route("GET", "/nodes/{node}/storage/{storage}/status", storages.storage_status, STORE),
    Route("GET", "/nodes/{node}/storage/{storage}/content", storages.storage_content, STORE, _params(content=text, vmid=vmid)),
    Route("GET", "/nodes/{node}/tasks", task_api.list_tasks, params=TASK_FILTER),
    Route("GET", f"{TASK}/status", task_api.task_status),
    Route("GET", f"{TASK}/log", task_api.task_log, params=_params(start=whole, limit=whole)),
    Route("DELETE", TASK, task_api.stop_task),
    Route("GET", "/nodes/{node}/qemu", nodes.list_vms, params=_params(full=boolean)),
    Route("POST", "/nodes/{node}/qemu", create.create, None, {"vmid": Param(vmid, required=True)} | _params(
        pool=identifier, start=boolean, storage=text, archive=text, bwlimit=whole, ha_managed=boolean, live_restore=boolean,
        import_working_storage=text,
    ) | {name: Param(boolean, needs="archive") for name in ("force", "unique")}, options=True),
    Route("DELETE", VM, create.destroy, perm("/vms/{vmid}", "VM.Allocate"), SKIPLOCK | _params(
        purge=boolean, destroy_unreferenced_disks=boolean,
    )),
    Route("GET", f"{VM}/config", config.get_config, AUDIT, _params(current=boolean)),
    Route("PUT", f"{VM}/config", config.put_config, CHANGE, UPDATE, options=True),
    Route("POST", f"{VM}/config", config.post_config, CHANGE, UPDATE | {"background_delay": Param(whole)}, options=True),
    Route("GET", f"{VM}/pending", config.get_pending, AUDIT),
    Route("GET", f"{VM}/status/current", nodes.current, AUDIT),
    Route("POST", f"{VM}/status/start", power.start, POWER, SKIPLOCK | _params(timeout=whole)),
    Route("POST", f"{VM}/status/stop", power.stop, POWER, SKIPLOCK | {"keepActive": Param(boolean)} | _params(
        timeout=whole, overrule_shutdown=boolean,
    )),
    Route("POST", f"{VM}/status/shutdown", power.shutdown, POWER, SKIPLOCK | _params(timeout=whole) | {
        "forceStop": Param(boolean), "keepActive": Param(boolean),
    }),
    Route("POST", f"{VM}/status/reboot", power.reboot, POWER, _params(timeout=whole)),
    Route("POST", f"{VM}/status/reset", power.reset, POWER, SKIPLOCK),
    Route("POST", f"{VM}/status/suspend", power.suspend, POWER, SKIPLOCK),
    Route("POST", f"{VM}/status/resume", power.resume, POWER, SKIPLOCK),
    Route("POST", f"{VM}/clone", clone.clone, clone.check_clone, CLONE),
    Route("POST", f"{VM}/template", create.make_template, perm("/vms/{vmid}", "VM.Allocate")),
    Route("PUT", f"{VM}/resize", drives.resize, perm("/vms/{vmid}", "VM.Config.Disk"), RESIZE),
    Route("POST", f"{VM}/agent/ping", agent.ping, perm("/vms/{vmid}", *AGENT)),
    Route("GET", f"{VM}/agent/network-get-interfaces", agent.interfaces, perm("/vms/{vmid}", *AGENT)),
    Route("GET", f"{VM}/agent/get-host-name", agent.host_name, perm("/vms/{vmid}", *AGENT)),
    Route("GET", f"{VM}/agent/file-read", agent.file_read, perm(
        "/vms/{vmid}", "VM.GuestAgent.FileRead", "VM.GuestAgent.Unrestricted",
    ), {"file": Param(text, required=True)}),
)  # fmt: skip


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a call and the components of its path, None for what is not implemented."""
    parts = path.strip("/").split("/")
    for route in ROUTES:
        names = route.template.strip("/").split("/")
        if route.method == method and len(names) == len(parts):
            found = {name[1:-1]: part for name, part in zip(names, parts, strict=True) if name.startswith("{")}
            if all(name == part or name.startswith("{") for name, part in zip(names, parts, strict=True)):
                return route, found
    return None
