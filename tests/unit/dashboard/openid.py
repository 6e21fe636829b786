# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenID provider in a process of its own, and somebody who signs in by it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests import registries
from tests.unit.dashboard.served import CHECKOUT, SECONDS, Client, Dashboard, until

HOST = "localhost"
"""To a browser it is another site than the dashboard's 127.0.0.1."""
CLIENT, SECRET = "edge-dashboard", "the-secret-of-the-dashboard"
ANNA, VITO, NORA, OLGA, NOBODY, EMMA, ERIC = "1001", "1002", "1003", "1004", "1005", "1006", "1007"
PEOPLE: dict[str, dict[str, Any]] = {
    ANNA: {"preferred_username": "anna", "groups": ["staff", "rack-operators", "rack-viewers"]},
    VITO: {"preferred_username": "vito", "groups": ["rack-viewers"]},
    NORA: {"preferred_username": "<b>nora</b>", "groups": ["staff"]},
    # The users file has an olga, too.
    OLGA: {"preferred_username": "olga", "groups": "rack-viewers"},
    NOBODY: {"preferred_username": "olga\n", "groups": ["rack-operators"]},
    EMMA: {"groups": ["rack-viewers"], "email": "emma@example.com", "email_verified": True},
    ERIC: {"groups": ["rack-viewers"], "email": "emma@example.com", "email_verified": False},
}
COOKIE = "__Host-edge-sign-in"


class OpenId:
    """The provider of one dashboard."""

    def __init__(self, folder: Path, dashboard: Dashboard) -> None:
        self.folder, self.dashboard = folder, dashboard
        registries.authority(folder, HOST)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.issuer = f"https://{HOST}:{self.port}"
        self.trust = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self._process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, **changed: Any) -> None:
        """What the dashboard is told as it begins."""
        config = {
            "name": "Test ID",
            "issuer": self.issuer,
            "client_id": CLIENT,
            "ca_file": str(self.folder / "ca.crt"),
            "address": self.dashboard.url,
            "operator_groups": ["rack-operators"],
            "viewer_groups": ["rack-viewers"],
        }
        (self.dashboard.config / "oidc.yml").write_text(json.dumps({**config, **changed}))
        (self.dashboard.config / "oidc_client_secret").write_text(f"{SECRET}\n")

    def begin(self) -> None:
        argv = [sys.executable, "-m", "tests.unit.dashboard.openid_program", str(self.port), str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, f"{self.dashboard.url}/api/oidc/callback"], cwd=CHECKOUT, stdout=log, stderr=log
            )

        def ready() -> bool:
            assert self._process and self._process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(self.issuer, verify=self.trust).status_code == 200
            return False

        until(ready, "the provider")

    def end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(SECONDS)
            self._process = None

    @contextlib.contextmanager
    def spoilt(self, **wrong: Any) -> Any:
        """What the provider does wrong meanwhile."""
        file = self.folder / "spoil.json"
        file.write_text(json.dumps(wrong))
        try:
            yield
        finally:
            file.unlink()


class Person(Client):
    """Somebody with a browser, which has the dashboard's cookies."""

    def __init__(self, openid: OpenId) -> None:
        super().__init__(openid.dashboard)
        self.openid = openid

    def begun(self) -> str:
        """Where the button leads."""
        return str(self.asked("POST", "/api/oidc")["url"])

    def there(self, url: str, subject: str) -> str:
        """Signs in at the provider; where it sends the browser back to."""
        answer = httpx.post(url, data={"sub": subject}, verify=self.openid.trust)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def back(self, url: str, status: int = 303) -> httpx.Response:
        answer = self.http.get(url)
        assert answer.status_code == status, answer.text
        return answer

    def signs_in(self, subject: str) -> httpx.Response:
        answer = self.back(self.there(self.begun(), subject))
        self.csrf = self.asked("GET", "/api/session")["csrf"]
        return answer

    def is_refused(self, subject: str, status: int = 403) -> dict[str, str]:
        """The problem; nobody has signed in then."""
        problem: dict[str, str] = self.back(self.there(self.begun(), subject), status).json()
        self.asked("GET", "/api/session", 401)
        return problem
