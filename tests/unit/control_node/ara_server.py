# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ARA's own server with the rack's rights in front of it, in this process."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests import registries
from tests.unit.servers import running

FILES = Path(__file__).resolve().parents[3] / "roles/control_node/files"
SETTINGS = """\
default:
  BASE_DIR: {folder}
  SECRET_KEY: of-a-test
  ALLOWED_HOSTS: [testserver]
  DATABASE_NAME: {folder}/ara.sqlite
  DATABASE_OPTIONS: {{timeout: 30, transaction_mode: IMMEDIATE, init_command: PRAGMA journal_mode=WAL}}
  TIME_ZONE: UTC
"""
PLAYBOOK = {
    "ansible_version": "2.19.14",
    "status": "running",
    "path": "/var/lib/edge/site/converge.yml",
    "labels": ["pull", "release:2026.11"],
    "started": "2026-11-29T01:00:00Z",
}


class Ara:
    """ARA as nginx sees it, in this process: Django has one database a process, so tests share it."""

    def __init__(self) -> None:
        from django.test import Client

        self.client = Client()

    def ask(
        self, user: str, rights: str, method: str, path: str, content: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        answer = self.client.generic(
            method,
            path,
            content if isinstance(content, str | bytes) else json.dumps(content),
            content_type=kind,
            headers={"X-Edge-User": user, "X-Edge-Rights": rights},
        )
        return answer.status_code, answer.json() if "json" in answer.get("Content-Type", "") else answer.content

    def device(self, user: str, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        return self.ask(user, "device", method, path, content)

    def report(self, device: str, label: str = "") -> dict[str, int]:
        """A whole report as a device sends it; the numbers of its parts."""
        ids: dict[str, int] = {}

        def add(kind: str, **content: Any) -> None:
            status, answer = self.device(device, "POST", f"/api/v1/{kind}", content)
            assert status == 201, answer
            ids[kind] = answer["id"]

        labels = [*PLAYBOOK["labels"], *([label] if label else [])]
        add("playbooks", **{**PLAYBOOK, "name": f"{device} 2026.11", "controller": device, "labels": labels})
        playbook = ids["playbooks"]
        uuid = "34cff6f4-9f8e-6137-3461-000000000005"
        add("plays", playbook=playbook, name="Converge", uuid=uuid, status="completed")
        add("files", playbook=playbook, path=PLAYBOOK["path"], content="- hosts: all\n")
        add("hosts", playbook=playbook, name=device, changed=1)
        task = {"name": "File is there", "action": "copy", "lineno": 1, "handler": False, "status": "completed"}
        add("tasks", playbook=playbook, play=ids["plays"], file=ids["files"], **task)
        result = {"status": "ok", "changed": True, "content": {"dest": "/etc/x"}}
        add("results", playbook=playbook, play=ids["plays"], task=ids["tasks"], host=ids["hosts"], **result)
        ended = {"status": "completed", "ended": "2026-11-29T01:00:10Z", "labels": [*labels, "outcome:changed"]}
        status, answer = self.device(device, "PATCH", f"/api/v1/playbooks/{playbook}", ended)
        assert status == 200, answer
        return ids


@contextlib.contextmanager
def served(ara: Ara, folder: Path, accounts: dict[str, tuple[str, str]], port: int = 0) -> Iterator[str]:
    """ARA's address, where it answers by TLS and knows accounts by their password and rights, as behind nginx."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Basic ")
            user, _colon, password = base64.b64decode(token).decode().partition(":")
            right = accounts.get(user, ("", ""))
            status, found = 401, {"detail": "no account"}
            if right[0] == password:
                status, found = ara.ask(user, right[1], self.command, self.path, content)
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            pass

    registries.authority(folder, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield f"https://localhost:{server.server_address[1]}"
