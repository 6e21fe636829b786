# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check on folders: what counts as a backup, and whom a failed clean-up concerns."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.registry.distribution import CHECKOUT

ROLE = CHECKOUT / "roles" / "registry"


@pytest.fixture
def health() -> dict[str, Any]:
    return runpy.run_path(str(ROLE / "files" / "edge-registry-health"))


def test_no_other_folder_is_taken_for_a_backup(health: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    with pytest.raises(health["IllError"], match="no backup was made"):
        health["backup"]({"backups": str(tmp_path)})
    (tmp_path / "20260101T000000Z" / "storage").mkdir(parents=True)
    assert health["backup"]({"backups": str(tmp_path)})["edge_registry_backup_age_seconds"] < 3600


def test_a_failed_clean_up_is_the_timers_concern_and_does_not_stop_the_role(
    health: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "last-clean.json"
    report.write_text(json.dumps({"result": "failed", "ended": "now", "error": "there is no record of a release"}))
    settings = tmp_path / "health.json"
    settings.write_text(json.dumps({"clean_report": str(report)}))
    of_program = health["main"].__globals__
    monkeypatch.setitem(of_program, "SETTINGS", settings)
    monkeypatch.setitem(of_program, "METRICS", tmp_path / "health.prom")
    for name in ("storage", "disk", "backup"):
        monkeypatch.setitem(of_program, name, lambda _settings: {})
    monkeypatch.setitem(of_program, "front", lambda _settings: {"edge_registry_certificate_seconds": 1.0})

    def run(command: list[str]) -> int:
        monkeypatch.setattr(sys, "argv", command)
        return int(of_program["main"]())

    timer = (ROLE / "templates" / "edge-registry-health.service.j2").read_text()
    (started,) = (line.partition("=")[2] for line in timer.splitlines() if line.startswith("ExecStart="))
    assert run(started.split()) == 1
    assert "clean_up: the clean-up that ended at now failed" in capsys.readouterr().err
    tasks = yaml.safe_load((ROLE / "tasks" / "timers.yml").read_text())
    (argv,) = (task["ansible.builtin.command"]["argv"] for task in tasks if task["name"] == "Registry is well")
    assert run(argv) == 0
    assert 'edge_registry_well{check="clean_up"} 0' in (tmp_path / "health.prom").read_text()
