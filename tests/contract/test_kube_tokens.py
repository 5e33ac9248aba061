"""Bootstrap tokens, as one who only has the Kubernetes port can make them: signed into cluster-info, and ended."""

import base64
import datetime as dt
import hashlib
import hmac

from cpcd.ports.kube import GVK, Object
from tests.contract.kube_site import CONFIG, Site, eventually, gone

SECRET = GVK("v1", "Secret")
SYSTEM, PUBLIC = "kube-system", "kube-public"
IDENTITY, PASSWORD = "c0ntr4", "0123456789abcdef"
NAME = f"bootstrap-token-{IDENTITY}"
LIFE = 3  # seconds
INFO = "apiVersion: v1\nkind: Config\n"


def token(**more: str) -> Object:
    """Return the Secret that a token is."""
    plain = {"token-id": IDENTITY, "token-secret": PASSWORD, **more}
    usages = {"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true"}
    metadata = {"name": NAME, "namespace": SYSTEM}
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "metadata": metadata,
        "stringData": plain | usages,
    }  # fmt: skip


async def published(site: Site) -> dict[str, str]:
    """Return what everybody may read of the cluster."""
    found = await site.kube.get(CONFIG, "cluster-info", PUBLIC)
    return dict(found["data"]) if found else {}


async def signature(site: Site) -> str:
    """Return the token's signature under it, empty while there is none."""
    return (await published(site)).get(f"jws-kubeconfig-{IDENTITY}", "")


async def given(site: Site) -> Object:
    """Let there be the ConfigMap that kubeadm makes, and the token."""
    metadata = {"name": "cluster-info", "namespace": PUBLIC}
    info = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"kubeconfig": INFO}}
    await site.kube.apply(info)
    return await site.kube.apply(token())


def encoded(plain: bytes) -> str:
    """Return base64url without padding, as in RFC 7515."""
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


async def test_token_signs_what_everybody_may_read(site: Site) -> None:
    """So a machine that has it knows that it is asking the right cluster: a JWS whose content stands beside it."""
    made = await given(site)
    header, content, signed = (await eventually(site, lambda: signature(site))).split(".")
    payload = f"{header}.{encoded((await published(site))['kubeconfig'].encode())}"
    await site.kube.delete(SECRET, NAME, namespace=SYSTEM, uid=made["metadata"]["uid"])

    assert "" == content
    assert encoded(hmac.new(PASSWORD.encode(), payload.encode(), hashlib.sha256).digest()) == signed


async def test_token_lets_in_until_its_end(site: Site) -> None:
    """Then the token cleaner takes it away, and the signer its signature; one with another secret never lets in."""
    made = await given(site)
    await eventually(site, lambda: signature(site))
    taken = await site.refuses(f"{IDENTITY}.{PASSWORD}")
    wrong = await site.refuses(f"{IDENTITY}.{PASSWORD[::-1]}")
    ended = base64.b64encode(made["metadata"]["creationTimestamp"].encode()).decode()
    await site.kube.patch(SECRET, NAME, {"data": {"expiration": ended}}, namespace=SYSTEM)
    await eventually(site, lambda: gone(site, SECRET, NAME, SYSTEM))

    async def unsigned() -> bool:
        return not await signature(site)

    assert "" == taken
    assert wrong
    assert await eventually(site, unsigned)
    assert await eventually(site, lambda: site.refuses(f"{IDENTITY}.{PASSWORD}"))


async def test_token_ends_by_itself(site: Site) -> None:
    """Nobody has to come back for it."""
    made = await given(site)
    begun = dt.datetime.fromisoformat(made["metadata"]["creationTimestamp"])
    ends = (begun + dt.timedelta(seconds=LIFE)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await site.kube.apply(token(expiration=ends))

    assert await eventually(site, lambda: gone(site, SECRET, NAME, SYSTEM))
