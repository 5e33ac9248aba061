"""A cluster's certificates: a real CA, made when somebody first asks.

Keys follow from a seed, so that a simulation repeats its CA hash; signatures are random and steer nothing. The
certificates are for TLS on loopback and outlive any lab clock; when kubeadm's own end is a fact of the guest's disk.
"""

import base64
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cpcd.lab.provenance import guess, recorded, source

__all__ = ["Authority", "request"]

_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
Key = ec.EllipticCurvePrivateKey


def _key(seed: str) -> Key:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big")
    # A private key is at least 1 and less than the order of the group (SEC 1, 3.2.1).
    return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())


def _pem(key: Key) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def _name(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(name) for name in names])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@source("kubelet: certificate/kubelet.go")
def request(node: str, address: str) -> str:
    """Return a kubelet's serving CSR as PEM: subject system:node:NAME, its name and address as SANs."""
    subject = _name(f"system:node:{node}", "system:nodes")
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    builder = builder.add_extension(_alternatives([node, address]), critical=False)
    return builder.sign(_key(f"kubelet/{node}"), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """One CA (ECDSA P-256) and what it signs."""

    def __init__(self, seed: str, cluster: str) -> None:
        self._seed = seed
        self._cluster = cluster
        self._serving: dict[tuple[str, ...], tuple[str, str]] = {}

    @cached_property
    def _ca_key(self) -> Key:
        return _key(f"{self._seed}/ca")

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The CA's own certificate."""
        builder = self._builder(_name("kubernetes"), self._ca_key.public_key())
        basic = x509.BasicConstraints(ca=True, path_length=None)
        key = x509.SubjectKeyIdentifier.from_public_key(self._ca_key.public_key())
        built = builder.add_extension(basic, critical=True).add_extension(key, critical=False)
        usage = dict.fromkeys(("content_commitment", "data_encipherment", "key_agreement", "crl_sign"), False)
        usage |= {"digital_signature": True, "key_encipherment": True, "key_cert_sign": True}
        full = x509.KeyUsage(**usage, encipher_only=False, decipher_only=False)
        return built.add_extension(full, critical=True).sign(self._ca_key, hashes.SHA256())

    @cached_property
    def ca_pem(self) -> str:
        """The CA's certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @cached_property
    @recorded(240)
    def ca_hash(self) -> str:
        """`sha256:…` of the CA's public key, as kubeadm pins it."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return (
            "sha256:"
            + hashlib.sha256(self._ca_key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()
        )

    @source("kubeadm: certs, KubeadmCertAPIServer")
    def serving(self, names: Sequence[str]) -> tuple[str, str]:
        """Return (certificate, key) as PEM for an API server under these names and addresses; cached."""
        wanted = tuple(sorted(set(names)))
        if wanted not in self._serving:
            key = _key(f"{self._seed}/serving")
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = self._builder(_name("kube-apiserver"), key.public_key())
            builder = builder.add_extension(_alternatives(wanted), critical=False).add_extension(usage, critical=False)
            self._serving[wanted] = (self._signed(builder), _pem(key))
        return self._serving[wanted]

    @cached_property
    def _administrator(self) -> tuple[str, str]:
        key = _key(f"{self._seed}/admin")
        builder = self._builder(_name("kubernetes-admin", "kubeadm:cluster-admins"), key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return self._signed(builder.add_extension(usage, critical=False)), _pem(key)

    @guess("extensions as they were asked for; the real signer takes names from the request and usages from its spec")
    def sign(self, pem: str) -> str:
        """Return the certificate for a CSR, both PEM."""
        csr = x509.load_pem_x509_csr(pem.encode())
        builder = self._builder(csr.subject, csr.public_key())
        for extension in csr.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return self._signed(builder)

    @source("kubeadm: phases/kubeconfig")
    def kubeconfig(self, server: str) -> str:
        """Return admin.conf: a client certificate of kubernetes-admin, the server `https://host:port`."""
        certificate, key = self._administrator
        user = f"kubernetes-admin@{self._cluster}"
        cluster = {"certificate-authority-data": _base64(self.ca_pem), "server": server}
        client = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self._cluster, "cluster": cluster}],
            "contexts": [{"name": user, "context": {"cluster": self._cluster, "user": "kubernetes-admin"}}],
            "current-context": user,
            "users": [{"name": "kubernetes-admin", "user": client}],
        }
        return yaml.safe_dump(document, sort_keys=False)

    def _builder(self, subject: x509.Name, key: object) -> x509.CertificateBuilder:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        serial = int.from_bytes(
            hashlib.sha256(f"{self._seed}/{subject.rfc4514_string()}".encode()).digest()[:16], "big"
        )
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(_name("kubernetes")).public_key(key)
        return builder.serial_number(serial).not_valid_before(_FROM).not_valid_after(_UNTIL)

    def _signed(self, builder: x509.CertificateBuilder) -> str:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        signed = builder.add_extension(identifier, critical=False).sign(self._ca_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
