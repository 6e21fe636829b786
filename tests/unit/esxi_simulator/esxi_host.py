"""An ESXi host for the tests: the real program in a folder of its own."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSWORD = "VMware1!"
USER = "root"
# no proxy of the environment stands between the tests and the host
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class EsxiHost:
    """A host that can be started, stopped and killed; its state outlives all three."""

    binary: Path
    folder: Path
    edition: str = "paid"
    task_milliseconds: int = 20
    settings: dict[str, Any] = field(default_factory=dict)  # more of the configuration file
    ready: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def https_port(self) -> int:
        return int(self.ready["https_port"])

    @property
    def ssh_port(self) -> int:
        return int(self.ready["ssh_port"])

    @property
    def certificate(self) -> Path:
        """The host's certificate in a file."""
        path = self.folder / "esxi.pem"
        path.write_text(self.ready["certificate_pem"])
        return path

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file that trusts this host's key on its port."""
        path = self.folder / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.ssh_port} {self.ready['ssh_host_key']}\n")
        return path

    @property
    def log(self) -> str:
        return (self.folder / "esxi.log").read_text(errors="replace")

    def start(self) -> EsxiHost:
        """Start on the ports of the last run, on free ones at first."""
        self.state.mkdir(parents=True, exist_ok=True)
        accounts = self.folder / "accounts.json"
        accounts.write_text(json.dumps({USER: PASSWORD}))
        config = {
            "state": str(self.state),
            "https": f"127.0.0.1:{self.ready.get('https_port', 0)}",
            "ssh": f"127.0.0.1:{self.ready.get('ssh_port', 0)}",
            "control": f"127.0.0.1:{self.ready.get('control_port', 0)}",
            "hostname": "esxi.edge.lab",
            "address": "10.77.0.4",
            "edition": self.edition,
            "version": "7.0.3",
            "accounts_file": str(accounts),
            "datastores": [
                {"name": "datastore1", "capacity_gib": 3600},
                {"name": "backup", "capacity_gib": 1800},
            ],
            "task_milliseconds": self.task_milliseconds,
        }
        (self.folder / "config.json").write_text(json.dumps(config | self.settings))
        ready = self.state / "ready.json"
        ready.unlink(missing_ok=True)
        with (self.folder / "esxi.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "--config", self.folder / "config.json"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.01)
        self.ready = json.loads(ready.read_text())
        return self

    def stop(self) -> None:
        """End cleanly."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        """Pull the plug."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        """Stop, and start again on the same ports."""
        self.stop()
        self.start()

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call of the tests' back door."""
        url = f"http://127.0.0.1:{self.ready['control_port']}{path}"
        data = None if body is None else json.dumps(body).encode()
        with OPENER.open(urllib.request.Request(url, data=data), timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def counts(self) -> dict[str, list[str]]:
        """Method names of the API and command lines of SSH, in order."""
        return dict(self.control("/counts"))

    def reset_counts(self) -> None:
        self.control("/counts/reset", {})

    def fault(self, **order: Any) -> None:
        """Order a fault: method=, fault= (or command=, output=, code=), when="start"|"middle", times=1, message=."""
        self.control("/faults", order)

    def expire_sessions(self) -> None:
        self.control("/sessions/expire", {})

    def capacity(self, datastore: str, gib: float) -> None:
        self.control(f"/datastores/{datastore}/capacity", {"gib": gib})

    def datastore(self, name: str = "datastore1") -> Path:
        """A datastore's files."""
        return self.state / "vmfs" / "volumes" / name

    def file(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        datastore: str = "datastore1",
        password: str = PASSWORD,
    ) -> tuple[int, bytes]:
        """One request to /folder; status and content."""
        url = f"https://127.0.0.1:{self.https_port}/folder/{path}?dcPath=ha-datacenter&dsName={datastore}"
        return self.https(method, url, body, password)

    def https(self, method: str, url: str, body: bytes | None = None, password: str = PASSWORD) -> tuple[int, bytes]:
        """One request with basic authentication; status and content."""
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        context = ssl.create_default_context(cafile=str(self.certificate))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
