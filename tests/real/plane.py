"""A real control plane on loopback: etcd, kube-apiserver, controller-manager and scheduler as processes of the test.

No node and no kubelet; `nodes.py` plays those with the API's own means. What was started is ended by its pid, with
SIGKILL, since an apiserver takes 11 s to end by itself; and by the kernel when the tests themselves are killed.
"""

import base64
import contextlib
import http.client
import json
import ssl
import subprocess
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.real import binaries
from tests.real.authority import Authority

__all__ = ["Plane"]

ADDRESS: Final = "127.78.0.1"
PORT: Final = 6443
READY_S: Final = 120.0  # seconds; 2 to 3 on an idle machine
_ETCD: Final = f"http://{ADDRESS}:2379"
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")  # util-linux: whoever started it is gone, so it goes too
CLIENTS: Final = {
    "admin": ("kubernetes-admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
}


@dataclass
class Plane:
    """The processes by name, each with its log `NAME.log` in the directory; `address` is the API's."""

    directory: Path
    address: str = ADDRESS
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start everything and return when the API is ready; raises TimeoutError with the log's end."""
        self.start_api(Authority(self.directory / "pki"))
        self.run("kube-controller-manager")
        self.run("kube-scheduler")

    def start_api(self, pki: Authority) -> None:
        """Start etcd and the API alone, with the certificates of an authority."""
        pki.issue("apiserver", "kube-apiserver", addresses=(self.address, "10.97.0.1", "kubernetes", "localhost"))
        pki.signing_key("accounts")
        for name, (common, organization) in CLIENTS.items():
            pki.issue(name, common, organization=organization)
            (self.directory / f"{name}.conf").write_text(self.kubeconfig(name))
        self.run("etcd")
        self.run("kube-apiserver")
        self.wait_ready()

    def stop(self) -> None:
        """End everything that was started."""
        for name in list(self.running):
            self.kill(name)

    def run(self, name: str) -> None:
        """Start one program, its output in its log."""
        argv = {
            "etcd": self._etcd, "kube-apiserver": self._apiserver, "kube-controller-manager": self._controllers,
            "kube-scheduler": self._scheduler,
        }[name]()  # fmt: skip
        with (self.directory / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([*_WITH_US, *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        """End one program at once, as a power cut would."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def wait_ready(self) -> None:
        """Wait until /readyz says ok."""
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/readyz")[0] == http.client.OK:
                    return
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            if ended:
                raise RuntimeError(f"{ended[0]} ended: {self.log(ended[0])}")
            time.sleep(0.1)
        raise TimeoutError(f"the API is not ready after {READY_S:.0f} s: {self.log('kube-apiserver')}")

    def log(self, name: str) -> str:
        """Return the end of a program's log."""
        return (self.directory / f"{name}.log").read_text(errors="replace")[-3000:]

    def compact(self) -> None:
        """Let etcd forget all that was until now, as an API server has it do every 5 minutes."""
        revision = _etcd("kv/range", {"key": "AA=="})["header"]["revision"]
        _etcd("kv/compaction", {"revision": revision, "physical": True})

    def ask(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", token: str = ""
    ) -> tuple[int, Any]:
        """Make one request as the administrator, or with a token; return status and JSON, or the text."""
        context = ssl.create_default_context(cafile=self.directory / "pki/ca.crt")
        if not token:
            context.load_cert_chain(self.directory / "pki/admin.crt", self.directory / "pki/admin.key")
        connection = http.client.HTTPSConnection(self.address, PORT, context=context, timeout=30)
        try:
            sent = None if body is None else json.dumps(body)
            known = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, sent, {"Content-Type": content, "Accept": "application/json", **known})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text

    def kubeconfig(self, client: str = "admin") -> str:
        """Return a kubeconfig of one of CLIENTS, certificates inside."""

        def inside(name: str) -> str:
            return base64.b64encode((self.directory / "pki" / name).read_bytes()).decode()

        cluster = {"server": f"https://{self.address}:{PORT}", "certificate-authority-data": inside("ca.crt")}
        user = {"client-certificate-data": inside(f"{client}.crt"), "client-key-data": inside(f"{client}.key")}
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "real",
            "clusters": [{"name": "real", "cluster": cluster}], "users": [{"name": client, "user": user}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": client}}],
        })  # fmt: skip

    def _pki(self, name: str) -> str:
        return str(self.directory / "pki" / name)

    def _etcd(self) -> list[str]:
        peer = f"http://{ADDRESS}:2380"
        return [
            str(binaries.made(binaries.ETCD) / "etcd"), f"--data-dir={self.directory / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--log-level=warn",
        ]  # fmt: skip

    def _apiserver(self) -> list[str]:
        return [
            str(binaries.made(binaries.CONTROL_PLANE) / "kube-apiserver"), f"--etcd-servers={_ETCD}",
            f"--bind-address={self.address}", f"--secure-port={PORT}", f"--advertise-address={self.address}",
            "--endpoint-reconciler-type=none", "--enable-bootstrap-token-auth", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--service-cluster-ip-range=10.97.0.0/16",
            f"--client-ca-file={self._pki('ca.crt')}", f"--tls-cert-file={self._pki('apiserver.crt')}",
            f"--tls-private-key-file={self._pki('apiserver.key')}",
            f"--service-account-key-file={self._pki('accounts.pub')}",
            f"--service-account-signing-key-file={self._pki('accounts.key')}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--audit-log-path={self.directory / 'audit'}",
            f"--audit-policy-file={self._policy()}",
        ]  # fmt: skip

    def asked(self, agent: str) -> Counter[str]:
        """Count what a client has asked so far, by verb and kind: a watch once it is over, all else when answered."""
        lines = (self.directory / "audit").read_text().splitlines()
        entries = [entry for entry in map(json.loads, lines) if entry.get("userAgent") == agent]
        return Counter(
            f"{one['verb']} {one.get('objectRef', {}).get('resource', one['requestURI'])}" for one in entries
        )

    def _policy(self) -> Path:
        """Write who asked what down, and not what for; a client is known by its agent."""
        policy = self.directory / "audit-policy.json"
        stages = ["RequestReceived", "ResponseStarted"]
        rules = [{"level": "Metadata", "omitStages": stages}]
        policy.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
        return policy

    def _controllers(self) -> list[str]:
        return [
            str(binaries.made(binaries.CONTROL_PLANE) / "kube-controller-manager"), "--leader-elect=false",
            f"--kubeconfig={self.directory / 'controllers.conf'}", "--secure-port=0",
            "--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
            f"--cluster-signing-cert-file={self._pki('ca.crt')}", f"--cluster-signing-key-file={self._pki('ca.key')}",
            f"--root-ca-file={self._pki('ca.crt')}", f"--service-account-private-key-file={self._pki('accounts.key')}",
            "--kube-api-qps=500", "--kube-api-burst=1000",  # its own limits make it 5 s slower to begin
            "--node-monitor-period=500ms", "--node-monitor-grace-period=4s", "--use-service-account-credentials",
        ]  # fmt: skip

    def _scheduler(self) -> list[str]:
        return [
            str(binaries.made(binaries.CONTROL_PLANE) / "kube-scheduler"), "--leader-elect=false", "--secure-port=0",
            f"--kubeconfig={self.directory / 'scheduler.conf'}",
        ]  # fmt: skip


def _etcd(path: str, body: dict[str, Any]) -> Any:
    """Ask etcd through its JSON gateway; a refusal raises HTTPError."""
    sent = urllib.request.Request(f"{_ETCD}/v3/{path}", json.dumps(body).encode())  # noqa: S310 - loopback
    with urllib.request.urlopen(sent, timeout=30) as answer:  # noqa: S310 - loopback
        return json.load(answer)
