"""The client of the control socket: standard library only, so that a command starts quickly.

Every way in which the daemon cannot be asked is a Failure with a sentence; the server is `adapters/control.py`.
"""

import http.client
import json
import socket
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cpcd.model.errors import Code, Failure

__all__ = ["Client", "Document"]

Document = dict[str, Any]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("cpcd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Ask the daemon on `path`; each call is one connection. `timeout` is in seconds."""

    def __init__(self, path: str, *, timeout: float = 60.0) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, path: str, **query: str | int) -> Any:
        """Return the JSON answer; raises the daemon's own Failure, or one that says why it cannot be asked."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, **body: str) -> Any:
        """Send the body as JSON and return the JSON answer; raises as `get` does."""
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        connection = _Connection(self.path, self._timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        finally:
            connection.close()
        return self._answer(status, content)

    def _answer(self, status: int, content: bytes) -> Any:
        try:
            answer = json.loads(content)
            if status == 200:
                return answer
            code = Code(answer["code"])
            failure = Failure(code, answer["what"], target=answer["target"], hint=answer["hint"])
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(
                Code.VALIDATION,
                f"what answers there is not cpcd (status {status})",
                target=self.path,
                hint="Check --socket; is this command of the same version as the daemon?",
            ) from error
        raise failure

    def _silent(self, error: Exception) -> Failure:
        match error:
            case PermissionError():
                hint = "Use sudo, or have yourself added to the group that owns the socket (`cpcd`)."
                return Failure(Code.AUTH, "you may not use the control socket", target=self.path, hint=hint)
            case TimeoutError():
                hint = "Look at `systemctl status cpcd`: it is busy or stuck."
                return Failure(Code.TIMEOUT, f"no answer within {self._timeout:g} s", target=self.path, hint=hint)
            case ConnectionRefusedError() if not _is_socket(self.path):
                hint = "Name the daemon's socket with --socket, or leave the option out."
                return Failure(Code.INPUT, "that is no socket", target=self.path, hint=hint)
            case OSError(errno=None):  # Python's own check, before the kernel is asked
                hint = "Let the daemon listen at a shorter path (`socket` in cpcd.toml)."
                return Failure(Code.INPUT, f"that cannot be a socket: {error}", target=self.path, hint=hint)
            case _:
                hint = "Start it (`systemctl start cpcd`, or `cpcd run`), or name its socket: `cpcd --socket PATH ...`."
                return Failure(Code.DEPENDENCY, "no daemon answers here", target=self.path, hint=hint)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return True  # it went away meanwhile: nobody answers there
