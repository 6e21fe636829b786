# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device sends of its runs (role pull_agent), at ARA's own server: whole, once, whatever is cut."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ara_server import Ara

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(CHECKOUT / "roles/pull_agent/files"), str(CHECKOUT / "roles/trust/files")]

from edge_converge import files, reports  # noqa: E402 - the device's program lies in its role

NAMES = count()
TASKS = [
    {"name": "File is there", "action": "ansible.builtin.copy", "status": "changed", "message": ""},
    {"name": "Device is fit", "action": "ansible.builtin.assert", "status": "failed", "message": "It is not."},
]


class Link(reports.Ara):
    """The device's way to the server, with its own account; it breaks when it is told to."""

    def __init__(self, ara: Ara, device: str) -> None:
        self.ara, self.device = ara, device
        self.left = 1000
        self.answers = True

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0 and self.answers:
            raise reports.SendError("the link is down")
        status, answer = self.ara.device(self.device, method, f"/api/v1/{path}", body)
        if self.left < 0:
            raise reports.SendError("the answer was lost")
        assert status in (200, 201), (method, path, answer)
        return dict(answer)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    device = f"nuc-{next(NAMES):03}-r"
    path = tmp_path / "report.json"
    about = {
        "id": f"5c1f0000-0000-4000-8000-{next(NAMES):012}",
        "device": device,
        "mode": "pull",
        "started": 1796000000.25,
        "ended": 1796000012.5,
        "outcome": "failed",
        "release": "2026.12",
        "commit": "793d1f0943ef",
        "subject": "Release 2026.12",
        "offline": "control.example.com: No route to host",
        "error": "It is not.",
        "tasks": TASKS,
    }
    files.write(path, about)
    return path


def of(ara: Ara, report: Path) -> list[dict[str, Any]]:
    about = files.read(report)
    status, found = ara.device(about["device"], "GET", f"/api/v1/playbooks?label=run:{about['id']}")
    assert status == 200
    return list(found["results"])


def test_a_run_stands_there_with_what_it_changed_and_why_it_failed(ara: Ara, report: Path) -> None:
    device = files.read(report)["device"]
    reports.send(Link(ara, device), report)
    (run,) = of(ara, report)
    assert (run["name"], run["controller"], run["status"]) == (f"{device} 2026.12", device, "failed")
    assert (run["started"], run["ended"]) == ("2026-11-30T00:53:20.250000Z", "2026-11-30T00:53:32.500000Z")
    assert {"pull", "offline", "outcome:failed", "release:2026.12"} <= {label["name"] for label in run["labels"]}
    assert run["items"] == {"plays": 1, "tasks": 2, "results": 2, "hosts": 1, "files": 1, "records": 0}
    result_there = reports.noted(report)[f"result 1 {device}"]
    status, result = ara.device(device, "GET", f"/api/v1/results/{result_there}")
    assert (status, result["status"], result["content"]["msg"]) == (200, "failed", "It is not.")


@pytest.mark.parametrize("requests", range(10))
def test_of_a_report_that_was_cut_the_rest_is_sent_and_nothing_twice(ara: Ara, report: Path, requests: int) -> None:
    link = Link(ara, files.read(report)["device"])
    link.left = requests
    with pytest.raises(reports.SendError):
        reports.send(link, report)
    assert [run["status"] for run in of(ara, report)] in ([], ["running"])
    link.left = 1000
    reports.send(link, report)
    (run,) = of(ara, report)
    assert run["status"] == "failed"
    assert run["items"] == {"plays": 1, "tasks": 2, "results": 2, "hosts": 1, "files": 1, "records": 0}


def test_a_report_whose_first_answer_was_lost_is_not_begun_twice(ara: Ara, report: Path) -> None:
    link = Link(ara, files.read(report)["device"])
    link.left, link.answers = 1, False
    with pytest.raises(reports.SendError, match="the answer was lost"):
        reports.send(link, report)
    link.left = 1000
    reports.send(link, report)
    (run,) = of(ara, report)
    assert run["items"]["results"] == 2


def test_a_report_that_the_disk_broke_keeps_no_other_from_being_sent(ara: Ara, report: Path) -> None:
    report.write_text('{"id": "5c1f')
    reports.send(Link(ara, "nuc-001"), report)
