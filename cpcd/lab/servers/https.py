"""Certificates for the lab's servers: a small authority and what it issues, all in memory.

A private key must never stay in a file: ssl loads it from one that exists for that moment, mode 0600. Used by the
Proxmox server and, with a modelled cluster's own authority, by the Kubernetes servers.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Certificate", "server_context"]

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as PEM text."""

    pem: str
    key: str

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as `pvenode cert info` prints it (`AA:BB:…`)."""
        found = x509.load_pem_x509_certificate(self.pem.encode())
        return found.fingerprint(hashes.SHA256()).hex(":").upper()


class Authority:
    """A certificate authority of the lab; P-256 like kubeadm's newer default, made in a millisecond."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        public = self._key.public_key()
        builder = _dated(x509.CertificateBuilder(), -_DAY, 3650 * _DAY)
        self._certificate = (
            builder.subject_name(self._name)
            .issuer_name(self._name)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        """The authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(
        self, addresses: Sequence[str], *, begins: timedelta = -_DAY, ends: timedelta = 365 * _DAY
    ) -> Certificate:
        """Issue a certificate for addresses and host names, valid from `begins` to `ends` as seen from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _dated(x509.CertificateBuilder(), begins, ends)
        public = key.public_key()
        certificate = (
            builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, addresses[0])]))
            .issuer_name(self._name)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in addresses]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Certificate(certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))


def server_context(certificate: Certificate, *, client_authority: str = "") -> ssl.SSLContext:
    """Return a server's TLS context; with `client_authority` (PEM) client certificates are asked for and verified.

    A missing client certificate is the application's business: kube-apiserver answers 401, it does not hang up.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate.key + certificate.pem)
        file.flush()
        context.load_cert_chain(file.name)
    if client_authority:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=client_authority)
    return context


def _dated(builder: x509.CertificateBuilder, begins: timedelta, ends: timedelta) -> x509.CertificateBuilder:
    """Real time: both ends of a TLS connection look at the real clock, however fast the lab's runs."""
    now = datetime.now(UTC)
    serial = x509.random_serial_number()
    return builder.serial_number(serial).not_valid_before(now + begins).not_valid_after(now + ends)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
