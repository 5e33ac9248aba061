"""Every refusal of the modelled API: its status, its text and how long the answer took.

Proxmox puts the text into the reason phrase and again into the body; both are made here and nowhere else, so that
no handler builds a response. Next: `http.py`, which turns a `Refused` into a response.
"""

from collections.abc import Mapping

from cpcd.lab.provenance import recorded, source

__all__ = [
    "NOT_VERIFIED", "Refused", "Silent", "denied", "failed", "invalid", "locked_out", "missing", "nowhere", "unanswered",
    "unknown_task",
]  # fmt: skip

NOT_VERIFIED = "Parameter verification failed."


class Silent(TimeoutError):  # noqa: N818 - an absence of an answer; callers see a timeout
    """The whole API does not answer; a client's own timeout ends the wait."""


class Refused(Exception):  # noqa: N818 - a refusal is an answer of the modelled API, not an error of the lab
    """One refusal: HTTP status, text (without the newline that Proxmox appends), field errors, seconds it took."""

    def __init__(
        self, status: int, text: str, *, errors: Mapping[str, str] | None = None, seconds: float = 0, body: bool = True
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.errors = errors
        self.seconds = seconds
        self.body = body


@recorded(396, 448, 754)
def failed(text: str, seconds: float = 0) -> Refused:
    """Make the usual 500; there is practically no 404."""
    return Refused(500, text, seconds=seconds)


@recorded(210, 214, 727)
def invalid(errors: Mapping[str, str], seconds: float = 0) -> Refused:
    """Make a 400 with one text for each bad field."""
    return Refused(400, NOT_VERIFIED, errors=errors, seconds=seconds)


@recorded(62, 904, 905, 922)
def denied(what: str = "") -> Refused:
    """Make a 403; `what` is `path, Privilege|Privilege`, empty where several ways in were all closed."""
    return Refused(403, f"Permission check failed ({what})" if what else "Permission check failed")


@recorded(396, 397, 399)
def missing(node: str, vmid: int) -> Refused:
    """Make the 500 that a VM gets which this node does not have, wherever it may be."""
    return failed(f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")


@recorded(339)
@source("QemuConfig.pm assert_config_exists_on_node")
def nowhere(node: str, vmid: int) -> Refused:
    """Make the other 500 for a VM that this node does not have: what looks for its process says it so."""
    return failed(f"unable to find configuration file for VM {vmid} on node '{node}'")


def unanswered(what: str) -> Refused:
    """Make the 501 of what Proxmox has and the lab has not: it answers with an error rather than with a guess."""
    return Refused(501, f"{what} is not modelled by the lab")


@recorded(754, 827, 835)
def locked_out(path: str, seconds: float = 0) -> Refused:
    """Make the text of a flock that was not had in time (`failures.md` P01, P08)."""
    return failed(f"can't lock file '{path}' - got timeout", seconds)


@recorded(727, 730)
def unknown_task() -> Refused:
    """Make the 400 for a UPID without a log on this node."""
    return invalid({"upid": "no such task"})
