# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard in a process of its own, over TLS, with playbooks of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx

CHECKOUT = Path(__file__).resolve().parents[3]
TOKEN = "0123456789abcdef" * 4
PASSWORDS = {"olga": "the-password-of-olga", "viktor": "the-password-of-viktor"}
ROLES = {"olga": "operator", "viktor": "viewer"}
SECONDS = 120

STATUS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: cp "{{ playbook_dir }}/rows.json" "{{ playbook_dir }}/report/status.json"
"""
# Waits for the test's word in a FIFO: what the test does meanwhile it does while the job runs.
WAITS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "began with {{ edge_release_name | default(device | default('nothing')) }}"
    - ansible.builtin.command: cat "{{ playbook_dir }}/go"
"""
SAYS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "epochs {{ train_epochs | default('as ever') }}"}
    - ansible.builtin.fail: {msg: no such thing}
      when: (task | default('')) == 'broken'
"""
# As MAAS's: the next status finds the device as it was switched.
SWITCHES = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "{{ device }} {{ power }} {{ power_force }}"}
    - ansible.builtin.copy: {src: "{{ playbook_dir }}/rows_after.json", dest: "{{ playbook_dir }}/rows.json"}
"""
PLAYBOOKS = {
    **{"status": STATUS, "release": WAITS, "retire": WAITS, "power": SWITCHES},
    **dict.fromkeys(("train", "stop_training", "serve", "rollback", "converge_now", "doctor"), SAYS),
}


def row(device: str, **fields: Any) -> dict[str, Any]:
    """As edge.rack.status has it."""
    about = {"maas_status": "Deployed", "pinned": "2026.11", "running": "2026.11", "outcome": "ok", "fault": ""}
    return {"device": device, "address": "10.77.0.101", **about, **fields}


def until(true: Callable[[], Any], what: str = "it") -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what} did not come in {SECONDS} s"
        time.sleep(0.02)
    return found


def processes(words: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", words], capture_output=True, text=True, check=False)
    return [int(number) for number in found.stdout.split()]


class Dashboard:
    def __init__(self, folder: Path, certificates: Path, **environment: str) -> None:
        self.folder, self.project = folder, folder / "project"
        self.state, self.config = folder / "state", folder / "config"
        for one in (self.project / "report", self.config):
            one.mkdir(parents=True)
        for name, text in PLAYBOOKS.items():
            (self.project / f"{name}.yml").write_text(text)
        os.mkfifo(self.project / "go")
        (self.project / "ansible.cfg").write_text("[defaults]\ninventory = hosts\n")
        (self.project / "hosts").write_text(
            f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\nnuc-001\n"
        )
        self.rows([row("nuc-001"), row("nuc-002", outcome="failed", fault="no disk space")])
        for name in ("tls.crt", "tls.key"):
            (self.config / name).write_bytes((certificates / name).read_bytes())
        (self.config / "token").write_text(f"{TOKEN}\n")
        self.users(PASSWORDS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.trust = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "PYTHONPATH": str(CHECKOUT / "training"),
            "EDGE_DASHBOARD_PROJECT": str(self.project),
            "EDGE_DASHBOARD_INVENTORY": str(self.project / "hosts"),
            "EDGE_DASHBOARD_REPORT": str(self.project / "report/status.json"),
            "EDGE_DASHBOARD_PLAYBOOKS": "{}.yml",
            "EDGE_DASHBOARD_CONFIG": str(self.config),
            "EDGE_DASHBOARD_STATE": str(self.state),
            "EDGE_DASHBOARD_ADDRESS": "127.0.0.1",
            "EDGE_DASHBOARD_PORT": str(self.port),
            "EDGE_DASHBOARD_STATUS_SECONDS": "3600",
            **environment,
        }
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def rows(self, rows: list[dict[str, Any]], name: str = "rows.json") -> None:
        """What the next status will find; in rows_after.json, after power was switched."""
        (self.project / name).write_text(json.dumps(rows))

    def release(self, report: dict[str, Any]) -> None:
        """What edge.rack.release tells, as it writes it: another file takes the name."""
        new = self.project / "report/release.new"
        new.write_text(json.dumps(report))
        new.rename(self.project / "report/release.json")

    def users(self, passwords: dict[str, str]) -> None:
        # The least that bcrypt takes: tests sign in often.
        accounts = [
            {
                "name": name,
                "role": ROLES[name],
                "password_hash": bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode(),
            }
            for name, word in passwords.items()
        ]
        (self.config / "users.yml").write_text(json.dumps(accounts))

    def begin(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "edge_training.dashboard"]
            self._process = subprocess.Popen(argv, env=self.environment, stdout=log, stderr=log)

        def ready() -> bool:
            assert self._process and self._process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/healthz", verify=self.trust).status_code == 200
            return False

        until(ready, "the dashboard")

    def end(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(SECONDS)
            self._process = None

    def end_all(self) -> None:
        """As `end`, and all that jobs have begun, which outlives it: one may wait for a word that never comes."""
        try:
            self.end()
        finally:
            self.kill(str(self.folder))

    @staticmethod
    def kill(words: str) -> None:
        """All whose command lines hold these words, and what they begin meanwhile."""

        def gone() -> bool:
            found = processes(words)
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return not found

        until(gone, "the end of all of it")

    def go(self) -> None:
        """The job that waits goes on; returns when it does."""

        def opened() -> int:
            with contextlib.suppress(OSError):  # nobody reads yet
                return os.open(self.project / "go", os.O_WRONLY | os.O_NONBLOCK)
            return 0

        with os.fdopen(until(opened, "the job that waits"), "w") as go:
            go.write("on\n")

    def signed_in(self, name: str = "olga") -> Client:
        client = Client(self)
        client.sign_in(name)
        return client

    def report(self, *events: dict[str, Any], status: int = 200, token: str = TOKEN) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self.url}/api/events", json={"events": events}, headers=headers, verify=self.trust)
        assert answer.status_code == status, answer.text
        return answer

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]


class Client:
    """Somebody who asks, with a cookie once he has signed in."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.http = httpx.Client(base_url=dashboard.url, verify=dashboard.trust, timeout=SECONDS)
        self.csrf = ""

    def sign_in(self, name: str, password: str | None = None, status: int = 200) -> Any:
        given = {"name": name, "password": PASSWORDS[name] if password is None else password}
        answer = self.asked("POST", "/api/session", status, given)
        self.csrf = answer.get("csrf", "")
        return answer

    def asked(self, method: str, path: str, status: int = 200, body: Any = None, **headers: str) -> Any:
        """The answer, which must have this status."""
        given = {"X-CSRF-Token": self.csrf, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.http.request(method, path, json=body, headers=given)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail"} <= set(answer.json())
        return answer.json() if answer.content else None

    def job(self, status: int = 201, **wanted: Any) -> Any:
        return self.asked("POST", "/api/jobs", status, wanted)

    def ended(self, number: int) -> Any:
        """The job, when it has ended."""
        return until(lambda: (job := self.asked("GET", f"/api/jobs/{number}"))["state"] != "running" and job, "its end")

    def said(self, number: int) -> str:
        return str(self.asked("GET", f"/api/jobs/{number}/output")["text"])

    @contextlib.contextmanager
    def listening(self, after: int | None = None, last: int | None = None) -> Iterator[Iterator[Heard]]:
        """What is told from now on, or after an event; it is being listened to when this is entered."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        query = {} if after is None else {"after": str(after)}
        with self.http.stream("GET", "/api/events", params=query, headers=headers) as stream:
            assert stream.status_code == 200, stream.read()
            lines = stream.iter_lines()
            assert next(lines) == ": here"
            yield _heard(lines)


class Heard:
    def __init__(self, number: int, kind: str, data: dict[str, Any]) -> None:
        self.number, self.kind, self.data = number, kind, data


def _heard(lines: Iterator[str]) -> Iterator[Heard]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _colon, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Heard(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
