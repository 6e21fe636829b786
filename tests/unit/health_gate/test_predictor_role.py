# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role predictor replaces what it serves with: the image is pulled first, and a training comes before."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.unit.health_gate.device import NAME, WORKER, Device
from tests.unit.playbook_runs import ansible_playbook

MODEL = f"sha256:{'1' * 64}"


def predictor(device: Device, program: Path, image: str, *options: str) -> str:
    """What ansible-playbook says of the role's container."""
    device_vars = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_host": "127.0.0.1",
        "health_gate_program": str(program),
        "predictor_image": device.images[image],
        "predictor_model_digest": MODEL,
    }
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "edge.rack.predictor", "tasks_from": "container"}},
            {"ansible.builtin.debug": {"msg": "ACTION {{ predictor_release.action }}"}},
            {"ansible.builtin.debug": {"msg": "DIFF{{ predictor_release.diff | to_json | b64encode }}."}},
        ],
    }
    (device.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"nuc-001": device_vars}}}))
    (device.folder / "play.json").write_text(json.dumps([play]))
    done = ansible_playbook(*options, "-i", device.folder / "inventory.json", device.folder / "play.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_predictor_waits_for_the_end_of_a_training(device: Device, program: Path) -> None:
    device.apply("old")
    device.train()
    said = predictor(device, program, "new")
    assert "ACTION deferred" in said
    assert f"{WORKER} trains" in said
    assert device.containers() == {NAME: "old", WORKER: "new"}
