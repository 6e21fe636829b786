# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils import maas
from ansible_collections.edge.rack.plugins.modules import maas_machine_info
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import FakeRegion, machine


def test_the_region_filters(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(2, status=11), machine(1, status=11, tag_names=["a", "b"]), machine(3, tag_names=["a", "b"]))
    result = run_module(maas_machine_info, check=True, status="Failed deployment")
    assert not result["changed"]
    assert [m["hostname"] for m in result["machines"]] == ["nuc-001", "nuc-002"]
    assert region.requests[-1].params == [("status", "failed_deployment")]
    both = run_module(maas_machine_info, tags=["a", "b"], pool=["default"], zone=["default"])
    assert [m["hostname"] for m in both["machines"]] == ["nuc-001", "nuc-003"]
    assert run_module(maas_machine_info, mac_address="52:54:00:10:00:02")["machines"][0]["system_id"] == "sys002"
    assert run_module(maas_machine_info, system_id=[])["machines"] == []


def test_full_rows_are_as_maas_gives_them(region: FakeRegion, run_module: Any) -> None:
    region.add(machine(1))
    assert "machines_full" not in run_module(maas_machine_info)
    assert run_module(maas_machine_info, full=True)["machines_full"] == [machine(1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"maas_api_key": "a:b:c"}, "Check `maas_api_key`"),
        ({"maas_url": "http://127.0.0.1:9/MAAS"}, "http://127.0.0.1:9/MAAS cannot be reached"),
    ],
)
def test_no_way_in_is_an_error_that_says_why(
    region: FakeRegion, run_module: Any, options: dict[str, str], expected: str
) -> None:
    result = run_module(maas_machine_info, **options)
    assert result["failed"]
    assert expected in result["msg"]
    assert result["error"]["remedy"] in result["msg"]


def test_a_missing_library_is_named(run_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maas, "LIBMAAS_IMPORT_ERROR", "Traceback: no module named maas")
    result = run_module(maas_machine_info)
    assert result["failed"]
    assert "python-libmaas" in result["msg"]
    assert sys.executable in result["msg"]
