# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard for all tests of a module that change nothing for each other, and one for a test of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries
from tests.unit.dashboard.served import Dashboard, until


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    registries.authority(folder, "127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Dashboard]:
    """It has asked the rack once: there are nuc-001, which is well, and nuc-002, which is not."""
    one = Dashboard(tmp_path_factory.mktemp("dashboard") / "one", certificates)
    try:
        one.begin()
        olga = one.signed_in()
        until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
        yield one
    finally:
        one.end_all()


@pytest.fixture
def own(tmp_path: Path, certificates: Path) -> Iterator[Dashboard]:
    """Nobody else's, and not begun yet."""
    one = Dashboard(tmp_path / "own", certificates)
    yield one
    one.end_all()
