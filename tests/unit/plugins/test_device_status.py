# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What devices answered, as rows for programs and as a table for people."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.edge.rack.plugins.filter.device_status import device_status
from ansible_collections.edge.rack.plugins.filter.device_status_table import device_status_table

GOOD = {
    "last": {"outcome": "ok", "mode": "pull", "ended": 1796000000.4, "commit": "793d1f", "changed": 0, "offline": ""},
    "last_push": {"by": "alice", "ended": 1795990000.0},
    "release": "2026.12",
    "containers": {"edge-predictor": "healthy", "edge-manager": "healthy"},
    "disk_free_percent": 81,
}
REFUSED = {
    "last": {"outcome": "refused", "mode": "pull", "ended": 1796000100.0, "error": "commit 1f3e8a is not signed"},
    "paused": {"until": 1},
    "deferred": ["edge-predictor"],
    "reports_waiting": 3,
}


def host(told: Any, **more: Any) -> dict[str, Any]:
    return {"edge_release": {"name": "2026.12"}, "status_answer": {"stdout": json.dumps(told)}, **more}


def test_a_row_says_what_is_wanted_and_what_is() -> None:
    about = {"ansible_host": "10.0.0.21", "maas_status": "Deployed", "maas_power_state": "on"}
    (row,) = device_status(["nuc-001"], {"nuc-001": host(GOOD, **about)})
    assert (row["pinned"], row["running"], row["outcome"], row["by"]) == ("2026.12", "2026.12", "ok", "pull")
    assert (row["ended"], row["pushed"]) == ("2026-11-30T00:53:20Z", "2026-11-29T22:06:40Z")
    assert (row["address"], row["maas_status"], row["fault"]) == ("10.0.0.21", "Deployed", "")
    assert row["power"] == "on"


def test_a_row_says_where_the_device_stands_as_far_as_somebody_does() -> None:
    hosts = {
        "by-tags": host(GOOD, maas_tags=["trainer", "shelf-2", "slot-07"]),
        "by-variables": host(GOOD, maas_tags=["shelf-2", "slot-7"], edge_shelf=3, edge_slot="11"),
        "half": host(GOOD, maas_tags=["shelf-4", "slot-2026", "slotted-9"]),
        "nowhere": host(GOOD),
    }
    rows = {one["device"]: (one.get("shelf"), one.get("slot")) for one in device_status(hosts, hosts)}
    assert rows == {"by-tags": (2, 7), "by-variables": (3, 11), "half": (4, None), "nowhere": (None, None)}


def test_a_device_that_does_not_answer_is_silent_and_its_row_says_why() -> None:
    hosts = {
        "nuc-001": {"status_answer": {"unreachable": True, "msg": "Connection\ntimed out"}, "maas_power_state": "off"},
        "nuc-002": {"maas_status": "Failed deployment"},
        "nuc-003": {"status_answer": {"rc": 2, "stdout": "", "msg": "", "stderr": "No such file or directory"}},
    }
    rows = device_status(hosts, hosts)
    assert [row["outcome"] for row in rows] == ["silent"] * 3
    assert [row["fault"] for row in rows] == [
        "Connection timed out",
        "it was not asked: MAAS does not call it Deployed",
        "No such file or directory",
    ]
    assert [row["power"] for row in rows] == ["off", "", ""]
    assert "Connection timed out; power off" in "\n".join(device_status_table(rows))


def test_a_device_without_a_run_is_told_from_one_that_is_silent() -> None:
    (row,) = device_status(["nuc-001"], {"nuc-001": host({"last": None, "release": ""})})
    assert (row["outcome"], row["ended"], row["fault"]) == ("never", "", "")


def test_the_table_begins_with_what_wants_a_person_and_ends_with_a_count() -> None:
    rows = device_status(["nuc-001", "nuc-002"], {"nuc-001": host(GOOD), "nuc-002": host(REFUSED)})
    title, first, second, count = device_status_table(rows)
    assert title.split()[:3] == ["device", "pinned", "running"]
    assert first.startswith("nuc-002  2026.12  -        refused")
    assert first.endswith("commit 1f3e8a is not signed; paused; deferred: edge-predictor; 3 reports wait")
    assert second.split()[:4] == ["nuc-001", "2026.12", "2026.12", "ok"]
    assert "2 healthy" in second
    assert count == "2 devices: 1 ok, 1 refused"
    assert all(len(line) == len(line.rstrip()) for line in (title, first, second))
