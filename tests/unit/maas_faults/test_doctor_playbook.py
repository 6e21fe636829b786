# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/doctor.yml: what it finds, the exit code that it ends with, and that nothing broken hides the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from maas_region import API_KEY

from tests.unit.playbook_runs import ansible_playbook

RELEASE = {"name": "2026.12", "images": {"worker": {"tag": "0.1.0"}, "predictor": {"tag": "0.1.0"}}}
# This machine plays a device and a server; how much room it has is not what is tested.
LIMITS = {"doctor_disk_free_percent": 0, "doctor_memory_free_percent": 0, "doctor_clock_seconds": 60}


@dataclass(frozen=True)
class Diagnosis:
    code: int
    output: str
    report: dict[str, Any]

    @property
    def findings(self) -> set[tuple[str, str, str]]:
        return {(one["severity"], one["host"], one["check"]) for one in self.report["findings"]}


Doctor = Callable[..., Diagnosis]


@pytest.fixture
def doctor(rack: Any, tmp_path: Path) -> Doctor:
    """Run the playbook in a rack of these groups; a host with a port is none that answers."""

    def run(*options: str, groups: dict[str, dict[str, Any]], **variables: Any) -> Diagnosis:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        inventory = {
            "all": {
                "hosts": {"localhost": local},
                "vars": {
                    "ansible_become": False,
                    "ansible_host": "127.0.0.1",
                    "edge_controller_dir": str(tmp_path),
                    "edge_release": RELEASE,
                    "maas_url": rack.region.url,
                    "maas_api_key": API_KEY,
                    **LIMITS,
                    **variables,
                },
                "children": {
                    group: {"hosts": {name: about or local for name, about in groups.get(group, {}).items()}}
                    for group in ("maas", "registry", "registry_caches", "control", "devices")
                },
            }
        }
        (tmp_path / "inventory.json").write_text(json.dumps(inventory))
        done = ansible_playbook(
            "playbooks/doctor.yml",
            *options,
            stderr=subprocess.STDOUT,
            ANSIBLE_INVENTORY=str(tmp_path / "inventory.json"),
            ANSIBLE_SSH_RETRIES="0",
            DOCKER_HOST="tcp://127.0.0.1:1",
        )
        print(done.stdout)
        report = tmp_path / "report/doctor.json"
        return Diagnosis(done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else {})

    return run


SILENT = {"ansible_port": 1}


def test_a_device_that_does_not_answer_hides_nothing_of_the_others(doctor: Doctor, tmp_path: Path) -> None:
    hangs = tmp_path / "python-that-hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 20\n")
    hangs.chmod(0o755)
    slow = {"ansible_connection": "local", "ansible_python_interpreter": str(hangs), "doctor_answer_seconds": 1}
    found = doctor(groups={"devices": {"nuc-silent": SILENT, "nuc-slow": slow, "nuc-bare": {}}})
    assert found.code == found.report["exit_code"] == 2
    assert ("error", "nuc-slow", "ssh") in found.findings
    assert "fix: it takes connections, but not even a short program ends in time" in found.output
    assert ("error", "nuc-silent", "ssh") in found.findings
    assert ("error", "nuc-bare", "docker") in found.findings
    assert not {host for _, host, _ in found.findings} - {"nuc-silent", "nuc-slow", "nuc-bare", "localhost"}
    assert "fix: it is on, but SSH is not; at its console: systemctl status ssh" in found.output


def test_it_ends_with_1_where_nothing_but_warnings_were_found_and_0_where_nothing_was(doctor: Doctor) -> None:
    waiting = {"nuc-new": {"maas_status": "Ready"}}
    found = doctor(groups={"devices": waiting})
    assert (found.code, found.report["exit_code"]) == (1, 1)
    assert found.findings == {("warning", "nuc-new", "maas")}
    assert "0 errors, 1 warning" in found.output
    assert "PLAY RECAP" in found.output

    retired = {"nuc-old": {"maas_status": "Ready", "maas_tags": ["retired"]}}
    found = doctor(groups={"devices": retired})
    assert (found.code, found.report) == (0, {"exit_code": 0, "findings": []})


def test_it_tells_of_one_device_alone_in_check_mode_too(doctor: Doctor) -> None:
    groups = {"devices": {"nuc-silent": SILENT, "nuc-new": {"maas_status": "Ready"}}, "control": {"control": SILENT}}
    found = doctor("--check", "--limit=nuc-new", groups=groups)
    assert (found.code, found.findings) == (1, {("warning", "nuc-new", "maas")})


def test_a_rack_whose_servers_are_all_away_is_told_of_each(rack: Any, doctor: Doctor) -> None:
    rack.stop()
    account = {"name": "pull", "password": "hidden-hidden-hidden"}
    found = doctor(
        groups={"registry": {"registry": SILENT}, "control": {"control": SILENT}, "devices": {}},
        control_node_accounts=[account],
        control_node_port=1,
        registry_port=1,
        release_registry_account=account,
        edge_registry="registry:1",
        edge_release={},
    )
    assert found.code == 2
    assert found.findings == {
        ("error", "localhost", "release"),
        ("error", "localhost", "maas"),
        *(("error", host, check) for host in ("registry", "control") for check in ("certificate", "ssh")),
    }
    assert "hidden-hidden" not in found.output
