# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One device for all tests of a process, and a Device Manager on it for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "training"))

from tests import registries
from tests.unit.health_gate.device import REGISTRY, Device, install
from tests.unit.manager.managed import Managed, served


@pytest.fixture(scope="session")
def one_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    install()
    device = Device(tmp_path_factory.mktemp("device"))
    try:
        # A worker is of the same content: what it runs is asked for by name and digest.
        device.api.tag(device.images["new"], f"{REGISTRY}/edge/worker", "new")
        device.api.push(f"{REGISTRY}/edge/worker", "new")
        yield device
    finally:
        device.empty()
        device.end()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    registries.authority(folder, "127.0.0.1")
    return folder


@pytest.fixture
def managed(
    one_device: Device, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Managed]:
    """A device with a release on it, and its Device Manager in a thread of the test."""
    monkeypatch.setenv("DOCKER_HOST", one_device.host)
    one_device.empty()
    prepared = Managed(one_device, tmp_path, certificates)
    with served(prepared):
        yield prepared
