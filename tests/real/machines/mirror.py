"""The servers that a plain machine's apt asks: Debian's archive by HTTP, Kubernetes' by HTTPS at its own name.

`prepare` is as it is, so that the machine believes in an authority of the tests and finds Kubernetes' name at our
address; what is told here makes it so. Next: `archive.py` for what is served.
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
from tests.real import binaries
from tests.real.machines import archive
from tests.real.machines.network import REPOSITORY

__all__ = ["Mirror"]

NAME: Final = "pkgs.k8s.io"
_PATH: Final = f"core:/stable:/v{binaries.KUBERNETES.rpartition('.')[0]}/deb"
# cloud-init writes /etc/hosts anew at each boot, by its template.
_TRUST: Final = """
set -e
cat > /usr/local/share/ca-certificates/tests.crt <<'END'
{authority}END
cat > /etc/apt/keyrings/tests.asc <<'END'
{key}END
update-ca-certificates > /dev/null
echo '{address} {name}' | tee -a /etc/hosts >> /etc/cloud/templates/hosts.debian.tmpl
rm -f /etc/apt/sources.list.d/*
echo 'deb [signed-by=/etc/apt/keyrings/tests.asc] http://{address}/{suite} ./' > /etc/apt/sources.list
"""


class _Quiet(SimpleHTTPRequestHandler):
    """Files of a directory, and no word about it."""

    # Not 1.0, whose answers end with the connection: Python says no goodbye in TLS, which OpenSSL takes for a cut.
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is served; `place` is a directory of its own, `debian` the repositories by suite."""

    place: Path
    debian: Mapping[str, Path]
    authority: Authority

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer until the end of the block."""
        kubernetes = self.place / _PATH
        kubernetes.parent.mkdir(parents=True)
        kubernetes.symlink_to(archive.kubernetes())
        for suite, repository in self.debian.items():
            (self.place / suite).symlink_to(repository)
        handler = partial(_Quiet, directory=str(self.place))
        with ExitStack() as stack:
            for port in (80, 443):
                server = stack.enter_context(ThreadingHTTPServer((REPOSITORY, port), handler))
                if port == 443:
                    context = server_context(self.authority.server([NAME]))
                    # Shaken hands by the thread of the connection: else one that says nothing stops all others.
                    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
                threading.Thread(target=server.serve_forever, name=f"mirror {port}", daemon=True).start()
                stack.callback(server.shutdown)
            yield

    def trust(self, suite: str) -> str:
        """Return the script by which a machine believes in this mirror and knows no other."""
        key = (self.debian[suite] / archive.KEY).read_text()
        return _TRUST.format(authority=self.authority.pem, key=key, address=REPOSITORY, name=NAME, suite=suite)
