# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MAAS modules against the simulated region itself, with devices that play their part and faults in between."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("maas.client.bones", reason="python-libmaas is not installed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "maas_simulator"))
from maas_bmc import Bmc
from maas_region import API_KEY, Region, serve, settings

from lab.maas_simulator.settings import Settings


def _find_the_collection() -> None:
    """Make ansible_collections.edge.rack importable for a plain pytest."""
    with contextlib.suppress(ImportError):
        import ansible_collections.edge.rack  # noqa: F401

        return
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    sys.modules.pop("ansible_collections", None)
    checkout = Path(__file__).resolve().parents[3]
    _AnsibleCollectionFinder(paths=[str(checkout / ".collections")])._install()


_find_the_collection()

from ansible_collections.edge.rack.plugins.module_utils import maas  # noqa: E402

RunModule = Callable[..., dict[str, Any]]
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Proxy:
    """What stands before the region: it counts, and answers in the region's place what a test tells it to."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path with the operation, of each request of the API."""
    faults: list[tuple[str, str, Answer]] = field(default_factory=list)
    """Method, part of the path, answer: each is given once."""
    reset: list[tuple[str, str]] = field(default_factory=list)
    """Method, part of the path: the connection breaks when the region has done it, each once."""

    def around(self, app: Any) -> Any:
        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            query = scope["query_string"].decode()
            op = query.partition("op=")[2].partition("&")[0]
            path = scope["path"].removeprefix("/MAAS/api/2.0/") + (f"?op={op}" if op else "")
            if "/api/2.0/" in scope["path"] and not path.startswith("describe"):
                self.asked.append((scope["method"], path))
            for fault in self.faults:
                if fault[0] == scope["method"] and fault[1] in path:
                    self.faults.remove(fault)
                    status, headers, body = fault[2]
                    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                    await send({"type": "http.response.start", "status": status, "headers": pairs})
                    await send({"type": "http.response.body", "body": body})
                    return
            for fault_method, part in self.reset:
                if fault_method == scope["method"] and part in path:
                    self.reset.remove((fault_method, part))
                    await app(scope, receive, _nowhere)
                    raise ConnectionResetError("the answer is lost on the way")
            await app(scope, receive, send)

        return proxied

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
        node = self.region.node(row["system_id"])
        if row["status"] == 1 and row["hostname"] in self.failing:
            output = self.failing[row["hostname"]]
            node.post("signal", status="WORKING", script_name="disk-health", exit_status="3", output=output)
            node.post("signal", status="FAILED")
        elif row["status"] == 1:
            node.report_hardware(row["interfaces"][0]["mac"])
        elif row["status"] == 9:
            node.post("netboot_off")
            node.get("user-data")
        else:
            node.post("signal", status="OK")


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    chosen = settings(tmp_path / "data")
    rack = Rack(replace(chosen, testing_seconds=0.05, range_start=IPv4Address("10.99.0.20")))
    yield rack
    rack.stop()


@pytest.fixture
def region(rack: Rack) -> Region:
    return rack.region


@pytest.fixture
def devices(rack: Rack) -> Iterator[Devices]:
    with Devices(rack.region) as devices:
        yield devices


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    server = Bmc()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run_module(rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's main() as Ansible does, with short pauses; the result is what it prints, secrets blanked."""
    from ansible.module_utils import _internal, basic
    from ansible.module_utils.common import warnings

    # Where another test has loaded the controller's side of Ansible, warnings would go to its display.
    monkeypatch.setattr(_internal, "is_controller", False)
    for name in ("MAAS_URL", "MAAS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFLICT_PAUSES", "LOST_CALL_PAUSES"):
        monkeypatch.setattr(maas, name, (0.05, 0.1, 0.1))

    def run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"maas_url": rack.region.url, "maas_api_key": API_KEY, **options}
        options.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp="/tmp")
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(sys, "argv", [module.__name__])
        monkeypatch.setattr(warnings, "_global_warnings", {})
        if hasattr(module, "Rounds"):
            monkeypatch.setattr(module, "Rounds", CountedRounds)
        with pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def rounds() -> type[CountedRounds]:
    return CountedRounds


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for a condition, with a deadline that a loaded machine can keep."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.02)
