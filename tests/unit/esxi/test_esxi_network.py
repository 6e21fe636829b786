# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import esxi_host_info, esxi_network, esxi_vm


@pytest.fixture
def network(own_host: Any, run_module: Any) -> Any:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module(esxi_network, check=check, **{**own_host.options, **options})

    return run


def changed(result: dict[str, Any]) -> bool:
    assert not result.get("failed"), result["msg"]
    return bool(result["changed"])


def test_the_life_of_a_switch(own_host: Any, network: Any, run_module: Any) -> None:
    groups = [{"name": "rack"}, {"name": '-x "two, three" ä', "vlan_id": 77}]
    wanted = {"vswitch": "lab 1", "mtu": 9000, "uplinks": ["vmnic1"], "port_groups": groups}
    checked = network(check=True, **wanted)
    assert changed(checked)
    assert changed(network(**wanted))
    again = network(**wanted)
    assert not changed(again)
    assert again["vswitch"] == checked["vswitch"] == checked["diff"]["after"]
    assert again["vswitch"]["port_groups"] == {"rack": 0, '-x "two, three" ä': 77}
    assert checked["diff"]["before"] == {}

    wanted = {
        "vswitch": "lab 1",
        "uplinks": ["vmnic2", "vmnic3"],
        "port_groups": [{"name": "rack", "vlan_id": 4095}],
        "purge_port_groups": True,
    }
    checked = network(check=True, **wanted)
    assert changed(checked)
    assert [(change["what"], change["new"]) for change in checked["changes"]] == [
        ('port group -x "two, three" ä', None),
        ("uplink vmnic2", "vmnic2"),
        ("uplink vmnic3", "vmnic3"),
        ("uplink vmnic1", None),
        ("vlan_id of port group rack", 4095),
    ]
    assert changed(network(**wanted))
    assert not changed(network(**wanted))
    info = run_module(esxi_host_info, **own_host.options)
    assert {"name": "lab 1", "mtu": 9000, "ports": 128, "uplinks": ["vmnic2", "vmnic3"]} in info["vswitches"]

    only = {"vswitch": "lab 1", "port_groups": [{"name": "rack"}], "state": "absent"}
    assert changed(network(**only))
    assert not changed(network(**only))
    gone = {"vswitch": "lab 1", "state": "absent"}
    assert changed(network(check=True, **gone))
    assert changed(network(**gone))
    assert not changed(network(**gone))
    assert [s["name"] for s in run_module(esxi_host_info, **own_host.options)["vswitches"]] == ["vSwitch0"]


def test_a_check_changes_nothing(own_host: Any, network: Any, run_module: Any) -> None:
    before = run_module(esxi_host_info, **own_host.options)
    network(check=True, vswitch="lab", port_groups=[{"name": "a", "vlan_id": 3}])
    network(check=True, vswitch="vSwitch0", mtu=9000, port_groups=[{"name": "VM Network"}], state="absent")
    after = run_module(esxi_host_info, **own_host.options)
    assert (before["vswitches"], before["port_groups"]) == (after["vswitches"], after["port_groups"])


def test_no_change_costs_one_read(own_host: Any, network: Any) -> None:
    own_host.simulator.reset_counts()
    assert not changed(network(vswitch="vSwitch0", uplinks=["vmnic0"], port_groups=[{"name": "VM Network"}]))
    # connect, log in, licence, networks, log out
    assert len(own_host.asked()) == (5 if own_host.transport == "api" else 1)


@pytest.mark.parametrize("power", ["poweredon", "poweredoff"])
def test_a_port_group_in_use_is_refused_with_its_machines(
    own_host: Any, network: Any, run_module: Any, power: str
) -> None:
    network(vswitch="lab", port_groups=[{"name": "rack one"}])
    made = run_module(
        esxi_vm,
        **own_host.options,
        name="the maas",
        state=power,
        datastore="datastore1",
        networks=[{"network": "rack one"}],
        wait_for_address=False,
    )
    assert not made.get("failed"), made["msg"]
    for options in (
        {"port_groups": [{"name": "rack one"}], "state": "absent"},
        {"state": "absent"},
        {"purge_port_groups": True},
    ):
        result = network(vswitch="lab", **options)
        assert result["failed"]
        assert "rack one is used by the maas" in result["msg"]
        assert network(check=True, vswitch="lab", **options)["failed"]
    assert not changed(network(vswitch="lab", port_groups=[{"name": "rack one", "vlan_id": 0}]))


def test_notes_of_machines_are_no_errors(own_host: Any, network: Any, run_module: Any) -> None:
    made = run_module(
        esxi_vm,
        **own_host.options,
        name="maas",
        state="poweredoff",
        datastore="datastore1",
        annotation="No space left on device, said the old one",
    )
    assert not made.get("failed"), made["msg"]
    assert changed(network(vswitch="vSwitch0", port_groups=[{"name": "VM Network"}], state="absent"))
    for transport in ("api", "ssh"):
        info = run_module(esxi_host_info, **{**own_host.options, "transport": transport})
        assert [vm["name"] for vm in info["vms"]] == ["maas"]


@pytest.mark.parametrize(
    "options",
    [
        {"vswitch": "vSwitch0", "state": "absent"},
        {"vswitch": "vSwitch0", "uplinks": []},
        {"vswitch": "vSwitch0", "uplinks": ["vmnic1"]},
        {"vswitch": "vSwitch0", "port_groups": [{"name": "Management Network"}], "state": "absent"},
        {"vswitch": "vSwitch0", "port_groups": [{"name": "Management Network", "vlan_id": 9}]},
    ],
)
def test_nothing_cuts_the_host_off(host: Any, run_module: Any, options: dict[str, Any]) -> None:
    result = run_module(esxi_network, **host.options, **options)
    assert result["failed"]
    assert "cut the host off" in result["msg"]
    assert "vmk0" in result["msg"]


def test_an_uplink_more_for_the_management_network_is_used(own_host: Any, network: Any) -> None:
    assert changed(network(vswitch="vSwitch0", uplinks=["vmnic0", "vmnic1"]))
    assert not changed(network(vswitch="vSwitch0", uplinks=["vmnic1", "vmnic0"]))
    assert changed(network(vswitch="vSwitch0", uplinks=["vmnic1"]))


def test_the_api_of_the_free_edition_is_refused_with_the_way_out(own_host: Any, network: Any) -> None:
    result = network(vswitch="lab", transport="api")
    assert bool(result.get("failed")) is (own_host.transport == "ssh")
    assert network(check=True, vswitch="lab 2", transport="api").get("failed") == result.get("failed")
    if own_host.transport == "ssh":
        assert "esxBasic" in result["msg"]
        assert "`transport: auto`" in result["msg"]
