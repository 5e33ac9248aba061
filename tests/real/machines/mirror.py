"""The server that plain machines install from: Kubernetes' packages, and Docker's, by HTTPS at their own names, others by HTTP.

`prepare` is as it is, so that the machine believes in an authority of the tests and finds those names at our address;
what is told here makes it so. Next: `archive.py` and `rpm_archive.py` for what is served.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from cpcd.lab.servers.https import Authority, server_context
from tests.real.machines.network import REPOSITORY

__all__ = ["Mirror"]

NAMES: Final = ("pkgs.k8s.io", "download.docker.com")
_TRUST: Final = """
set -e
cat > /usr/local/share/ca-certificates/tests.crt <<'END'
{authority}END
update-ca-certificates > /dev/null
# cloud-init writes /etc/hosts anew at each boot, by its template.
echo '{address} {names}' | tee -a /etc/hosts >> /etc/cloud/templates/hosts.debian.tmpl
"""


class _Quiet(SimpleHTTPRequestHandler):
    """Files of a directory, and no word about it."""

    # Not 1.0, whose answers end with the connection: Python says no goodbye in TLS, which OpenSSL takes for a cut.
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is served; `place` is a directory of its own, `served` are directories and files by the path that leads there."""

    place: Path
    served: Mapping[str, Path]
    authority: Authority

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer until the end of the block."""
        for path, directory in self.served.items():
            (self.place / path).parent.mkdir(parents=True, exist_ok=True)
            (self.place / path).symlink_to(directory)
        handler = partial(_Quiet, directory=str(self.place))
        with ExitStack() as stack:
            for port in (80, 443):
                server = stack.enter_context(ThreadingHTTPServer((REPOSITORY, port), handler))
                if port == 443:
                    context = server_context(self.authority.server(NAMES))
                    # Shaken hands by the thread of the connection: else one that says nothing stops all others.
                    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
                threading.Thread(target=server.serve_forever, name=f"mirror {port}", daemon=True).start()
                stack.callback(server.shutdown)
            yield

    def trust(self) -> str:
        """Return the script by which a machine believes in this mirror and finds it."""
        return _TRUST.format(authority=self.authority.pem, address=REPOSITORY, names=" ".join(NAMES))
