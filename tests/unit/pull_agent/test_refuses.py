# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role pull_agent refuses before it touches anything: refuse.yml, once for a host of each setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken

GIVEN: dict[str, dict[str, Any]] = {
    "good": {},
    "unlimited": {"pull_agent_cpu_quota": "", "pull_agent_memory_max": "infinity"},
    "nowhere": {"pull_agent_control_host": ""},
    "often": {"pull_agent_interval_seconds": 30},
    "early": {"pull_agent_boot_delay_seconds": -1},
    "half": {"pull_agent_cpu_quota": "0.5"},
    "plenty": {"pull_agent_memory_max": "512MB"},
}
MESSAGES = {
    "nowhere": "pull_agent_control_host of nowhere is empty",
    "often": "Of often: pull_agent_interval_seconds (30)",
    "early": "pull_agent_boot_delay_seconds (-1) are 0 at least",
    "half": "Of half: pull_agent_cpu_quota (0.5) is a share of one CPU such as 50%",
    "plenty": "pull_agent_memory_max (512MB) a size such as 512M",
}


def test_what_no_unit_can_be_made_of_is_refused_by_field_and_host(tmp_path: Path) -> None:
    good = {
        "ansible_connection": "local",
        "trust_signers": [],
        "pull_agent_control_host": "control.example.com",
    }
    hosts = {host: {**good, **given} for host, given in GIVEN.items()}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {"ansible.builtin.import_role": {"name": "edge.rack.pull_agent", "tasks_from": "refuse"}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.json").write_text(json.dumps([play]))
    done = ansible_playbook("-i", tmp_path / "hosts.json", tmp_path / "play.json")
    said = " ".join((done.stdout + done.stderr).split())
    for host in GIVEN:
        assert_refused_or_taken(said, host, MESSAGES)
