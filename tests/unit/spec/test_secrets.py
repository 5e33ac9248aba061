"""Secrets are named by reference and never shown."""

import pickle

import pytest

from cpcd.model.desired import SecretRef
from cpcd.model.errors import Code, Failure
from cpcd.spec import Secret, read_spec, resolve

FILES = {
    "/etc/token": b"root@pam!x=5eed\n",
    "/run/creds/token": b"cred",
    "/etc/empty": b" \n",
    "/etc/bytes": b"\xff5eed",
}


def reader(path: str) -> bytes:
    """Read a file of a small world."""
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


def test_a_secret_prints_as_stars() -> None:
    """In every way in which values come into logs."""
    secret = Secret("5eed")

    assert "5eed" not in f"{secret} {secret!r} {secret:>20} {[secret]} {secret!s}"
    assert secret.reveal() == "5eed"


def test_a_secret_is_not_pickled() -> None:
    """Nor does it come into a file that way."""
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(Secret("5eed"))


def test_secrets_are_values() -> None:
    """A changed token is noticed by comparing."""
    assert (Secret("a") == Secret("a"), Secret("a") == "a", len({Secret("a"), Secret("a")})) == (True, False, 1)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        (SecretRef("file", "/etc/token"), "root@pam!x=5eed"),
        (SecretRef("systemdCredential", "token"), "cred"),
        (SecretRef("env", "TOKEN"), "from-env"),
    ],
)
def test_each_kind_is_resolved(ref: SecretRef, expected: str) -> None:
    """The reader is the caller's; the last newline of a file is not part of a token."""
    environment = {"CREDENTIALS_DIRECTORY": "/run/creds", "TOKEN": "from-env"}

    assert expected == resolve(ref, reader, environment).reveal()


@pytest.mark.parametrize(
    ("ref", "what"),
    [
        (SecretRef("file", "/etc/absent"), "secret file /etc/absent cannot be read: No such file or directory"),
        (SecretRef("file", "/etc/empty"), "secret file /etc/empty is empty"),
        (SecretRef("file", "/etc/bytes"), "secret file /etc/bytes is not UTF-8 text"),
        (SecretRef("env", "ABSENT"), "secret env ABSENT is empty"),
        (
            SecretRef("systemdCredential", "token"),
            "secret systemdCredential token is not there: cpcd was not started by systemd with LoadCredential=",
        ),
    ],
)
def test_a_secret_that_is_not_there_is_a_sentence(ref: SecretRef, what: str) -> None:
    """It names the reference, never bytes of the value, not even through the chain of exceptions."""
    with pytest.raises(Failure) as caught:
        resolve(ref, reader, {}, target="home")

    assert (Code.AUTH, what, "home") == (caught.value.code, caught.value.what, caught.value.target)
    assert not isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_a_reference_of_the_file_becomes_the_models(valid: str) -> None:
    """`credentialsRef` in the words of the rest of cpcd."""
    proxmox = read_spec({"c": valid.encode()}).documents[0].spec.infrastructure.proxmox

    assert SecretRef("file", "/etc/cpcd/pve-token") == proxmox.credentials_ref.ref
