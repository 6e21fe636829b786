"""A lab's settings that touch nothing outside of the test's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.settings import Settings, from_environment

Lab = Callable[..., Settings]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    def settings(**environ: str) -> Settings:
        return from_environment(
            {"LAB_STATE": str(tmp_path / "state"), "EDGE_CACHE": str(tmp_path / "cache"), **environ}
        )

    return settings
