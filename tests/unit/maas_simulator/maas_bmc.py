"""A baseboard controller small enough to read, for MAAS's webhook driver."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Bmc(ThreadingHTTPServer):
    """One machine's power: POST /on, POST /off, GET /state."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.on = False
        self.broken = False
        self.refuses_to_switch = False
        self.says_nothing = False
        """It answers, and neither that it runs nor that it does not."""
        self.goes_off_after: int | None = None
        """The machine shuts down by itself when it was asked for so many times."""
        self.password = ""
        """If there is one, who does not give it (as Basic `maas:PASSWORD`) is turned away."""
        self.calls: list[tuple[str, str, str, str]] = []

    def parameters(self, **more: str) -> dict[str, str]:
        """What MAAS has to know of it."""
        base = f"http://127.0.0.1:{self.server_port}"
        given = {"power_on_uri": "/on", "power_off_uri": "/off", "power_query_uri": "/state"}
        given = {name: base + path for name, path in given.items()} | more
        return {"power_type": "webhook"} | {f"power_parameters_{k}": v for k, v in given.items()}


class _Handler(BaseHTTPRequestHandler):
    server: Bmc

    def _answer(self) -> None:
        bmc = self.server
        headers = self.headers
        authorization = headers.get("Authorization", "")
        bmc.calls.append((self.command, self.path, authorization, headers.get("System_Id", "")))
        wanted = "Basic " + base64.b64encode(f"maas:{bmc.password}".encode()).decode()
        refused = bool(bmc.password) and authorization != wanted
        refused = refused or (bmc.refuses_to_switch and self.command == "POST")
        if self.path in ("/on", "/off") and not bmc.broken and not refused:
            bmc.on = self.path == "/on"
        if self.command == "GET" and bmc.goes_off_after is not None:
            bmc.goes_off_after -= 1
            if bmc.goes_off_after < 0:
                bmc.on, bmc.goes_off_after = False, None
        status = "busy" if bmc.says_nothing else "running" if bmc.on else "stopped"
        body = json.dumps({"status": status}).encode()
        self.send_response(500 if bmc.broken else 401 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - the names http.server wants

    def log_message(self, *_: object) -> None:
        """Quiet."""
