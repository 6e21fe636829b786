# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MAAS modules against the simulated region itself, with devices that play their part and faults in between."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("maas.client.bones", reason="python-libmaas is not installed")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "maas_simulator"))
from maas_bmc import Bmc
from maas_region import API_KEY, Region, settings

from tests.unit import collection
from tests.unit.servers import running

collection.find()

from ansible_collections.edge.rack.plugins.module_utils import maas  # noqa: E402
from docker_engine import Engine  # noqa: E402
from maas_rack import CountedRounds, Devices, Rack  # noqa: E402

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    chosen = settings(tmp_path / "data")
    rack = Rack(replace(chosen, testing_seconds=0.05, range_start=IPv4Address("10.99.0.20")))
    yield rack
    rack.stop()


@pytest.fixture
def region(rack: Rack) -> Region:
    return rack.region


@pytest.fixture
def devices(rack: Rack) -> Iterator[Devices]:
    with Devices(rack.region) as devices:
        yield devices


@pytest.fixture
def bmc() -> Iterator[Bmc]:
    with running(Bmc()) as server:
        yield server


@pytest.fixture
def docker() -> Iterator[Engine]:
    with running(Engine()) as engine:
        yield engine


@pytest.fixture
def run_module(rack: Rack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Run a module's main() as Ansible does, with short pauses; the result is what it prints, secrets blanked."""
    from ansible.module_utils import _internal, basic
    from ansible.module_utils.common import warnings

    # Where another test has loaded the controller's side of Ansible, warnings would go to its display.
    monkeypatch.setattr(_internal, "is_controller", False)
    for name in ("MAAS_URL", "MAAS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFLICT_PAUSES", "LOST_CALL_PAUSES"):
        monkeypatch.setattr(maas, name, (0.05, 0.1, 0.1))

    def run(module: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"maas_url": rack.region.url, "maas_api_key": API_KEY, **options}
        options.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp="/tmp")
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(sys, "argv", [module.__name__])
        monkeypatch.setattr(warnings, "_global_warnings", {})
        if hasattr(module, "Rounds"):
            monkeypatch.setattr(module, "Rounds", CountedRounds)
        with pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def rounds() -> type[CountedRounds]:
    return CountedRounds
