# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack for the tests: the simulated region behind a proxy that does harm, and devices that play their part."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from ansible_collections.edge.rack.plugins.module_utils import maas
from maas_region import HTTP, Region, serve

from lab.maas_simulator.settings import Settings
from lab.maas_simulator.statuses import Status


@dataclass
class Fault:
    """What happens to some requests on the way: an answer that is not the region's, or a connection that breaks."""

    method: str
    part: str
    """Part of the path with its operation."""
    status: int = 0
    """0: the region does it, and the connection breaks before its answer is there."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    """So many such requests go through before."""
    times: int = 1


@dataclass
class Proxy:
    """What stands before the region: it counts requests, and does to them what a test tells it to."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path with the operation, of each request of the API."""
    faults: list[Fault] = field(default_factory=list)
    _before: list[tuple[str, str, Callable[[], Any]]] = field(default_factory=list)

    def before(self, method: str, part: str, happens: Callable[[], Any]) -> None:
        """Do something just before the region gets the next such request."""
        self._before.append((method, part, happens))

    def around(self, app: Any) -> Any:
        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            op = scope["query_string"].decode().partition("op=")[2].partition("&")[0]
            path = scope["path"].removeprefix("/MAAS/api/2.0/") + (f"?op={op}" if op else "")
            if scope["path"].startswith("/MAAS/api/2.0/") and path != "describe/":
                self.asked.append((scope["method"], path))
            for entry in self._before:
                if entry[0] == scope["method"] and entry[1] in path:
                    self._before.remove(entry)
                    # What happens asks the region too, so it must not stand in its way.
                    await asyncio.to_thread(entry[2])
                    break
            fault = self._fault(scope["method"], path)
            if fault is None:
                await app(scope, receive, send)
            elif fault.status:
                headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
                await send({"type": "http.response.start", "status": fault.status, "headers": headers})
                await send({"type": "http.response.body", "body": fault.body})
            else:
                await app(scope, receive, _nowhere)
                raise ConnectionResetError("the answer is lost on the way")

        return proxied

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method != method or fault.part not in path or fault.times == 0:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.times -= 1
            return fault
        return None

    def count(self, method: str, path: str) -> int:
        """How often exactly this was asked."""
        return self.asked.count((method, path))


async def _nowhere(_: Any) -> None:
    """An answer that nobody gets."""


class Rack:
    """A region that can be stopped and started again on its port and its data, and its machines."""

    def __init__(self, chosen: Settings) -> None:
        self.settings = chosen
        self.proxy = Proxy()
        self._stack = contextlib.ExitStack()
        self.region = self._stack.enter_context(serve(chosen, around=self.proxy.around))
        self.port = int(httpx.URL(self.region.url).port or 0)

    def stop(self) -> None:
        """Kill the region; nothing answers at its address."""
        self._stack.close()

    def start(self) -> None:
        """Start it again."""
        self._stack.enter_context(serve(self.settings, port=self.port, around=self.proxy.around))

    def add(self, *names: str, **more: str) -> list[str]:
        """New machines that MAAS knows and cannot switch; their system ids."""
        ids = []
        for name in names:
            number = len(self.region.call("GET", "machines/").json()) + 1
            mac = f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"
            ids.append(self.region.create(name, mac, commission="false", **more))
        self.proxy.asked.clear()
        return ids

    def id(self, hostname: str) -> str:
        """The system id of a machine."""
        return str(self._document("hostname", hostname)["system_id"])

    def status(self, system_id: str) -> str:
        """The status of a machine, also while no region answers."""
        return Status(self._document("system_id", system_id)["status"]).label

    def _document(self, column: str, value: str) -> dict[str, Any]:
        with contextlib.closing(sqlite3.connect(self.settings.data / "region.sqlite3")) as db:
            sql = f"SELECT document FROM machine WHERE {column} = ?"
            return dict(json.loads(db.execute(sql, (value,)).fetchone()[0]))

    def begin_deployment(self, system_id: str, image: str) -> None:
        """As somebody else would."""
        answer = self.region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": image})
        assert answer.status_code == 200, answer.text

    def settle(self) -> None:
        """Wait for what the region is about to switch: a device may report before its power cycle is over."""

        def idle() -> bool:
            with contextlib.closing(sqlite3.connect(self.settings.data / "region.sqlite3")) as db:
                return db.execute("SELECT count(*) FROM task").fetchone() == (0,)

        until(idle)

    def events(self, system_id: str) -> list[str]:
        """What happened to a machine, the oldest first."""
        answer = self.region.call("GET", f"events/?op=query&id={system_id}&level=DEBUG&limit=1000").json()
        return [event["type"] for event in reversed(answer["events"])]


class CountedRounds(maas.Rounds):
    """Rounds with short pauses, which are counted."""

    count = 0

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, first=0.05, longest=0.2)
        CountedRounds.count = 0

    def __iter__(self) -> Iterator[float]:
        for left in super().__iter__():
            CountedRounds.count += 1
            yield left


class Devices:
    """What runs on the machines: each does what MAAS waits for, as soon as it is seen to wait."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.dead: set[str] = set()
        """The host names of machines that never report."""
        self.failing: dict[str, str] = {}
        """By host name the output of a commissioning script that fails there."""
        self.slow: dict[str, str] = {}
        """By host name a commissioning script that takes too long there; it has no exit status then."""
        self.keys: dict[str, list[str]] = {}
        """By host name the SSH host keys that an installed machine reports."""
        self.most_at_once = 0
        """The most machines that were seen being commissioned or deployed at the same time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Devices:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            # From the store, so that the proxy counts what the module asks and nothing else.
            with contextlib.closing(sqlite3.connect(self.region.data / "region.sqlite3")) as db:
                rows = [json.loads(document) for (document,) in db.execute("SELECT document FROM machine")]
            self.most_at_once = max(self.most_at_once, sum(row["status"] in (1, 9, 21) for row in rows))
            for row in rows:
                if row["hostname"] not in self.dead:
                    # A region that is not there is asked again.
                    with contextlib.suppress(httpx.HTTPError):
                        self._report(row)

    def _report(self, row: dict[str, Any]) -> None:
        if row["status"] not in (1, 9, 14, 17):
            return
        if row["power_type"] == "webhook" and row["power_state"] != "on":
            return  # what has no power says nothing
        node = self.region.node(row["system_id"])
        if row["status"] == 1 and row["hostname"] in self.failing:
            output = self.failing[row["hostname"]]
            node.post("signal", status="WORKING", script_name="disk-health", exit_status="3", output=output)
            node.post("signal", status="FAILED")
        elif row["status"] == 1 and row["hostname"] in self.slow:
            node.post("signal", status="TIMEDOUT", script_name=self.slow[row["hostname"]])
            node.post("signal", status="FAILED")
        elif row["status"] == 1:
            node.report_hardware(row["interfaces"][0]["mac"])
        elif row["status"] == 9:
            node.post("netboot_off")
            node.get("user-data")
            self.report_keys_of(row["hostname"], row["system_id"])
        else:
            node.post("signal", status="OK")

    def report_keys_of(self, hostname: str, system_id: str) -> None:
        """Tell MAAS this machine's host keys, as cloud-init's reporting does."""
        node = self.region.node(system_id)
        for key in self.keys.get(hostname, []):
            message = {"event_type": "start", "origin": "cloudinit", "name": "edge-ssh-host-key"}
            HTTP.post(
                f"{self.region.url}/metadata/status/{system_id}",
                headers=node.headers,
                json={**message, "description": f"edge-ssh-host-key {key}"},
            ).raise_for_status()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for a condition, with a deadline that a loaded machine can keep."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.02)
