"""Decodes certificate signing requests: which names and addresses a kubelet asks for."""

import base64

from cryptography import x509

from cpcd.model.errors import Code, Failure

__all__ = ["names_of"]


def names_of(request: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (DNS names, addresses) of a base64 PEM request; raises Failure(VALIDATION) when it is none."""
    try:
        found = x509.load_pem_x509_csr(base64.b64decode(request))
    except ValueError as error:
        raise Failure(Code.VALIDATION, "a certificate signing request cannot be decoded") from error
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(str(address) for address in addresses)
