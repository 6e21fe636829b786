"""A region for the tests: the real application under uvicorn, and a machine that plays its part."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from lab.maas_simulator.app import create_app
from lab.maas_simulator.settings import ApiKey, Settings

HTTP = httpx.Client(timeout=20, trust_env=False)
API_KEY = "consumer:token:secret"
REPORT = {
    "cpu_count": 8,
    "memory": 16384,
    "hardware_uuid": "d1b59f4f-f7ec-5a63-8f4a-921dc45b6380",
    "disks": [{"name": "sda", "size": 500_000_000_000, "model": "DISK", "serial": "s1"}],
    "system_vendor": "Vendor",
    "system_product": "Server",
    "system_serial": "SN1",
}


def oauth(consumer: str, token: str, secret: str) -> dict[str, str]:
    """The Authorization header of a key."""
    return {
        "Authorization": 'OAuth realm="", oauth_version="1.0", oauth_signature_method="PLAINTEXT",'
        f' oauth_consumer_key="{consumer}", oauth_token="{token}", oauth_signature="%26{secret}",'
        ' oauth_nonce="1", oauth_timestamp="1"'
    }


@dataclass
class Region:
    """A running region."""

    url: str
    data: Path

    def call(self, method: str, path: str, auth: str = API_KEY, **more: Any) -> httpx.Response:
        """One call of the API."""
        headers = oauth(*auth.split(":")) if auth else {}
        return HTTP.request(method, f"{self.url}/api/2.0/{path}", headers=headers, **more)

    def machine(self, system_id: str) -> dict[str, Any]:
        """A machine as the API shows it."""
        answer = self.call("GET", f"machines/{system_id}/")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, system_id: str, status: int, seconds: float = 8.0) -> dict[str, Any]:
        """Wait for a status."""
        deadline = time.monotonic() + seconds
        while True:
            machine = self.machine(system_id)
            if machine["status"] == status:
                return machine
            assert time.monotonic() < deadline, (machine["status_name"], machine["status_message"])
            time.sleep(0.05)

    def node(self, system_id: str) -> Node:
        """The machine itself, with its token read from the store rather than over a network boot."""
        with sqlite3.connect(self.data / "region.sqlite3") as db:
            row = db.execute("SELECT document FROM machine WHERE system_id = ?", (system_id,)).fetchone()
        token = json.loads(row[0])["token"]
        return Node(self, system_id, oauth(token["consumer"], token["key"], token["secret"]))

    def create(self, name: str, mac: str, **more: str) -> str:
        """A machine; its system id."""
        data = {"hostname": name, "architecture": "amd64/generic", "mac_addresses": mac, **more}
        answer = self.call("POST", "machines/", data={"power_type": "manual", **data})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["system_id"])

    def ready(self, name: str, mac: str, **more: str) -> str:
        """A machine that went through commissioning."""
        system_id = self.create(name, mac, **more)
        self.node(system_id).report_hardware(mac)
        self.wait(system_id, 4)
        return system_id

    def upload(self, name: str, content: bytes, sha256: str) -> str:
        """A complete image; its resource id."""
        data = {"name": name, "architecture": "amd64/generic", "sha256": sha256, "size": str(len(content))}
        created = self.call("POST", "boot-resources/", data=data).json()
        file = next(iter(next(iter(created["sets"].values()))["files"].values()))
        if not file["complete"]:
            path = file["upload_uri"].removeprefix("/MAAS/api/2.0/")
            assert self.call("PUT", path, content=content).text == "OK"
        return str(created["id"])


@dataclass
class Node:
    """What runs on a machine and talks to the metadata service."""

    region: Region
    system_id: str
    headers: dict[str, str]

    def post(self, op: str, **data: str) -> httpx.Response:
        """`POST metadata/2012-03-01/`."""
        url = f"{self.region.url}/metadata/2012-03-01/"
        return HTTP.post(url, headers=self.headers, data={"op": op, **data})

    def get(self, path: str) -> httpx.Response:
        """`GET metadata/2012-03-01/PATH`."""
        return HTTP.get(f"{self.region.url}/metadata/2012-03-01/{path}", headers=self.headers)

    def event(self, name: str, result: str, system_id: str = "", origin: str = "cloudinit") -> httpx.Response:
        """The finish of a step, as cloud-init's webhook reports it."""
        message = {"name": name, "event_type": "finish", "origin": origin, "description": name, "result": result}
        url = f"{self.region.url}/metadata/status/{system_id or self.system_id}"
        return HTTP.post(url, headers=self.headers, json=message)

    def report_hardware(self, mac: str, address: str = "", status: str = "OK") -> httpx.Response:
        """The end of commissioning."""
        nic = {"name": "eth0", "mac": mac} | ({"address": address} if address else {})
        return self.post("signal", status=status, hardware=json.dumps(REPORT | {"nics": [nic]}))


def settings(data: Path, version: str = "3.6.5") -> Settings:
    """Quick tests and power waits."""
    return Settings(
        data=data,
        api_key=ApiKey.parse(API_KEY),
        version=version,
        subnet=IPv4Network("10.99.0.0/24"),
        gateway=IPv4Address("10.99.0.1"),
        range_start=IPv4Address("10.99.0.150"),
        range_end=IPv4Address("10.99.0.200"),
        testing_seconds=0.3,
        power_waits=(0.05, 0.05, 0.1),
    )


@contextmanager
def serve(chosen: Settings, port: int = 0, around: Callable[[Any], Any] = lambda app: app) -> Iterator[Region]:
    """Run a region for as long as the block lasts; `around` puts something before it, as a proxy would stand."""
    app = around(create_app(chosen))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline and thread.is_alive(), "the region did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Region(f"http://127.0.0.1:{port}/MAAS", chosen.data)
    finally:
        server.should_exit = True
        thread.join(10)


def with_timeout(chosen: Settings, seconds: float) -> Settings:
    """The same with another node timeout."""
    return replace(chosen, node_timeout_seconds=seconds)
