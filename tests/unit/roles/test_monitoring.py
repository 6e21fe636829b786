# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus as the role `monitoring` configures it, judged by Debian's promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.debian import program

ROLE = Path(__file__).resolve().parents[3] / "roles/monitoring"
PASSWORD = "the-password-of-numbers"


@pytest.fixture(scope="module")
def promtool() -> Path:
    return program("prometheus", "usr/bin/promtool")


def checked(promtool: Path, *argv: str | Path) -> str:
    done = subprocess.run([promtool, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configured(folder: Path, **changed: Any) -> Path:
    """What the role writes, with all paths in a folder."""
    secrets = folder / "edge"
    (secrets / "tokens").mkdir(parents=True)
    for name in ("registry_password", "dashboard_token", "tokens/nuc-001", "tokens/nuc-002"):
        (secrets / name).write_text(PASSWORD)
    (secrets / "rules.yml").write_text((ROLE / "files/rules.yml").read_text())
    values = {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
        "ansible_managed": "Ansible managed",
        "monitoring_secrets_dir": str(secrets),
        "monitoring_devices": ["nuc-001", "nuc-002", "nuc-003"],
        "monitoring_managed": ["nuc-001", "nuc-002"],
        "monitoring_registry": "registry.example.com:5000",
        "monitoring_registry_account": {"name": "numbers", "password": PASSWORD},
        "monitoring_node": yaml.safe_load((ROLE / "vars/main.yml").read_text())["monitoring_node"],
        "monitoring_dashboard_known": True,
        "monitoring_dashboard": "control.example.com:8443",
        "hostvars": {f"nuc-00{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)},
        **changed,
    }
    # As Ansible renders templates.
    loader = jinja2.FileSystemLoader(ROLE / "templates")
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["to_json"] = json.dumps
    for name, file in (("predictors.json", secrets / "predictors.json"), ("prometheus.yml", folder / "prometheus.yml")):
        file.write_text(environment.get_template(f"{name}.j2").render(values))
    (secrets / "ca.crt").write_text("")
    return folder / "prometheus.yml"


def test_promtool_takes_the_configuration_with_every_file_that_it_names(promtool: Path, tmp_path: Path) -> None:
    file = configured(tmp_path, monitoring_alertmanagers=["alerts.example.com:9093"])
    assert "SUCCESS" in checked(promtool, "check", "config", file)
    jobs = {job["job_name"]: job for job in yaml.safe_load(file.read_text())["scrape_configs"]}
    assert set(jobs) == {
        "prometheus",
        "node",
        "dashboard",
        "predictor",
        "registry",
        "registry_health",
        "manager/nuc-001",
        "manager/nuc-002",
    }
    asked = json.loads((tmp_path / "edge/predictors.json").read_text())
    assert [one["targets"] for one in asked] == [["192.0.2.1:8480"], ["192.0.2.2:8480"], ["192.0.2.3:8480"]]
    assert PASSWORD not in file.read_text()


def test_a_rack_without_devices_and_an_account_for_numbers_is_taken_too(promtool: Path, tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"monitoring_devices": [], "monitoring_managed": [], "monitoring_registry_account": {}}
    file = configured(tmp_path, **nothing, monitoring_dashboard_known=False)
    assert "SUCCESS" in checked(promtool, "check", "config", file)
    assert [job["job_name"] for job in yaml.safe_load(file.read_text())["scrape_configs"]] == [
        "prometheus",
        "node",
        "predictor",
    ]


def test_a_token_that_is_not_there_is_refused(promtool: Path, tmp_path: Path) -> None:
    file = configured(tmp_path)
    (tmp_path / "edge/tokens/nuc-002").unlink()
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tokens/nuc-002" in done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_before(promtool: Path) -> None:
    checked(promtool, "test", "rules", Path(__file__).with_name("monitoring_rules.yml"))
