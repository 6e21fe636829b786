# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server with the answers that a test gives it: what a real registry does not do on demand."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.servers import running

Answer = tuple[int, dict[str, str], bytes]
Answering = Callable[["Request"], Answer]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    authorization: str | None

    @property
    def account(self) -> str | None:
        if not (self.authorization or "").startswith("Basic "):
            return None
        return base64.b64decode((self.authorization or "")[6:]).decode()


@dataclass
class Front:
    url: str = ""
    answering: Answering = lambda request: (200, {}, b"{}")
    requests: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def serving(answering: Answering, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    front = Front(answering=answering)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers.get("Authorization"))
            front.requests.append(request)
            status, headers, body = front.answering(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    front.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    with running(server):
        yield front
