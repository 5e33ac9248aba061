"""The certificates of a control plane that tests start: one authority and what it signs, as files of a directory."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority"]

_DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """An authority in a directory, which only this user may read: `ca.crt`, `ca.key`, and a pair for each name.

    It is a new one, or `known`: another's certificate and key.
    """

    def __init__(
        self, directory: Path, known: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
    ) -> None:
        directory.mkdir(mode=0o700, parents=True)
        self.directory = directory
        self._name = _subject("kubernetes")
        certificate, self._key = known or self._new()
        self._write("ca", certificate, self._key)

    def issue(self, name: str, common: str, *, organization: str = "", addresses: Sequence[str] = ()) -> None:
        """Write NAME.crt and NAME.key: for a client, or with `addresses` for a server too."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if addresses else [])]
        built = self._builder(_subject(common, organization), key)
        built = built.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if addresses:
            names = x509.SubjectAlternativeName([_general(address) for address in addresses])
            built = built.add_extension(names, critical=False)
        self._write(name, built.sign(self._key, hashes.SHA256()), key)

    def signing_key(self, name: str) -> None:
        """Write NAME.key and NAME.pub: an RSA pair, with which service account tokens are signed."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
        (self.directory / f"{name}.pub").write_bytes(public)
        self._write_key(name, key)

    def _new(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        self._key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=None)
        built = self._builder(self._name, self._key).add_extension(basic, critical=True)
        return built.sign(self._key, hashes.SHA256()), self._key

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - _DAY).not_valid_after(now + 30 * _DAY)

    def _write(self, name: str, certificate: x509.Certificate, key: Key) -> None:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.directory / f"{name}.crt").write_bytes(pem)
        self._write_key(name, key)

    def _write_key(self, name: str, key: Key) -> None:
        plain, form = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
        path = self.directory / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def _subject(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
