# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_resource_pool, maas_tag, maas_zone
from maas_region import Region

# module, key of the result, a text it has, where all of them are read
KINDS = [
    (maas_tag, "tag", "comment", "tags/"),
    (maas_resource_pool, "resource_pool", "description", "resourcepools/"),
    (maas_zone, "zone", "description", "zones/"),
]
MAC = "52:54:00:00:00:01"


@pytest.mark.parametrize(("module", "result", "text", "path"), KINDS)
def test_it_is_made_changed_and_deleted(
    region: Region, run_module: Any, cycle: Any, writes: list[str], module: Any, result: str, text: str, path: str
) -> None:
    made = cycle(module, name="shelf-1", **{text: "one"})
    assert (made["diff"]["before"], made["diff"]["after"]["name"]) == ({}, "shelf-1")
    assert made[result][text] == "one"
    # What is not given stays.
    assert not run_module(module, name="shelf-1")["changed"]
    changed = cycle(module, name="shelf-1", **{text: ""})
    assert (changed["diff"]["before"][text], changed["diff"]["after"][text]) == ("one", "")

    gone = cycle(module, name="shelf-1", state="absent")
    assert gone["diff"]["after"] == {}
    assert "shelf-1" not in [row["name"] for row in region.call("GET", path).json()]


@pytest.mark.parametrize(("module", "result", "text", "path"), KINDS)
def test_a_name_that_maas_would_refuse_is_refused_in_check_mode_too(
    run_module: Any, writes: list[str], module: Any, result: str, text: str, path: str
) -> None:
    refused = run_module(module, check=True, name="bad/name\n")
    assert refused["failed"]
    assert "Correct `name`" in refused["msg"]
    assert writes == []


@pytest.mark.parametrize("module", [maas_resource_pool, maas_zone])
def test_the_default_one_is_not_deleted(run_module: Any, writes: list[str], module: Any) -> None:
    for check in (True, False):
        refused = run_module(module, check=check, name="default", state="absent")
        assert refused["failed"]
        assert "it is MAAS's default" in refused["msg"]
    assert writes == []


def test_a_pool_in_use_is_refused_with_its_machines(region: Region, run_module: Any, writes: list[str]) -> None:
    run_module(maas_resource_pool, name="edge")
    region.create("nuc-001", MAC, pool="edge")
    writes.clear()
    refused = run_module(maas_resource_pool, name="edge", state="absent")
    assert refused["failed"]
    assert "1 machines are in it (nuc-001)" in refused["msg"]
    assert writes == []


def test_a_tag_keeps_its_machines_when_its_comment_changes(region: Region, run_module: Any) -> None:
    run_module(maas_tag, name="trainer", kernel_opts="quiet")
    system_id = region.create("nuc-001", MAC)
    region.call("POST", "tags/trainer/?op=update_nodes", data={"add": system_id})
    assert run_module(maas_tag, name="trainer", comment="takes part in training")["changed"]
    assert region.machine(system_id)["tag_names"] == ["trainer"]
    assert region.call("GET", "tags/trainer/").json()["kernel_opts"] == "quiet"
