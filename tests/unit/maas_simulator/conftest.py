"""One fresh region per test that asks for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from maas_region import Region, serve, settings


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    with serve(settings(tmp_path / "data")) as running:
        yield running


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
