# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that holds one model, and breaks off, lies or refuses as a test tells it; what a device knows of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests import registries

CONTENT = os.urandom(400_000)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PASSWORD = registries.PASSWORDS["pull"]
ACCOUNT = "Basic " + base64.b64encode(f"pull:{PASSWORD}".encode()).decode()


@dataclass
class Registry:
    """One that answers by `status`, of which each answer may be cut short, or be of other bytes."""

    content: bytes = CONTENT
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    length: int | None = None
    asked: list[str] = field(default_factory=list)
    """The Range of each request, empty where it had none."""
    host: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.asked.append(wanted)
        status = self.status if request.headers.get("Authorization") == ACCOUNT else 401
        if request.path != f"/v2/edge/model/blobs/{DIGEST}":
            status = 404
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        body = self.content[start:]
        if status == 200 and start:
            status = 206 if body else 416
        request.send_response(status)
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        body = body if status in (200, 206) else b""
        request.send_header("Content-Length", str(len(body) if self.length is None else self.length))
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if body and self.cuts else body)


def serving(registry: Registry, certificates: Path) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.host = f"localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def trust(folder: Path, host: str, certificates: Path) -> None:
    """As `docker login` and the role `docker_engine` leave it: config.json and certs.d in the folder."""
    (folder / "certs.d" / host).mkdir(parents=True)
    (folder / "certs.d" / host / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    path = folder / "config.json"
    known = json.loads(path.read_text()) if path.exists() else {"auths": {}}
    known["auths"][host] = {"auth": ACCOUNT.split()[1]}
    path.write_text(json.dumps(known))
