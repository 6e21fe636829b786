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

from tests.unit.playbook_runs import ansible_playbook

PLAN = {
    "to": {"name": "2026.12"},
    "before": {"name": "2026.11"},
    "waves": [["nuc-001"], ["nuc-002", "nuc-003"]],
    "pins": {"nuc-009": "2026.10"},
    "first": 1,
}
VERDICTS = {"nuc-001": {"verdict": "taken", "why": ""}, "nuc-002": {"verdict": "failed", "why": "not healthy"}}


def run(tmp_path: Path, tasks: str, host: str, **facts: Any) -> subprocess.CompletedProcess[str]:
    """The role's tasks on a host, with the facts of a release's plays."""
    play = {"gather_facts": False, "connection": "local"}
    known = {"rollout_plan": PLAN, "rollout_unattended_enabled": False, **facts}
    file = tmp_path / "play.json"
    file.write_text(
        json.dumps(
            [
                {**play, "hosts": "localhost", "tasks": [{"ansible.builtin.set_fact": known}]},
                {
                    **play,
                    "hosts": host,
                    "tasks": [{"ansible.builtin.include_role": {"name": "edge.rack.rollout", "tasks_from": tasks}}],
                    "vars": {"rollout_report_state": "running", "rollout_report_wave": "2"},
                },
            ]
        )
    )
    about = {"ansible_python_interpreter": sys.executable, "edge_controller_dir": str(tmp_path)}
    hosts = dict.fromkeys(("localhost", "nuc-002", "nuc-003"), about)
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    return ansible_playbook("-i", inventory, file)


def told(tmp_path: Path, tasks: str, host: str, **facts: Any) -> dict[str, Any]:
    """What stands in the report then."""
    done = run(tmp_path, tasks, host, **facts)
    found: dict[str, Any] = json.loads((tmp_path / "report/release.json").read_text())
    assert done.returncode == (2 if found["stopped"] else 0), done.stdout
    return found


def test_hosts_of_a_wave_tell_what_the_controller_knows(tmp_path: Path) -> None:
    found = told(tmp_path, "report", "nuc-002:nuc-003", rollout_verdicts={"nuc-001": VERDICTS["nuc-001"]})
    assert found == {
        **{"release": "2026.12", "before": "2026.11", "state": "running", "wave": 2, "pins": {"nuc-009": "2026.10"}},
        **{"waves": PLAN["waves"], "stopped": {}, "devices": {"nuc-001": VERDICTS["nuc-001"]}, "back": {}},
    }


def test_at_the_end_it_is_out_or_stopped_or_left_to_the_clock(tmp_path: Path) -> None:
    out = told(tmp_path, "end", "localhost")
    assert (out["state"], out["wave"]) == ("out", 2)
    unattended = told(tmp_path, "end", "localhost", rollout_unattended_enabled=True)
    assert (unattended["state"], unattended["wave"]) == ("unattended", 1)
    stop = {"wave": 2, "why": "1 of 2 devices failed", "failed": True}
    stopped = told(tmp_path, "end", "localhost", rollout_stopped=stop, rollout_verdicts=VERDICTS)
    assert (stopped["state"], stopped["wave"], stopped["stopped"]) == ("stopped", 2, stop)
    assert stopped["devices"] == VERDICTS


def test_a_report_that_cannot_be_written_stops_no_release(tmp_path: Path) -> None:
    (tmp_path / "report/release.json").mkdir(parents=True)
    (tmp_path / "report/release.json/in-the-way").touch()
    done = run(tmp_path, "report", "nuc-002")
    assert done.returncode == 0
    assert "report/release.json was not written (" in " ".join(done.stdout.split())
