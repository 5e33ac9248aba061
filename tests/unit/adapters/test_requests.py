"""Certificate requests: what they ask for, and that whatever else comes is a sentence about that request alone."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from cpcd.adapters.requests import names_of
from cpcd.lab.kube.pki import request
from cpcd.model.errors import Code, Failure
from cpcd.model.seen import Asked

NODE = (("O", "system:nodes"), ("CN", "system:node:w1"))
OIDS = {"O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}
X400 = bytes.fromhex("3004a3020500")  # a SAN that is an x400Address, which Go's x509 passes over
CUT = bytes.fromhex("3003820180")


def made(*subject: tuple[str, str], alternatives: x509.ExtensionType | None = None) -> str:
    """Return a request as the API has it."""
    name = x509.Name([x509.NameAttribute(OIDS[kind], value) for kind, value in subject])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def raw(der: bytes) -> x509.UnrecognizedExtension:
    """Return SANs of these bytes."""
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der)


def test_a_kubelets_request_is_read() -> None:
    """Its subject, its names, its addresses."""
    text = base64.b64encode(request("w1", "10.0.0.7").encode()).decode()

    assert Asked("system:node:w1", ("w1",), ("10.0.0.7",)) == names_of(text)


def test_one_without_names_asks_for_none() -> None:
    """Which is for others to judge."""
    assert Asked("system:node:w1", (), ()) == names_of(made(*NODE))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it cannot be read"),
        ("%", "it cannot be read"),
        (base64.b64encode(b"nothing").decode(), "it cannot be read"),
        (made(*NODE, alternatives=raw(X400)), "it cannot be read"),
        (made(*NODE, alternatives=raw(CUT)), "it cannot be read"),
        (made(*NODE, alternatives=x509.SubjectAlternativeName([x509.RFC822Name("a@b")])), "neither a DNS name nor"),
        (
            made(
                *NODE, alternatives=x509.SubjectAlternativeName([x509.UniformResourceIdentifier("x:y"), x509.DNSName("w1")])
            ),
            "neither a DNS name nor",
        ),
        (made(NODE[1]), "its subject is no node's"),
        (made(("O", "system:masters"), NODE[1]), "its subject is no node's"),
        (made(*NODE, ("O", "system:masters")), "its subject is no node's"),
        (made(*NODE, ("CN", "system:node:w2")), "its subject is no node's"),
    ],
)  # fmt: skip
def test_what_the_signer_would_not_sign_is_told(text: str, why: str) -> None:
    """Whatever the bytes are, it is this request's trouble."""
    with pytest.raises(Failure, match=why) as caught:
        names_of(text)

    assert Code.VALIDATION is caught.value.code


def test_words_of_a_request_can_be_shown() -> None:
    """They end up in a status."""
    asked = names_of(made(NODE[0], ("CN", "system:node:\x1b[31m")))

    assert asked.subject.isprintable()
