# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker Engine small enough to read, for playbooks that look for a training on a device."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Engine(ThreadingHTTPServer):
    """As much of a Docker Engine as playbooks ask: which containers there are, and that they go."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.containers: set[str] = set()
        self.removed: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 2)[-2]
        if self.path.endswith("/version"):
            self._say(200, {"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "24.0.5"})
        elif self.path.endswith("/containers/json?limit=-1&all=1&size=0&trunc_cmd=0"):
            self._say(200, [{"Id": name, "Names": [f"/{name}"]} for name in self.server.containers])
        elif name in self.server.containers:
            state = {"Running": True, "Status": "running", "Dead": False, "Removing": False, "Error": ""}
            self._say(
                200, {"Id": name, "Name": f"/{name}", "State": state, "Image": "", "Config": {}, "HostConfig": {}}
            )
        else:
            self._say(404, {"message": f"No such container: {name}"})

    def do_POST(self) -> None:
        self._say(204)

    def do_DELETE(self) -> None:
        name = self.path.rsplit("/", 1)[-1].partition("?")[0]
        self.server.containers.discard(name)
        self.server.removed.append(name)
        self._say(204)

    def _say(self, status: int, body: Any = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
