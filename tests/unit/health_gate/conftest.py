# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One device for all tests of a process, empty for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.health_gate.device import Device, install


@pytest.fixture(scope="session")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    install()
    device = Device(tmp_path_factory.mktemp("device"))
    try:
        yield device
    finally:
        device.empty()
        device.end()


@pytest.fixture
def device(one_device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setenv("DOCKER_HOST", one_device.host)
    one_device.empty()
    return one_device


@pytest.fixture
def program(device: Device, tmp_path: Path) -> Path:
    return device.program(tmp_path / "edge-commit")
