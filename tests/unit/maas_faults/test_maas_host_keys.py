# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH host keys that deployed machines report, and those that must never be believed."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import threading
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.maas_machines import host_keys
from ansible_collections.edge.rack.plugins.modules import maas_machine, maas_machine_info
from maas_region import HTTP

IMAGE = b"an image" * 10


def key(kind: str, filling: int) -> str:
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([filling]) * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


def report(region: Any, system_id: str, text: str, origin: str = "cloudinit") -> None:
    """As the device does it: the start of a step, over the reporting webhook, with the machine's own token."""
    description = f"edge-ssh-host-key {text}".rstrip()
    message = {"event_type": "start", "origin": origin, "name": "edge-ssh-host-key", "description": description}
    node = region.node(system_id)
    answer = HTTP.post(f"{region.url}/metadata/status/{system_id}", headers=node.headers, json=message)
    assert answer.status_code == 204


@pytest.fixture
def deployed(rack: Any, devices: Any, run_module: Any) -> list[str]:
    """Two deployed machines, nuc-1 and nuc-2, and a new one."""
    rack.region.upload("custom/edge-1", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    ids = rack.add("nuc-1", "nuc-2", "nuc-3")
    machines = [{"hostname": "nuc-1"}, {"hostname": "nuc-2"}]
    done = run_module(maas_machine, state="deployed", image="edge-1", machines=machines)
    assert not done.get("failed"), done
    return ids[:2]


def keys(run_module: Any) -> tuple[dict[str, Any], list[str]]:
    result = run_module(maas_machine_info, ssh_host_keys=True)
    assert not result.get("failed"), result
    found = {m["hostname"]: m.get("ssh_host_keys") for m in result["machines"]}
    return found, [w if isinstance(w, str) else str(w) for w in result.get("warnings", [])]


def test_keys_are_those_that_each_machine_reported(rack: Any, deployed: list[str], run_module: Any) -> None:
    assert keys(run_module) == ({"nuc-1": [], "nuc-2": [], "nuc-3": None}, [])
    rsa, ed25519 = key("ssh-rsa", 1), key("ssh-ed25519", 2)
    report(rack.region, deployed[0], rsa + " root@nuc-1")
    report(rack.region, deployed[0], ed25519)
    report(rack.region, deployed[0], ed25519)  # after a restart
    report(rack.region, deployed[1], key("ssh-ed25519", 3))
    rack.proxy.asked.clear()
    assert keys(run_module)[0] == {"nuc-1": [rsa, ed25519], "nuc-2": [key("ssh-ed25519", 3)], "nuc-3": None}
    assert rack.proxy.asked == [("GET", "machines/"), ("GET", "events/?op=query")]
    assert "ssh_host_keys" not in run_module(maas_machine_info)["machines"][0]


def test_who_has_not_reported_yet_is_waited_for(rack: Any, deployed: list[str], run_module: Any) -> None:
    report(rack.region, deployed[0], key("ssh-ed25519", 1))
    late = threading.Timer(0.4, report, (rack.region, deployed[1], key("ssh-ed25519", 2)))
    late.start()
    result = run_module(maas_machine_info, ssh_host_keys=True, ssh_host_keys_wait_seconds=60, status=["deployed"])
    late.join()
    assert [m["ssh_host_keys"] for m in result["machines"]] == [[key("ssh-ed25519", 1)], [key("ssh-ed25519", 2)]]


def test_who_never_reports_is_not_waited_for_for_ever(rack: Any, deployed: list[str], run_module: Any) -> None:
    report(rack.region, deployed[0], key("ssh-ed25519", 1))
    result = run_module(maas_machine_info, ssh_host_keys=True, ssh_host_keys_wait_seconds=1, status=["deployed"])
    assert not result.get("failed")
    assert [m["ssh_host_keys"] for m in result["machines"]] == [[key("ssh-ed25519", 1)], []]


def test_an_earlier_installations_key_is_never_returned(
    rack: Any, deployed: list[str], devices: Any, run_module: Any
) -> None:
    report(rack.region, deployed[0], key("ssh-ed25519", 1))
    run_module(maas_machine, state="released", hostname="nuc-1")
    assert keys(run_module)[0]["nuc-1"] is None
    run_module(maas_machine, state="deployed", image="edge-1", hostname="nuc-1")
    assert keys(run_module)[0]["nuc-1"] == []
    report(rack.region, deployed[0], key("ssh-ed25519", 2))
    assert keys(run_module)[0]["nuc-1"] == [key("ssh-ed25519", 2)]


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 not/base64!",
        key("ssh-ed25519", 1).replace("ssh-ed25519", "ssh-dss", 1),
        "ssh-rsa " + key("ssh-ed25519", 1).split()[1],
        "@cert-authority * " + key("ssh-ed25519", 1),
        key("ssh-ed25519", 1).replace(" ", "\n"),
    ],
)
def test_a_malformed_key_is_left_out_with_a_warning_that_names_the_machine(
    rack: Any, deployed: list[str], run_module: Any, rubbish: str
) -> None:
    report(rack.region, deployed[1], rubbish)
    report(rack.region, deployed[1], key("ssh-ed25519", 7))
    found, warnings = keys(run_module)
    assert found["nuc-2"] == [key("ssh-ed25519", 7)]
    assert [w for w in warnings if "nuc-2: what it reported as a host key is none" in w], warnings


def test_what_others_say_is_no_report(rack: Any, deployed: list[str], run_module: Any) -> None:
    report(rack.region, deployed[0], key("ssh-ed25519", 1), origin="curtin")
    # A comment that somebody gives with an operation stands in an event too.
    quoted = f"'cloudinit' edge-ssh-host-key {key('ssh-ed25519', 1)}"
    rack.region.call("POST", f"machines/{deployed[0]}/?op=lock", data={"comment": quoted})
    assert keys(run_module)[0]["nuc-1"] == []


def test_long_logs_are_read_page_by_page_back_to_the_deployment(
    rack: Any, deployed: list[str], run_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_keys, "PAGE", 4)
    report(rack.region, deployed[0], key("ssh-ed25519", 1))
    for _ in range(9):
        report(rack.region, deployed[1], key("ssh-ed25519", 2))
    assert keys(run_module)[0] == {
        "nuc-1": [key("ssh-ed25519", 1)],
        "nuc-2": [key("ssh-ed25519", 2)],
        "nuc-3": None,
    }


def test_without_the_start_of_the_deployment_no_key_is_believed(
    rack: Any, deployed: list[str], run_module: Any
) -> None:
    report(rack.region, deployed[0], key("ssh-ed25519", 1))
    with sqlite3.connect(rack.settings.data / "region.sqlite3") as db:
        db.execute("DELETE FROM event WHERE type IN ('Deploying', 'User starting deployment')")
    found, warnings = keys(run_module)
    assert found["nuc-1"] == []
    result = run_module(maas_machine_info, ssh_host_keys=True, status=["deployed"])
    assert [machine["ssh_host_keys_known"] for machine in result["machines"]] == [False, False]
    assert [w for w in warnings if "nuc-1: MAAS no longer knows when its deployment began" in w], warnings


class Log:
    """A region's events, of which some come with each request; which machines were asked for is written down."""

    def __init__(self, *later: tuple[str, str]) -> None:
        started = [{"id": n, "node": node, "type": "Deploying", "description": ""} for n, node in enumerate("abc", 1)]
        self.events: list[dict[str, Any]] = started[::-1]
        self.later = list(later)
        self.asked: list[list[str]] = []

    def call(self, operation: str, id: list[str], before: int = 1000, **_: Any) -> dict[str, Any]:
        assert operation == "Events.query"
        self.asked.append(id)
        events = [event for event in self.events if event["node"] in id and event["id"] < before]
        if self.later:
            node, text = self.later.pop(0)
            description = f"'cloudinit' edge-ssh-host-key {text}"
            number = len(self.events) + 1
            self.events.insert(0, {"id": number, "node": node, "type": "Node status event", "description": description})
        return {"events": events[: host_keys.PAGE]}


ROWS: list[dict[str, Any]] = [{"system_id": name, "hostname": name, "status": 6} for name in "abc"]


def test_who_is_known_is_asked_no_more(rounds: Any) -> None:
    first, second = key("ssh-ed25519", 1), key("ssh-rsa", 1)
    log = Log(("a", first), ("a", second), ("b", first), ("d", ""), ("d", ""), ("c", first))
    found = host_keys.await_host_keys(log, ROWS, rounds(60))
    assert {name: reported.keys for name, reported in found.items()} == {
        "a": [first, second],
        "b": [first],
        "c": [first],
    }
    assert log.asked[:3] == [["a", "b", "c"]] * 3
    assert log.asked[-2:] == [["c"], ["c"]]


def test_no_page_is_read_after_the_deadline(rounds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(("a", key("ssh-ed25519", 1)))
    monkeypatch.setattr(host_keys, "LAST_LOOK_SECONDS", -9)
    found = host_keys.await_host_keys(log, ROWS, rounds(0.2))
    assert len(log.asked) == 1 < rounds.count
    assert [reported.keys for reported in found.values()] == [[], [], []]


def test_an_endless_log_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_keys, "PAGE", 1)
    monkeypatch.setattr(host_keys, "PAGES", 2)
    log = Log()
    log.events = [{"id": n, "node": "a", "type": "PXE Request", "description": ""} for n in range(900, 0, -1)]
    found = host_keys.read_host_keys(log, ROWS[:1])
    assert len(log.asked) == 3
    assert not found["a"].known
