"""Machines, as cpcd uses them: a closed catalogue of verbs, each typed JSON in and JSON out.

The same catalogue runs on real machines (`guest/ops.py` over SSH) and in the lab's model; `prepare` is Ansible on
real machines. Long verbs are submitted under an op id and polled, so that they outlive the connection and the daemon.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["ANSWER_S", "CONNECT_S", "LONG_VERBS", "PLAY_S", "SHORT_VERBS", "Guests", "Host"]

JSON = Any

CONNECT_S: Final = 30.0  # `failures.md` rule 29
ANSWER_S: Final = 180.0  # etcdctl without quorum takes 10 s a call, up to three calls a verb; token create 30 s
PLAY_S: Final = 3600.0  # twice the usual `policy.timeouts.ansible`: only a playbook that hangs is ended

# verb -> (input keys, output keys); the contract suite holds every implementation to it.
SHORT_VERBS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "facts": (
        ("names",),  # which of them; all when there are none
        (
            "hostname",
            "machine_id",
            "boot_id",
            "system_uuid",
            "clock",
            "cloud_init",
            "swap",
            "modules",
            "packages",
            "holds",
            "services",
            "kubeadm",
            "certificates",
            "prepared",
            "addresses",
            "readyz",
            "root",
        ),
    ),
    "join_secrets": (("ttl", "control_plane"), ("token", "ca_hash", "certificate_key")),
    "kubeconfig": ((), ("kubeconfig", "ca_hash")),
    "etcd_members": ((), ("members", "leader")),
    "etcd_remove": (("id",), ("removed",)),
    "etcd_move_leader": (("to",), ("leader",)),
    "release_endpoint": (("address",), ("released",)),
}
LONG_VERBS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "prepare": (("version", "packages", "timezone", "profile"), ("changed",)),
    "init": (("config", "manifests"), ("ca_hash", "voters", "config_maps")),
    "join": (("config", "manifests"), ()),
    "reset": ((), ()),
    "etcd_snapshot": (("path",), ("path", "hash", "revision", "size")),
}


@dataclass(frozen=True, slots=True)
class Host:
    """Where and as whom a machine is reached.

    `host_key` is the pinned public key line (`ssh-ed25519 AAAA…`), empty only before the first contact, in which case
    no connection is made. `users` are tried in order; there are none, and no connection is made, once the document is
    gone that says how a machine is reached. `connect`, `answer` and `play` are how many seconds a connection, the answer
    to one call, and a playbook may take (`policy.timeouts`).
    """

    uid: str
    name: str
    address: str
    port: int
    users: tuple[str, ...]
    host_key: str
    connect: float = CONNECT_S
    answer: float = ANSWER_S
    play: float = PLAY_S


class Guests(Protocol):
    """Run the catalogue on one machine.

    Calls may overlap; those of one machine may be answered in turn.

    Raises `model.errors.Failure`: NetworkError when the machine is not reached, AuthFailed, InvalidSpec for one
    without users, ExecutionFailed with the verb's own words. Nothing is retried here.
    """

    async def listens(self, host: Host) -> bool:
        """Return whether connections to the host's port are accepted: no login, no trust, and it never raises."""
        ...

    async def call(self, host: Host, verb: str, given: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Run a short verb and return its output."""
        ...

    async def submit(self, host: Host, op: str, verb: str, given: Mapping[str, JSON]) -> None:
        """Start a long verb under the op's id; repeatable: a known op is not started twice.

        Secrets in `given` travel on stdin. Raises Failure(ExecutionFailed, "busy") while another op holds the lock.
        """
        ...

    async def poll(self, host: Host, op: str, *, patience: float = 0) -> Mapping[str, JSON]:
        """Return `{state, boot_id, rc, output, error}` of an op.

        Of one that runs a machine may tell only once it has ended, or after `patience` seconds of its own clock.

        `state` is `absent` (never begun here), `running`, `done` (rc 0), `failed` (rc not 0; `error` is
        `{reason, message}`) or `lost` (begun under another boot or its unit is gone without a result).
        """
        ...

    async def close(self) -> None:
        """Close idle connections."""
        ...
