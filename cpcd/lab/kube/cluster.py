"""One Kubernetes: which of its addresses answer, and when its controllers look.

It stands on kubelets (machines as the cluster sees them) and on etcd; without quorum its API is there and hangs.
Objects are in `store`, the controllers in `controllers.py`. It plans one event at a time, and none while idle.
"""

import datetime as dt
import math
import random
from dataclasses import dataclass

from cpcd.lab.events import Events
from cpcd.lab.kube.controllers import ORDER
from cpcd.lab.kube.etcd import Etcd
from cpcd.lab.kube.kubelet import MANIFESTS, Kubelet
from cpcd.lab.kube.lags import Lags
from cpcd.lab.kube.pki import Authority
from cpcd.lab.kube.seed import born
from cpcd.lab.kube.store import Store
from cpcd.lab.kube.turn import Memory, Turn
from cpcd.lab.provenance import recorded, source

__all__ = ["Cluster", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What kubeadm's configuration says of a cluster; `host` and `port` are its controlPlaneEndpoint.

    `serving_csr` is the kubelets' serverTLSBootstrap.
    """

    name: str
    host: str
    port: int
    version: str
    pods: str = "10.244.0.0/16"
    serving_csr: bool = True


class Cluster:
    """One cluster from the moment its CA exists; `epoch` is the wall-clock time at lab time 0."""

    def __init__(self, plan: Plan, *, events: Events, rng: random.Random, lags: Lags, epoch: float, seed: str) -> None:
        self.plan = plan
        self.lags = lags
        self.kubelets: list[Kubelet] = []
        self.store = Store(seed=seed, stamp=self.stamp)
        self.authority = Authority(seed, plan.name)
        self.etcd = Etcd(self.etcd_up, rng)
        self.random = rng
        self._events = events
        self._epoch = epoch
        self._memory = Memory()
        self._due = math.inf
        self._served = False
        self._holder: Kubelet | None = None
        self._free = 0.0  # when the lease of the virtual address is anybody's
        born(self.store.objects)
        self.store.subscribe(lambda: self.poke(lags.controller))

    @property
    def name(self) -> str:
        """The cluster's name in kubeadm's configuration."""
        return self.plan.name

    @property
    def now(self) -> float:
        """Lab time."""
        return self._events.now

    def settle(self) -> None:
        """Let what has become due happen; whoever answers a request does so first."""
        self._events.settle()

    def stamp(self, delay: float = 0) -> str:
        """Return the wall-clock time in `delay` seconds, RFC 3339."""
        at = dt.datetime.fromtimestamp(self._epoch + self.now + delay, dt.UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def ca_pem(self) -> str:
        """The CA's certificate."""
        return self.authority.ca_pem

    @property
    def ca_hash(self) -> str:
        """`sha256:…` of the CA's public key, as kubeadm pins it."""
        return self.authority.ca_hash

    def admin_kubeconfig(self, server: str = "") -> str:
        """Return admin.conf for `https://host:port`, the cluster's own endpoint by default."""
        return self.authority.kubeconfig(server or f"https://{self.plan.host}:{self.plan.port}")

    @source("kubeadm: certs, GetAPIServerAltNames")
    def serving_certificate(self) -> tuple[str, str]:
        """Return (certificate, key) as PEM that fit every address of the API."""
        names = [self.plan.host, "127.0.0.1", "localhost", "kubernetes", "10.96.0.1"]
        return self.authority.serving([*names, *(kubelet.address for kubelet in self.kubelets)])

    @recorded(177, 189)
    def etcd_up(self, kubelet: Kubelet) -> bool:
        """Tell whether etcd runs on a machine; its data directory exists from the first time on."""
        since = kubelet.static_since("etcd", self.lags.static_pod)
        member = kubelet.member not in {None, *self.etcd.removed}
        running = kubelet.alive and member and since is not None and since <= self.now
        # Stays when etcd stops: the data is what a second init or join stumbles over.
        kubelet.etcd_data = kubelet.etcd_data or running
        return running

    @recorded(156, 173)
    def api_since(self, kubelet: Kubelet) -> float | None:
        """Return when a machine's API server listens or listened first: the kubelet brings it up by itself."""
        if kubelet.member is None:
            return None
        api, etcd = (kubelet.static_since(pod, self.lags.static_pod) for pod in ("kube-apiserver", "etcd"))
        return None if api is None or etcd is None else max(api, etcd)

    def api_up(self, kubelet: Kubelet) -> bool:
        """Tell whether a machine's API server can be connected to; that says nothing about reads and writes."""
        since = self.api_since(kubelet)
        return kubelet.alive and since is not None and since <= self.now

    @recorded(169, 348, 349)
    def readyz(self, kubelet: Kubelet) -> int:
        """Return the HTTP status of a machine's /readyz, 0 when nothing listens."""
        since = self.api_since(kubelet)
        if since is None or not self.api_up(kubelet):
            return 0
        # Its own etcd is the only one that it asks.
        fit = self.healthy() and self.etcd_up(kubelet)
        return 200 if fit and self.now >= since + self.lags.api_ready else 500

    def healthy(self) -> bool:
        """Tell whether etcd has quorum among the running members: only then reads and writes are answered."""
        return self.etcd.quorum()

    def serving(self) -> bool:
        """Tell whether any API server is ready."""
        return self.healthy() and any(self.readyz(kubelet) == 200 for kubelet in self.kubelets)

    @recorded(173)
    def authorized(self) -> bool:
        """Tell whether admin.conf may do anything: its ClusterRoleBinding is made late in init."""
        return self.store.objects.find("ClusterRoleBinding", "kubeadm:cluster-admins") is not None

    def join(self, kubelet: Kubelet) -> None:
        """Let a machine's kubelet be seen."""
        if kubelet not in self.kubelets:
            self.kubelets.append(kubelet)
        self.poke()

    def lost(self, kubelet: Kubelet) -> None:
        """Note that a kubelet stopped or was cut off; its Node turns Unknown after the grace period."""
        if kubelet.registered is not None:
            self._memory.heartbeats[kubelet.node] = self.now
        self.poke()

    def forget(self, kubelet: Kubelet) -> None:
        """Drop a machine whose kubelet is gone for good; its Node stays until somebody deletes it."""
        self.lost(kubelet)
        if kubelet in self.kubelets:
            self.kubelets.remove(kubelet)

    @source("K07", "K15", "failures.md section 0: kube-vip lease")
    def virtual(self) -> Kubelet | None:
        """Return the machine that holds the virtual address: it is kept while that machine is fit for it.

        A kube-vip that is told to end releases its lease; one that dies keeps it until it is over.
        """
        if self._holder is not None and self._fit(self._holder):
            return self._holder
        if self._holder is not None:
            # Its manifest is gone while its machine lives, so it was told to end and gave up its lease.
            ended = self._holder.alive and f"{MANIFESTS}/kube-vip.yaml" not in self._holder.files
            self._free = self.now + (self.lags.vip_retry if ended else self.lags.vip_lease)
            self._holder = None
        if self.now >= self._free:
            self._holder = next((kubelet for kubelet in self.kubelets if self._fit(kubelet)), None)
        return self._holder

    def _fit(self, kubelet: Kubelet) -> bool:
        """Tell whether kube-vip on a machine can hold its lease: manifest, credentials that work, and a ready API."""
        manifest = kubelet.files.get(f"{MANIFESTS}/kube-vip.yaml")
        if manifest is None or self.plan.host not in manifest.text or self.readyz(kubelet) != 200:
            return False
        # It may everything from the start; admin.conf only once its binding is made (K07).
        if "super-admin.conf" in manifest.text:
            return "/etc/kubernetes/super-admin.conf" in kubelet.files
        return "/etc/kubernetes/admin.conf" in kubelet.files and self.authorized()

    def addresses(self) -> list[tuple[str, int]]:
        """Return where an API server of this cluster can be connected to right now."""
        own = [(kubelet.address, kubelet.port) for kubelet in self.kubelets if self.api_up(kubelet)]
        return own + ([(self.plan.host, self.plan.port)] if self.virtual() else [])

    def answers(self, address: str, port: int) -> bool:
        """Tell whether an API server of this cluster can be connected to there right now."""
        # Looked at whoever is asked for: that nobody holds the virtual address is noticed when somebody looks.
        held, place = self.virtual() is not None, (address, port)
        if held and place == (self.plan.host, self.plan.port):
            return True
        return any((kubelet.address, kubelet.port) == place and self.api_up(kubelet) for kubelet in self.kubelets)

    def poke(self, delay: float = 0.0) -> None:
        """Let the controllers look in `delay` seconds, unless they will before that."""
        due = self.now + delay
        if due < self._due:
            self._due = due
            self._events.at(delay, lambda: self._look(due))

    def _look(self, due: float) -> None:
        if due == self._due:  # a later plan was superseded by an earlier one
            self._due = math.inf
            at = self._turn() if self.serving() else self._silence()
            if at < math.inf:
                self.poke(at - self.now)

    def _turn(self) -> float:
        if not self._served:
            self._return()
        # Looked at in each turn: that nobody holds the address is noticed when somebody looks, and its lease runs from
        # then.
        self.virtual()
        turn = Turn(
            now=self.now, store=self.store, lags=self.lags, kubelets=self.kubelets, memory=self._memory,
            random=self.random, authority=self.authority, pods=self.plan.pods,
        )  # fmt: skip
        for controller in ORDER:
            controller(turn)
        coming = self._silence() if self.virtual() is None else math.inf
        return min(turn.due, coming, self._free if self._free > self.now else math.inf)

    def _return(self) -> None:
        """Begin anew after an outage: nobody is blamed for the time without API, and old watches are Expired."""
        self._served = True
        self._memory.heartbeats = dict.fromkeys(self._memory.heartbeats, self.now)
        for kubelet in self.kubelets:
            # They reach the API again from now on, whatever they did before.
            kubelet.back = max(kubelet.back, self.now)
        self.store.objects.compact()

    def _silence(self) -> float:
        """Return when the next API server becomes ready; what else could bring one up pokes by itself."""
        self._served = self.serving()
        ready = [since + self.lags.api_ready for since in map(self.api_since, self.kubelets) if since is not None]
        static = [k.static_since("kube-vip", self.lags.static_pod) for k in self.kubelets]
        return min((at for at in [*ready, *filter(None, static)] if at > self.now), default=math.inf)
