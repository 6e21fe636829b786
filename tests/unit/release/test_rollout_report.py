# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a release, which is written while its waves are out, by hosts of a wave and by the controller."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.playbook_runs import ansible_playbook

PLAN = {
    "to": {"name": "2026.12"},
    "before": {"name": "2026.11"},
    "waves": [["nuc-001"], ["nuc-002", "nuc-003"]],
    "pins": {"nuc-009": "2026.10"},
    "first": 1,
}
VERDICTS = {"nuc-001": {"verdict": "taken", "why": ""}, "nuc-002": {"verdict": "failed", "why": "not healthy"}}


STOP = {"wave": 2, "why": "1 of 2 devices failed", "failed": True}
# Each end of a release with a folder of its own; the one that fails comes last.
CASES: dict[str, dict[str, Any]] = {
    "running": {"tasks": "report", "host": "nuc-002:nuc-003", "verdicts": {"nuc-001": VERDICTS["nuc-001"]}},
    "unwritten": {"tasks": "report", "host": "nuc-002"},
    "out": {"tasks": "end"},
    "unattended": {"tasks": "end", "unattended": True},
    "stopped": {"tasks": "end", "stopped": STOP, "verdicts": VERDICTS},
}


def plays(folder: Path, tasks: str, host: str = "localhost", **facts: Any) -> list[dict[str, Any]]:
    """The role's tasks on a host, with the facts of a release's plays."""
    play = {"gather_facts": False, "connection": "local"}
    known = {
        "rollout_plan": PLAN,
        "rollout_unattended_enabled": facts.get("unattended", False),
        "rollout_stopped": facts.get("stopped", {}),
        "rollout_verdicts": facts.get("verdicts", {}),
    }
    told = {
        "edge_controller_dir": str(folder),
        "rollout_report_state": "running",
        "rollout_report_wave": "2",
    }
    role = {"ansible.builtin.include_role": {"name": "edge.rack.rollout", "tasks_from": tasks}}
    return [
        {**play, "hosts": "localhost", "tasks": [{"ansible.builtin.set_fact": known}]},
        {**play, "hosts": host, "tasks": [role], "vars": told},
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    """All cases in one run."""
    (folder / "unwritten/report/release.json").mkdir(parents=True)
    (folder / "unwritten/report/release.json/in-the-way").touch()
    file = folder / "plays.json"
    file.write_text(json.dumps([play for name, case in CASES.items() for play in plays(folder / name, **case)]))
    hosts = {name: {"ansible_python_interpreter": sys.executable} for name in ("localhost", "nuc-002", "nuc-003")}
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    return ansible_playbook("-i", inventory, file)


def report(folder: Path, case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / case / "report/release.json").read_text())
    return found


@pytest.mark.usefixtures("done")
def test_hosts_of_a_wave_tell_what_the_controller_knows(folder: Path) -> None:
    assert report(folder, "running") == {
        **{"release": "2026.12", "before": "2026.11", "state": "running", "wave": 2, "pins": {"nuc-009": "2026.10"}},
        **{"waves": PLAN["waves"], "stopped": {}, "devices": {"nuc-001": VERDICTS["nuc-001"]}, "back": {}},
    }


def test_at_the_end_it_is_out_or_stopped_or_left_to_the_clock(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    out, unattended, stopped = (report(folder, case) for case in ("out", "unattended", "stopped"))
    assert (out["state"], out["wave"]) == ("out", 2)
    assert (unattended["state"], unattended["wave"]) == ("unattended", 1)
    assert (stopped["state"], stopped["wave"], stopped["stopped"]) == ("stopped", 2, STOP)
    assert stopped["devices"] == VERDICTS
    # That one alone fails.
    assert done.returncode == 2, done.stdout
    assert " failed=1 " in done.stdout


def test_a_report_that_cannot_be_written_stops_no_release(done: subprocess.CompletedProcess[str]) -> None:
    assert "unwritten/report/release.json was not written (" in " ".join(done.stdout.split())
    assert "rescued=1" in done.stdout
