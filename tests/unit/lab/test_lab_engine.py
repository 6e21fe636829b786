"""Labs beside each other share an engine; it is stopped when nobody needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import engine


@pytest.fixture(autouse=True)
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_FILE", tmp_path / "run" / "lock")


def test_an_engine_that_a_lab_is_about_to_use_is_not_left_alone() -> None:
    with engine.in_use(), engine.in_use(), engine.left_alone() as alone:
        assert not alone


def test_an_engine_that_nobody_uses_is_left_alone() -> None:
    with engine.in_use():
        pass
    with engine.left_alone() as alone:
        assert alone
