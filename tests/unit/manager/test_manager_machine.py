# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Device Manager is told, and what it sees of its machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_training.manager import machine  # isort: skip - its folder is known by now
from edge_training.manager.settings import Settings  # isort: skip

GIVEN = {"EDGE_DEVICE_ADDRESS": "192.0.2.11", "EDGE_WORKER_MEMORY": "1g", "EDGE_WORKER_CPUS": "2"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGE_DEVICE_ADDRESS", ""),
        ("EDGE_WORKER_CPUS", "0"),
        ("EDGE_WORKER_CPUS", "nan"),
        ("EDGE_PREDICTOR_MEMORY", "lots"),
        ("EDGE_MANAGER_PORT", "https"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SystemExit, match=name):
        Settings.from_environment({**GIVEN, name: value})
    assert Settings.from_environment(GIVEN).worker.cpus == 2


def test_the_warmest_sensor_counts_and_one_that_is_off_does_not(tmp_path: Path) -> None:
    assert machine.temperature(tmp_path) is None
    for number, text in enumerate(("41500\n", "73250\n", "\n")):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    assert machine.temperature(tmp_path) == 73.25


def test_memory_that_can_be_had_counts_as_free() -> None:
    room = machine.memory("MemTotal:       16000 kB\nMemFree:          100 kB\nMemAvailable:    8000 kB\n")
    assert (room.total_bytes, room.free_bytes) == (16000 << 10, 8000 << 10)
