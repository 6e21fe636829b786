# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MAAS modules against the simulated regions of both recorded versions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("maas.client.bones", reason="python-libmaas is not installed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "maas_simulator"))
from maas_contract import VERSIONS
from maas_region import API_KEY, Region, serve, settings

from tests.unit import collection
from tests.unit.module_runs import RunModule, runner

collection.find()


@pytest.fixture(params=VERSIONS)
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Region]:
    """Both versions: a test that asks for it runs twice."""
    with serve(settings(tmp_path / "data", request.param)) as running:
        yield running


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What modules sent besides reads since the list was cleared, as `PUT tags/trainer/`."""
    from ansible_collections.edge.rack.plugins.module_utils import maas

    sent: list[str] = []
    exchange = maas.MaasClient._exchange

    async def noting(self: Any, asked: str, method: str, uri: str, *more: Any) -> Any:
        if method != "GET":
            sent.append(f"{method} {uri.split('/api/2.0/')[1]}")
        return await exchange(self, asked, method, uri, *more)

    monkeypatch.setattr(maas.MaasClient, "_exchange", noting)
    return sent


@pytest.fixture
def run_module(region: Region, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunModule:
    names = ("MAAS_URL", "MAAS_API_KEY")
    return runner(monkeypatch, capsys, unset=names, maas_url=region.url, maas_api_key=API_KEY)


@pytest.fixture
def cycle(run_module: RunModule, writes: list[str]) -> RunModule:
    """Check, change, and no change again: the result of the change, whose diff the check foretold."""

    def run(module: Any, **options: Any) -> dict[str, Any]:
        checked = run_module(module, check=True, **options)
        assert not checked.get("failed"), checked.get("msg")
        assert checked["changed"]
        done = run_module(module, **options)
        assert not done.get("failed"), done.get("msg")
        assert done["changed"]
        assert done["diff"] == checked["diff"]
        writes.clear()
        again = run_module(module, **options)
        assert not again.get("failed"), again.get("msg")
        assert not again["changed"]
        assert not again["diff"]["before"] and not again["diff"]["after"]
        assert writes == []
        return done

    return run
