"""A kubernetes.aio client made from kubeconfig text: TLS and timeouts, nothing hidden.

It must never read the user's kubeconfig, the environment's proxies or a default configuration (`failures.md` C13), and
never leave a key in a file. The verbs are in `api.py`.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import aiohttp
import yaml

from cpcd.adapters.kube.aio.parts import ApiClient, Configuration, DynamicClient
from cpcd.adapters.once import send_once
from cpcd.model.errors import Code, Failure

__all__ = ["connect", "credentials", "forget_keys"]

# Two are watches, all calls share the others; each holds a buffer of 256 KiB while it lives (asyncio.sslproto).
_CONNECTIONS: Final = 10
_PAIR: Final = ".pair-"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one context of a kubeconfig holds, as PEM text; never printed."""

    server: str
    authority: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        return f"Credentials({self.server})"


def credentials(kubeconfig: str, server: str) -> Credentials:
    """Return the current context's credentials; all of them must be embedded (`*-data`), as kubeadm writes them.

    `server` takes the place of the kubeconfig's when not empty. Raises Failure(AUTH).
    """
    try:
        config = yaml.safe_load(kubeconfig)
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        return Credentials(
            server or cluster["server"],
            _pem(cluster, "certificate-authority-data"),
            _pem(user, "client-certificate-data"),
            _pem(user, "client-key-data"),
        )
    except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise Failure(Code.AUTH, f"the kubeconfig is not usable: {type(error).__name__} while reading it") from None


def connect(found: Credentials, limits: aiohttp.ClientTimeout, private: Path) -> DynamicClient:
    """Return a client for its requests alone; `private` is a directory of our own, mode 0700.

    ssl loads a client key from a file only: it exists there, mode 0600, for that moment, and after a kill in it until
    the next start (`forget_keys`). The client's own discovery is
    never awaited: it would write a file in /tmp that outlives the cluster that it describes; see `discovery.py`.
    """
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _brief_file(private, found.certificate + "\n" + found.key) as pair:
        configuration = Configuration(
            host=found.server,
            ca_cert_data=found.authority,
            cert_file=pair,
            # The library would repeat writes too (`failures.md` rule 1).
            retries=None,
            connection_pool_maxsize=_CONNECTIONS,
            client_session_kwargs={"trust_env": False, "middlewares": (send_once,)},
        )
        client = _Client(configuration, limits)
    return DynamicClient(client)


def forget_keys(private: Path) -> None:
    """Remove the keys that a daemon left there which was killed while ssl loaded them; no other may be at work."""
    for left in private.glob(f"{_PAIR}*"):
        with suppress(OSError):  # a disk that cannot be written is told by who has to write there
            left.unlink()


class _Client(ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """An ApiClient that always has a timeout; without one it would wait for 5 minutes."""

    def __init__(self, configuration: Configuration, limits: aiohttp.ClientTimeout) -> None:
        super().__init__(configuration)
        self.user_agent = "cpcd"
        self._limits = limits

    async def call_api(
        self, *request: Any, _request_timeout: aiohttp.ClientTimeout | None = None, **options: Any
    ) -> Any:
        return await super().call_api(*request, _request_timeout=_request_timeout or self._limits, **options)


@contextmanager
def _brief_file(directory: Path, text: str) -> Iterator[str]:
    with NamedTemporaryFile("w", dir=directory, prefix=_PAIR) as file:
        file.write(text)
        file.flush()
        yield file.name


def _named(entries: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(entry: Mapping[str, str], field: str) -> str:
    return b64decode(entry[field], validate=True).decode()
