"""The simulator, built once; a fresh host for every test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from esxi_host import EsxiHost

from lab import esxi


@pytest.fixture(scope="session")
def binary() -> Path:
    return esxi.binary()


@pytest.fixture
def host(binary: Path, tmp_path: Path) -> Iterator[Callable[..., EsxiHost]]:
    """Starts a host: `host(edition="free")`."""
    started: list[EsxiHost] = []

    def start(**options: Any) -> EsxiHost:
        folder = tmp_path / f"esxi{len(started)}"
        folder.mkdir()
        started.append(EsxiHost(binary, folder, **options))
        return started[-1].start()

    yield start
    for each in started:
        each.kill()
        assert "PANIC" not in each.log, each.log
