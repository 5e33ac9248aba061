"""A verb's no: the text that kubeadm, etcdctl or systemd would print, and the reason that cpcd makes of it.

Reasons come from `guest/reasons.py`, so that the lab cannot invent one.
"""

from cpcd.guest.reasons import classify, words

__all__ = ["VerbFailed", "kubeadm_failed", "said"]


class VerbFailed(Exception):  # noqa: N818 - an answer of the modelled machine
    """A verb failed: a reason of `guest.reasons.REASONS`, the words, and the seconds that passed."""

    def __init__(self, reason: str, message: str, seconds: float = 0.0, rc: int = 1) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.seconds = seconds
        self.rc = rc


def said(verb: str, text: str, *, rc: int = 1, seconds: float = 0.0) -> VerbFailed:
    """Return the failure of a program that printed `text` on stderr."""
    return VerbFailed(classify(verb, rc, "", text), words(rc, "", text), seconds, rc)


def kubeadm_failed(verb: str, phase: str, text: str) -> VerbFailed:
    """Return the failure of a kubeadm phase, in the form that kubeadm prints."""
    return said(verb, f"error: error execution phase {phase}: {text}")
