# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One device for all tests of a process, empty for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.health_gate.device import Device, install
from tests.unit.health_gate.steps import PACKAGE


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
    """edge-commit as the role installs it."""
    program = tmp_path / "edge-commit"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(PACKAGE)!r})\nfrom edge_commit.cli import main\n"
        f"sys.exit(main(['--state', {str(device.state)!r}, *sys.argv[1:]]))\n"
    )
    program.chmod(0o755)
    return program
