"""Decodes certificate signing requests: whom a kubelet says that it is, and which names and addresses it asks for."""

import base64

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from cpcd.adapters.answers import words
from cpcd.model.errors import Code, Failure
from cpcd.model.seen import Asked

__all__ = ["names_of"]

# Whoever may make a request decides over its bytes, and the library has an exception for most of what they can be.
_UNREADABLE = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType, x509.DuplicateExtension,
    x509.InvalidVersion,
)  # fmt: skip


def names_of(request: str) -> Asked:
    """Return what a base64 PEM request for a kubelet's serving certificate asks for.

    Raises Failure(VALIDATION) for one that cannot be read, and for what the signer `kubernetes.io/kubelet-serving` does
    not sign: another subject than one common name of the organization system:nodes, and names that are neither DNS
    names nor addresses (kubernetes: pkg/apis/certificates/helpers.go).
    """
    try:
        found = x509.load_pem_x509_csr(base64.b64decode(request))
        common, others = _subject(found)
        names = list(_alternatives(found))
    except _UNREADABLE as error:
        raise Failure(Code.VALIDATION, "it cannot be read") from error
    if len(common) != 1 or others != ["system:nodes"]:
        raise Failure(Code.VALIDATION, "its subject is no node's")
    dns = tuple(words(name.value) for name in names if isinstance(name, x509.DNSName))
    addresses = tuple(str(name.value) for name in names if isinstance(name, x509.IPAddress))
    if len(dns) + len(addresses) != len(names):
        raise Failure(Code.VALIDATION, "it asks for a name that is neither a DNS name nor an address")
    return Asked(words(common[0]), dns, addresses)


def _subject(found: x509.CertificateSigningRequest) -> tuple[list[str], list[str]]:
    common, organization = (
        [str(part.value) for part in found.subject.get_attributes_for_oid(oid)]
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    return common, organization


def _alternatives(found: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | tuple[()]:
    try:
        return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
