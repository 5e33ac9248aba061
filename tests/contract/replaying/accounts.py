"""Who may what, as the recorded calls to `/access` made it: users, roles, tokens, grants, told to the lab as tokens.

The lab knows what each account may and nothing else; this reckons it anew whenever something has changed. Next:
`hands.py`, which calls it.
"""

import re
from collections.abc import Callable, Mapping

from cpcd.lab.pve import ADMINISTRATOR, AUDITOR, Pve, Token
from tests.contract.replaying.recording import Exchange

__all__ = ["ACCOUNTS", "SECRET", "Accounts"]

SECRET = "secret"
ROLES: dict[str, frozenset[str]] = {
    "Administrator": ADMINISTRATOR,
    "PVEAuditor": AUDITOR,
    "PVETemplateUser": frozenset(("VM.Audit", "VM.Clone")),
    "PVEDatastoreUser": frozenset(("Datastore.AllocateSpace", "Datastore.Audit")),
    "PVESDNUser": frozenset(("SDN.Use", "SDN.Audit")),
    "PVEVMUser": frozenset((
        "VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.GuestAgent.Audit", "VM.PowerMgmt",
    )),
    "NoAccess": frozenset(),
}  # fmt: skip
"""Roles of Proxmox VE 9.2 that the recording grants (recorded 41, 42)."""


class Accounts:
    """Users, roles, tokens and grants as they were made; the lab knows what each of them may, and nothing else."""

    def __init__(self, pve: Pve) -> None:
        self._pve = pve
        self._roles = dict(ROLES)
        self._granted: dict[str, dict[str, set[str]]] = {}  # user or token -> path -> roles
        self._tokens: dict[str, bool] = {}  # whether privileges are separated from the user's
        self._away: set[str] = set()  # disabled or expired

    def roles(self, exchange: Exchange) -> None:
        """All roles were listed."""
        self._roles |= {role["roleid"]: _privileges(role.get("privs")) for role in exchange.data}

    def role(self, exchange: Exchange) -> None:
        """A role was made or changed, and with it what was granted by it."""
        name = exchange.params.get("roleid") or exchange.path.rpartition("/")[2]
        kept = self._roles.get(name, frozenset()) if exchange.params.get("append") else frozenset()
        self._roles[name] = kept | _privileges(exchange.params.get("privs"))
        self._settle()

    def token(self, exchange: Exchange) -> None:
        """A token was made or changed: without privilege separation it has its user's rights."""
        name = _token(exchange)
        self._tokens[name] = str(exchange.params.get("privsep", int(self._tokens.get(name, True)))) == "1"
        self._valid(name, exchange)

    def no_token(self, exchange: Exchange) -> None:
        """A token was removed."""
        self._forget(_token(exchange))

    def user(self, exchange: Exchange) -> None:
        """A user was changed; one that is disabled or expired is refused, and so are its tokens."""
        self._valid(exchange.path.rpartition("/")[2], exchange)

    def no_user(self, exchange: Exchange) -> None:
        """A user was removed, and its tokens with it."""
        user = exchange.path.rpartition("/")[2]
        for name in [name for name in self._pve.accounts if _user(name) == user]:
            self._forget(name)

    def grant(self, exchange: Exchange) -> None:
        """Users or tokens were granted roles at a path, or these were taken from them."""
        roles = set(exchange.params["roles"].split(","))
        names = f"{exchange.params.get('users', '')},{exchange.params.get('tokens', '')}".split(",")
        for name in filter(None, names):
            held = self._granted.setdefault(name, {}).setdefault(exchange.params["path"], set())
            change = held.difference_update if exchange.params.get("delete") else held.update
            change(roles)
        self._settle()

    def _valid(self, name: str, exchange: Exchange) -> None:
        """Take an account away while it is disabled or its time is over; `expire` in Unix seconds, 0 for never."""
        over = 0 < int(exchange.params.get("expire", 0)) <= (exchange.time or 0)
        if over or str(exchange.params.get("enable", 1)) == "0":
            self._away.add(name)
        elif exchange.params.keys() & {"expire", "enable"}:
            self._away.discard(name)
        self._settle()

    def _forget(self, name: str) -> None:
        self._granted.pop(name, None)
        self._tokens.pop(name, None)
        self._pve.accounts.pop(name, None)

    def _settle(self) -> None:
        """Give everybody of whom something is known what they have now."""
        for name in {*self._granted, *self._tokens}:
            self._pve.accounts[name] = Token(name, SECRET, self._acl(name))
        for name in [name for name in self._pve.accounts if self._away & {name, _user(name)}]:
            del self._pve.accounts[name]

    def _acl(self, name: str) -> Mapping[str, frozenset[str]]:
        """Return path -> privileges; a separated token has what both it and its user have."""
        own = self._own(name)
        if name not in self._tokens:
            return own
        users = self._acl(_user(name))
        if not self._tokens[name]:
            return users
        return {path: _inherited(own, path) & _inherited(users, path) for path in {*own, *users}}

    def _own(self, name: str) -> Mapping[str, frozenset[str]]:
        if name in self._granted or name in self._tokens:
            held = {path: roles for path, roles in self._granted.get(name, {}).items() if roles}
            return {
                path: frozenset().union(*(self._roles.get(role, frozenset()) for role in roles))
                for path, roles in held.items()
            }
        found = self._pve.accounts.get(name)
        return found.acl if found else {}


def _user(name: str) -> str:
    return name.partition("!")[0]


def _inherited(acl: Mapping[str, frozenset[str]], path: str) -> frozenset[str]:
    while path not in acl and path != "/":
        path = path.rpartition("/")[0] or "/"
    return acl.get(path, frozenset())


def _privileges(text: str | None) -> frozenset[str]:
    return frozenset(filter(None, re.split(r"[,; ]+", text or "")))


def _token(exchange: Exchange) -> str:
    _, user, _, name = exchange.path.rsplit("/", 3)
    return f"{user}!{name}"


ACCOUNTS: tuple[tuple[str, Callable[[Accounts, Exchange], None]], ...] = (
    (r"^GET /access/roles$", Accounts.roles),
    (r"^(?:POST /access/roles|PUT /access/roles/[^/]+)$", Accounts.role),
    (r"^(?:POST|PUT) /access/users/[^/]+/token/[^/]+$", Accounts.token),
    (r"^DELETE /access/users/[^/]+/token/[^/]+$", Accounts.no_token),
    (r"^PUT /access/users/[^/]+$", Accounts.user),
    (r"^DELETE /access/users/[^/]+$", Accounts.no_user),
    (r"^PUT /access/acl$", Accounts.grant),
)
