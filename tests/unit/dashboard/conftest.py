# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard for all tests of a module that change nothing for each other, and one for a test of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries
from tests.unit.dashboard.openid import OpenId
from tests.unit.dashboard.served import CHECKOUT, Dashboard, until

sys.path.insert(0, str(CHECKOUT / "training"))


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


@pytest.fixture(scope="module")
def openid(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[OpenId]:
    """A provider, and a dashboard that people sign in to by it."""
    folder = tmp_path_factory.mktemp("openid")
    dashboard = Dashboard(folder / "dashboard", certificates)
    one = OpenId(folder / "provider", dashboard)
    try:
        one.begin()
        dashboard.begin()
        yield one
    finally:
        one.end()
        dashboard.end_all()


@pytest.fixture
def own_openid(tmp_path: Path, own: Dashboard) -> Iterator[OpenId]:
    """Of the test's own dashboard; neither has begun yet."""
    one = OpenId(tmp_path / "provider", own)
    yield one
    one.end()
