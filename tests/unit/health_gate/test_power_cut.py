# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""edge-commit dies after each of its steps, alone or with the device: one healthy container is there afterwards."""

from __future__ import annotations

import pytest

from tests.unit.health_gate import steps
from tests.unit.health_gate.device import NAME, Device

STEPS = [
    "write edge-predictor.json",
    "POST create",
    "POST update",
    "POST stop",
    "POST rename",
    "POST rename",
    "POST start",
    "write edge-predictor.json",
    "POST update",
    "DELETE",
    "write edge-predictor.json",
]
COMMITTED = 8


def numbered(steps: list[str]) -> list[str]:
    return [f"{number} {step.replace(' ', '-')}" for number, step in enumerate(steps, 1)]


def test_a_replacement_has_these_steps(device: Device) -> None:
    device.apply("old")
    done: list[str] = []
    with steps.told(done.append):
        device.apply("new")
    assert [step if not step.startswith("DELETE") else "DELETE" for step in done] == STEPS


@pytest.mark.parametrize("whole_device", [False, True], ids=["program", "power"])
@pytest.mark.parametrize("step", range(1, len(STEPS) + 1), ids=numbered(STEPS))
def test_a_cut_leaves_one_healthy_container(device: Device, step: int, whole_device: bool) -> None:
    device.apply("old")
    device.cut(step, "new")
    if whole_device:
        device.cut_power()
        device.start()
    device.recover()
    assert device.containers() == {NAME: "new" if step >= COMMITTED else "old"}
    assert device.is_healthy()
    assert device.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert device.journal()["state"] in ("done", "rolled back")
    if not whole_device:
        assert not device.apply("new").failed
        assert device.containers() == {NAME: "new"}
