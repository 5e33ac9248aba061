"""What the commands may ask of a running daemon; `daemon.py` answers, `adapters/control.py` carries it.

Answers are JSON values, so that a command prints with `-o json` exactly what it was told. Nothing here changes a
cluster directly: a command changes an input or wakes a key, and the loop does the rest.
"""

from typing import Any, Protocol

__all__ = ["Control"]


class Control(Protocol):
    """Every verb raises `model.errors.Failure`: Code.INPUT for a name that nobody knows."""

    async def status(self) -> dict[str, Any]:
        """Return `status.document`."""
        ...

    async def plan(self) -> dict[str, Any]:
        """Return all remaining steps.

        `{generation, steps: [{cluster, key, verb, target, risk, sentence, disrupts, quorum, wait, consent}], held,
        silent, warnings}`; `key` is `KIND/NAME`, `risk` a value of `model.desired.Risk`, `disrupts` a role or "",
        `quorum` words such as `2 of 3 voters left` or "", `wait` why the step is not taken now or "": what it waits for
        itself, or `after approval` and the like for what comes behind such a step. `consent` is the id of the consent
        that it waits for, or "": a successor waits for that to the retirement. `held` names the objects whose steps
        cannot be told: `[{cluster, key, reason, sentence, code}]`; `code` is "" unless they are refused. `silent` has a
        sentence for each endpoint that is down: what is planned rests on what was seen of it before. `warnings` are those of
        `check`, of the spec in force.
        """
        ...

    async def events(self, key: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest events first, `{at, key, name, run, severity, reason, message, code}`; "" selects all.

        `key` is `CLUSTER/KIND/NAME` with the name that people know. A cluster's name selects everything in it; a name
        that no object has any more selects what is kept of it. One that several objects have raises Failure(INPUT).
        """
        ...

    async def approve(self, request: str) -> dict[str, Any]:
        """Give consent to what awaits approval under this id, as `cpcd plan` shows it; return `{message}`.

        Idempotent until the consent is spent. Raises Failure(INPUT) when nothing awaits approval under this id.
        """
        ...

    async def pause(self, cluster: str) -> dict[str, Any]:
        """Stop changing a cluster, across restarts, until `resume`; return `{message}`."""
        ...

    async def resume(self, cluster: str) -> dict[str, Any]:
        """Undo `pause`; `spec.paused` stays in force, and the message says so; return `{message}`."""
        ...

    async def reconcile(self, key: str) -> dict[str, Any]:
        """Look at `KIND/NAME` (or `CLUSTER/KIND/NAME`, or a cluster) now, whatever its backoff; return `{message}`."""
        ...

    async def kubeconfig(self, cluster: str) -> str:
        """Return a cluster's kubeconfig as YAML; "" means the only cluster there is.

        Raises Failure(DEPENDENCY) while there is none.
        """
        ...

    async def check(self, place: str) -> dict[str, Any]:
        """Return `{compared, mistakes, warnings}`: what stands already against the spec as it lies at `place`, committed or not.

        `compared` is False when the daemon keeps another spec or this one has mistakes of its own; a mistake is
        `{file, line, column, path, message, hint}`, its file relative to the spec's directory. A warning is a sentence
        on what the spec would do that is perhaps not what is meant.
        """
        ...

    async def doctor(self) -> dict[str, Any]:
        """Return `{settings: {spec, worktree, state_dir}, checks: [{name, ok, message, hint}]}`.

        `ok` is None when it could not be told.
        """
        ...
