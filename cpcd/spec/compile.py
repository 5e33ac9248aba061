"""From documents to `model.desired`: every default filled in, templates resolved to references, pools expanded.

Nothing is invented here that the file or its defaults do not say; mistakes are the reader's (`read.py`), so compiling
a reading without mistakes cannot fail.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cpcd.model.desired import (
    Addon,
    Blast,
    Cluster,
    Consent,
    Desired,
    Endpoint,
    Group,
    Health,
    Infrastructure,
    MachineSpec,
    ProxmoxSite,
    Remedy,
    Retry,
    Risk,
    Taint,
    TemplateRef,
    Timeouts,
    Unhealthy,
)
from cpcd.model.keys import Role
from cpcd.spec import schema
from cpcd.spec.manifests import Object
from cpcd.spec.presets import PRESETS
from cpcd.spec.read import Reading
from cpcd.spec.references import matching
from cpcd.spec.schema.common import Model
from cpcd.spec.schema.machine import Machine
from cpcd.spec.schema.roles import ControlPlane, MachineDeployment

__all__ = ["compile_spec", "fixed"]

Manifests = Mapping[str, tuple[Object, ...]]

_NONE: Final[Mapping[str, str]] = {}


def compile_spec(
    reading: Reading, *, operator_key: str, sites: Collection[str] = (), endpoints: Mapping[str, str] = _NONE
) -> Desired:
    """Return the spec as wanted; `operator_key` is cpcd's own public key line, which every machine gets.

    `sites` are the names by which machines know their Proxmox: they outlive a change of its endpoints. `endpoints` are
    the hosts that clusters were made with: what was reserved from a pool once outlives a change of the pool.
    """
    found: dict[str, ProxmoxSite] = {}
    clusters: dict[str, Cluster] = {}
    for document in reading.documents:
        site = _site(document, sites)
        assert found.setdefault(site.name, site) == site, "the reader has refused two descriptions of one Proxmox"
        endpoint = _endpoint(document, endpoints.get(document.name, ""))
        clusters[document.name] = _cluster(document, endpoint, reading.manifests, operator_key, site.name)
    return Desired(clusters=clusters, sites=found, generation=reading.digest)


def fixed(cluster: Cluster) -> dict[str, str]:
    """Return what can never change after creation, by the file's words."""
    return {
        "controlPlaneEndpoint": f"{cluster.endpoint.host}:{cluster.endpoint.port} ({cluster.endpoint.provider})",
        "clusterNetwork.pods": cluster.pods,
        "clusterNetwork.services": cluster.services,
        "clusterNetwork.serviceDomain": cluster.service_domain,
        "infrastructure.proxmox": cluster.infrastructure.site,
        "infrastructure.proxmox.pool": cluster.infrastructure.pool,
        "infrastructure.proxmox.dnsServers": ", ".join(cluster.infrastructure.dns_servers),
        "infrastructure.proxmox.ipv4Config.prefix": str(cluster.infrastructure.prefix),
        "infrastructure.proxmox.ipv4Config.gateway": cluster.infrastructure.gateway,
        "naming.domain": cluster.domain,
        "certificates.extraSANs": ", ".join(cluster.extra_sans),
        "version": cluster.version,
    }


def _written(given: Model) -> dict[str, Any]:
    """Return what was written, by the file's words, which are kubeadm's."""
    return given.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _site(document: schema.ClusterDocument, known: Collection[str]) -> ProxmoxSite:
    """Return the document's Proxmox, by the host that names it already, else by the first one by alphabet."""
    proxmox = document.spec.infrastructure.proxmox
    # The same endpoints in another order are the same Proxmox.
    urls = tuple(sorted(str(url) for url in proxmox.url))
    tls = proxmox.tls
    hosts = [urlsplit(url).hostname or url for url in urls]
    name = next((host for host in hosts if host in known), hosts[0])
    return ProxmoxSite(name, urls, proxmox.credentials_ref.ref, tls.ca_file or "", str(tls.fingerprint or ""))


def _endpoint(document: schema.ClusterDocument, reserved: str) -> Endpoint:
    """The endpoint that is written, else the one that is reserved already, else the pool's first address."""
    given = document.spec.control_plane_endpoint
    first = document.spec.infrastructure.proxmox.ipv4_config.addresses[0].first
    return Endpoint(str(given.host or reserved or first), given.port, given.provider)


def _cluster(
    document: schema.ClusterDocument, endpoint: Endpoint, manifests: Manifests, operator_key: str, site: str
) -> Cluster:
    spec = document.spec
    policy, change = spec.policy, spec.change_policy
    return Cluster(
        name=document.name,
        version=str(spec.version),
        paused=spec.paused,
        deletion_protection=spec.deletion_protection,
        deletion_policy=spec.deletion_policy,
        endpoint=endpoint,
        pods=str(spec.cluster_network.pods.cidr_blocks[0]),
        services=str(spec.cluster_network.services.cidr_blocks[0]),
        service_domain=spec.cluster_network.service_domain,
        domain=spec.naming.domain or "",
        hostname=spec.naming.hostname,
        infrastructure=_infrastructure(document, site),
        groups=(
            _control_plane(document, spec.control_plane, operator_key),
            *(_deployment(document, one, operator_key) for one in spec.workers.machine_deployments),
        ),
        health=_health(spec.health_check),
        approve_csr=spec.kubelet_csr.approve,
        extra_sans=tuple(str(name) for name in spec.certificates.extra_sans),
        kubeconfig_context=spec.kubeconfig.context or "",
        addons=tuple(_addon(document, endpoint, addon, manifests) for addon in spec.addons),
        change_policy={
            Risk.REBOOT: Consent(change.reboot),
            Risk.REPLACE: Consent(change.replace),
            Risk.DESTROY: Consent(change.destroy),
        },
        blast=Blast(**spec.blast_radius.model_dump()),
        retry={
            name: Retry(one.base, one.multiplier, one.max, one.degraded_after)
            for name, one in policy.retry.effective().items()
        },
        timeouts=Timeouts(**policy.timeouts.model_dump()),
        addon_failure=policy.on_failure.addon,
        kubeadm=_written(spec.control_plane.kubeadm_config_spec.cluster_configuration),
        patches=_written(spec.control_plane.kubeadm_config_spec.patches),
    )


def _infrastructure(document: schema.ClusterDocument, site: str) -> Infrastructure:
    proxmox = document.spec.infrastructure.proxmox
    pool = proxmox.ipv4_config
    return Infrastructure(
        site=site,
        allowed_nodes=tuple(proxmox.allowed_nodes),
        zones={zone.name: tuple(zone.nodes) for zone in proxmox.availability_zones},
        pool=proxmox.pool or "",
        disk_storage=proxmox.storage.disks or "",
        vmid_start=proxmox.vm_id_range.start,
        vmid_end=proxmox.vm_id_range.end,
        dns_servers=tuple(str(server) for server in proxmox.dns_servers),
        addresses=tuple(str(address) for pool_range in pool.addresses for address in pool_range),
        prefix=pool.prefix,
        gateway=str(pool.gateway),
    )


def _control_plane(document: schema.ClusterDocument, given: ControlPlane, operator_key: str) -> Group:
    return Group(
        name="control-plane",
        role=Role.CONTROL_PLANE,
        replicas=given.replicas,
        machine=_machine(document, given.machine, operator_key),
        labels=dict(given.metadata.labels),
        annotations=dict(given.metadata.annotations),
        taints=tuple(Taint(one.key, one.value, one.effect) for one in given.taints),
        max_surge=given.rollout.strategy.rolling_update.max_surge,
        in_place=given.rollout.in_place,
    )


def _deployment(document: schema.ClusterDocument, given: MachineDeployment, operator_key: str) -> Group:
    rolling = given.rollout.strategy.rolling_update
    return Group(
        name=given.name,
        role=Role.WORKER,
        replicas=given.replicas,
        machine=_machine(document, given.machine, operator_key),
        labels=dict(given.metadata.labels),
        annotations=dict(given.metadata.annotations),
        taints=tuple(Taint(one.key, one.value, one.effect) for one in given.taints),
        max_surge=rolling.max_surge,
        max_unavailable=rolling.max_unavailable,
        in_place=given.rollout.in_place,
        failure_domain=given.failure_domain or "",
        deletion_order=given.deletion.order,
        drain_timeout=given.deletion.node_drain_timeout,
        detach_timeout=given.deletion.node_volume_detach_timeout,
    )


def _machine(document: schema.ClusterDocument, override: Machine, operator_key: str) -> MachineSpec:
    machine = document.spec.machine_defaults.overridden_by(override)
    device = machine.network.network_devices[0]
    return MachineSpec(
        template=_template(document, machine),
        full=machine.full,
        sockets=machine.num_sockets,
        cores=machine.num_cores,
        cpu_type=machine.cpu_type,
        memory_mib=machine.memory_mib,
        balloon=machine.balloon,
        boot_disk=machine.disks.boot_volume.disk,
        boot_disk_gb=machine.disks.boot_volume.size_gb,
        bridge=device.bridge,
        nic_model=device.model,
        vlan=device.vlan,
        mtu=device.mtu,
        firewall=device.firewall,
        on_boot=machine.on_boot,
        tags=tuple(machine.tags),
        ssh_users=tuple(machine.ssh.users),
        ssh_port=machine.ssh.port,
        # Whatever the file says: by this one alone cpcd itself reaches the machine.
        ssh_keys=(operator_key, *machine.ssh.keys),
        timezone=machine.timezone,
    )


def _template(document: schema.ClusterDocument, machine: Machine) -> TemplateRef:
    """By id, by tags, by the name of an entry of `templates`, or the one tagged `cpcd-<os>`.

    What system is in it, a machine says itself: an entry's `os` is nothing but the tag that is looked for.
    """
    if machine.template_id is not None:
        return TemplateRef(f"id-{machine.template_id}", vmid=machine.template_id)
    if machine.template_selector is not None:
        tags = tuple(sorted(machine.template_selector.match_tags))
        return TemplateRef("+".join(tags), tags=tags)
    known = {template.name: template for template in document.spec.templates}
    # The first where none is named: among several that is refused before (`checks.py`).
    entry = known.get(machine.template or "") or next(iter(known.values()), None)
    if entry is None:
        return TemplateRef("cpcd-ubuntu", tags=("cpcd-ubuntu",))
    if entry.template_id is not None:
        return TemplateRef(entry.name, vmid=entry.template_id)
    return TemplateRef(entry.name, tags=(f"cpcd-{entry.os}",))


def _health(given: schema.HealthCheck) -> Health:
    remediation = given.remediation
    return Health(
        conditions=tuple(Unhealthy(one.type, one.status, one.timeout) for one in given.unhealthy_node_conditions),
        startup_timeout=given.node_startup_timeout,
        ladder=tuple(Remedy(rung) for rung in remediation.ladder),
        limit=float(remediation.unhealthy_less_than_or_equal_to),
        max_in_flight=remediation.max_in_flight,
        max_retry=remediation.max_retry,
    )


def _addon(document: schema.ClusterDocument, endpoint: Endpoint, given: schema.Addon, manifests: Manifests) -> Addon:
    """A preset's objects first, then those of its files in their order."""
    pods = str(document.spec.cluster_network.pods.cidr_blocks[0])
    brought = PRESETS[given.preset](pods, endpoint.host, endpoint.port) if given.preset else ()
    # A file for which two patterns stand is applied once, at its first place.
    names = [name for source in given.manifests for name in matching(source.file, manifests)]
    objects = (*brought, *(obj for name in dict.fromkeys(names) for obj in manifests[name]))
    digest = hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()[:12]
    return Addon(given.name, given.mode, objects, digest)
