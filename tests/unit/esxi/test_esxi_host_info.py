# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import esxi_host_info, esxi_vm


def info(run_module: Any, way: Any, **options: Any) -> dict[str, Any]:
    result = run_module(esxi_host_info, **{**way.options, **options})
    assert not result.get("failed"), result["msg"]
    return result


def test_the_host_is_read_by_either_way_the_same(own_host: Any, run_module: Any) -> None:
    for name in ('two "words" ä', "one"):
        made = run_module(
            esxi_vm, **own_host.options, name=name, state="poweredon", datastore="datastore1", autostart={"order": 1}
        )
        assert not made.get("failed"), made["msg"]
    by_api = info(run_module, own_host, transport="api")
    by_ssh = info(run_module, own_host, transport="ssh")
    for result in (by_api, by_ssh):
        for field in ("invocation", "transport", "transport_reason"):
            result.pop(field)
    assert by_api == by_ssh
    assert not by_api["changed"]
    assert by_api["host"]["name"] == "esxi.edge.lab"
    assert by_api["host"]["version"] == "7.0.3"
    assert by_api["host"]["model"] == "PowerEdge T430"
    assert by_api["host"]["memory_mib"] == 131072
    assert by_api["host"]["autostart_enabled"]
    assert [d["name"] for d in by_api["datastores"]] == ["backup", "datastore1"]
    assert by_api["datastores"][1]["capacity_bytes"] == 3600 * 2**30
    assert by_api["vswitches"] == [{"name": "vSwitch0", "mtu": 1500, "ports": 128, "uplinks": ["vmnic0"]}]
    assert [(g["name"], g["adapters"]) for g in by_api["port_groups"]] == [
        ("Management Network", ["vmk0"]),
        ("VM Network", []),
    ]
    assert [(vm["name"], vm["power_state"]) for vm in by_api["vms"]] == [
        ("one", "poweredon"),
        ('two "words" ä', "poweredon"),
    ]
    assert by_api["vms"][0]["path"] == "[datastore1] one/one.vmx"


@pytest.mark.parametrize("transport", ["api", "ssh"])
def test_the_licence_says_whether_the_api_may_write(host: Any, run_module: Any, transport: str) -> None:
    is_free = host.transport == "ssh"
    licence = info(run_module, host, transport=transport)["licence"]
    assert licence["api_writes"] is not is_free
    assert (licence["edition"] == "esxBasic") is is_free


def test_reading_stays_with_the_api_on_every_edition(host: Any, run_module: Any) -> None:
    result = info(run_module, host)
    assert result["transport"] == "api"
    assert result["transport_reason"] == "the API reads on every licence"


def test_reading_costs_the_same_whatever_the_number_of_machines(own_host: Any, run_module: Any) -> None:
    costs = []
    for number in range(2):
        run_module(esxi_vm, **own_host.options, name=f"vm{number}", state="poweredoff", datastore="datastore1")
        own_host.simulator.reset_counts()
        info(run_module, own_host, transport=own_host.transport)
        costs.append(len(own_host.asked()))
    # connect, log in, everything, log out; by SSH the host, then the machines
    assert costs == ([4, 4] if own_host.transport == "api" else [2, 2])


def test_a_wrong_password_is_named(host: Any, run_module: Any) -> None:
    options = {**host.options, "password": "wrong", "transport": host.transport}
    result = run_module(esxi_host_info, **options)
    assert result["failed"]
    assert "`password`" in result["msg"]
    assert "wrong" not in result["msg"]
