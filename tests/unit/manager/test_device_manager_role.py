# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role device_manager sets a device up: its token, its release document, and the container around them."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys

from tests.unit.health_gate.steps import PACKAGE
from tests.unit.manager.managed import Managed
from tests.unit.playbook_runs import ansible_playbook

from edge_training.manager.settings import Settings  # isort: skip - its folder is known by now

CONTAINER = "edge-manager"
# But for the certificate, which the rack's authority signs; what is made once is asked for twice.
STEPS = ("token", "release", "token", "release", "container", "verify")
CHANGES = ("Token is made", "Release is written down", "Device Manager is ready")


def run(managed: Managed) -> str:
    """What ansible-playbook says of the role's steps."""
    device, folder = managed.device, managed.root.parent
    program = device.program(folder / "edge-commit")
    group = grp.getgrgid(os.getegid()).gr_name
    device_vars = {
        "ansible_connection": "local",
        "ansible_host": "127.0.0.1",
        "ansible_python_interpreter": sys.executable,
        "device_manager_config_dir": str(managed.config),
        "device_manager_docker_socket": str(folder / "docker.sock"),
        "device_manager_image": device.images["new"],
        "device_manager_keys_dir": str(managed.keys),
        "device_manager_worker_cpus": 2,
        "device_manager_worker_memory": "1g",
        "device_manager_state_dir": str(managed.root),
        "edge_registry": "127.0.0.1:5000",
        "edge_release": {"name": "2026.12", "model": {"digest": managed.models["second"]}},
        "health_gate_library_dir": str(PACKAGE),
        "health_gate_program": str(program),
        "training_worker_ssh_port": 2223,
        "release_images": {
            name: {"digest": device.images["new"].partition("@")[2]} for name in ("predictor", "worker", "manager")
        },
    }
    told = {
        "device_manager_healthcheck": {"test": ["CMD", "ready"], "interval_seconds": 0.1},
        "device_manager_owner": group,
        "device_manager_url": str(managed.client.base_url),
    }
    tasks = [
        {"ansible.builtin.include_role": {"name": "edge.rack.device_manager", "tasks_from": step}} for step in STEPS
    ]
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"nuc-001": device_vars}}}))
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    argv = ("-i", folder / "inventory.json", folder / "play.json", "-e", json.dumps(told))
    done = ansible_playbook(*argv, stderr=subprocess.STDOUT)
    print(done.stdout)
    assert done.returncode == 0
    return " ".join(done.stdout.split())


def test_a_device_makes_its_token_and_takes_its_release_once(managed: Managed) -> None:
    token, document = managed.config / "token", managed.config / "release.json"
    token.unlink()
    said = run(managed)
    assert f"changed={len(CHANGES)} unreachable=0 failed=0" in said
    assert all(change in said for change in CHANGES)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (token, document)} == {0o600}
    secret = token.read_text().strip()
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in said
    managed.client.headers["Authorization"] = f"Bearer {secret}"
    release = managed.asked("GET", "/status")["release"]
    assert (release["name"], release["model"]) == ("2026.12", managed.models["second"])
    made = managed.device.inspect(CONTAINER)
    assert made["HostConfig"]["Memory"] == 128 << 20
    assert not made["HostConfig"]["Privileged"]
    assert {f"{managed.config}:/etc/edge-manager:ro", f"{managed.root}:{managed.root}"} < set(
        made["HostConfig"]["Binds"]
    )
    # What the service is told is all that it needs.
    environment = dict(one.split("=", 1) for one in made["Config"]["Env"])
    settings = Settings.from_environment(environment)
    assert settings.models_dir == managed.root / "models"
    assert (settings.worker_ssh_port, settings.worker.pids) == (2223, 512)
