# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiError
from ansible_collections.edge.rack.plugins.module_utils.esxi.network import Network, PortGroup, Switch
from ansible_collections.edge.rack.plugins.modules.esxi_network import Change, apply_by_api, change_set, wanted

NOW = Network(
    {"vSwitch0": Switch("vSwitch0", 1500, 128, ("vmnic0",)), "vSwitch1": Switch("vSwitch1", 1500, 128, ("vmnic1",))},
    {
        "Management Network": PortGroup("Management Network", "vSwitch0", 0),
        "VM Network": PortGroup("VM Network", "vSwitch0", 0),
        "rack": PortGroup("rack", "vSwitch1", 7),
    },
    {"vmk0": "Management Network"},
    ("vmnic0", "vmnic1", "vmnic2"),
)


def options(vswitch: str, *groups: tuple[str, int | None], **more: Any) -> dict[str, Any]:
    return {
        "state": "present",
        "vswitch": vswitch,
        "mtu": None,
        "ports": 128,
        "uplinks": None,
        "port_groups": [{"name": name, "vlan_id": vlan} for name, vlan in groups] or None,
        "purge_port_groups": False,
        **more,
    }


def changes(given: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    steps = change_set(NOW, wanted(NOW, given), given["vswitch"])
    return [(step.what, step.old, step.new) for step in steps]


def test_what_is_not_given_stays() -> None:
    assert changes(options("vSwitch1")) == []
    assert changes(options("vSwitch1", ("rack", None))) == []
    assert changes(options("vSwitch0", ("Management Network", None))) == []


def test_a_new_switch_gets_all_that_is_given_in_order() -> None:
    steps = changes(options("lab", ("a", 7), ("b", None), mtu=9000, uplinks=["vmnic2"]))
    assert [what for what, _old, _new in steps] == ["vswitch", "mtu", "uplink vmnic2", "port group a", "port group b"]
    assert steps[-1][2] == {"vlan_id": 0}


def test_new_uplinks_come_before_old_ones_go() -> None:
    assert changes(options("vSwitch1", uplinks=["vmnic2"])) == [
        ("uplink vmnic2", None, "vmnic2"),
        ("uplink vmnic1", "vmnic1", None),
    ]


def test_a_purge_leaves_what_the_host_is_reached_by() -> None:
    assert changes(options("vSwitch0", purge_port_groups=True)) == [("port group VM Network", {"vlan_id": 0}, None)]


def test_absent_with_port_groups_leaves_the_switch() -> None:
    assert changes(options("vSwitch1", ("rack", None), state="absent")) == [("port group rack", {"vlan_id": 7}, None)]
    assert changes(options("vSwitch1", ("nowhere", None), state="absent")) == []
    assert [what for what, _old, _new in changes(options("vSwitch1", state="absent"))] == ["port group rack", "vswitch"]
    assert changes(options("nowhere", state="absent")) == []
    # A port group of that name on another switch is not meant.
    assert changes(options("vSwitch0", ("rack", None), state="absent")) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (options("vSwitch0", state="absent"), r"Removing vSwitch vSwitch0: .*cut the host off.*vmk0 \(Management"),
        (options("vSwitch0", ("Management Network", None), state="absent"), "would cut the host off: its vmk0"),
        (options("vSwitch0", ("Management Network", 5)), "from 0 to 5: that could cut the host off: its vmk0"),
        (options("vSwitch0", uplinks=[]), "Taking the uplinks vmnic0 from vSwitch vSwitch0"),
        (options("vSwitch0", uplinks=["vmnic2"]), "Keep at least one"),
        (options("vSwitch0", uplinks=["vmnic0", "vmnic1"]), "it is an uplink of vSwitch vSwitch1"),
        (options("vSwitch1", uplinks=["vmnic9"]), "it has vmnic0, vmnic1, vmnic2"),
        (options("vSwitch0", ("rack", None)), "vSwitch vSwitch1 has it already"),
        (options("vSwitch1", ("a", 4096)), "`vlan_id` of port group a: 4096"),
        (options("vSwitch1", ("a", 1), ("a", 2)), "a is there twice"),
        (options("vSwitch1", mtu=100), "`mtu`: 100"),
    ],
)
def test_refusals_name_the_thing_and_the_way_out(given: dict[str, Any], message: str) -> None:
    with pytest.raises(EsxiError, match=message):
        wanted(NOW, given)


class Recorder:
    """Stands for the session and for its object which changes networks."""

    def __init__(self) -> None:
        self.specs: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return name

    def call(self, asked: str, method: str, *arguments: Any) -> None:
        self.specs[method] = arguments[-1]


def test_by_the_api_a_change_keeps_what_nobody_asked_for() -> None:
    vim = pytest.importorskip("pyVmomi").vim
    bridge = vim.host.VirtualSwitch.BondBridge(
        nicDevice=["vmnic1"],
        beacon=vim.host.VirtualSwitch.BeaconConfig(interval=5),
        linkDiscoveryProtocolConfig=vim.host.LinkDiscoveryProtocolConfig(protocol="lldp", operation="both"),
    )
    policy = vim.host.NetworkPolicy(security=vim.host.NetworkPolicy.SecurityPolicy(allowPromiscuous=True))
    group = vim.host.PortGroup.Specification(name="rack", vlanId=7, vswitchName="vSwitch1", policy=policy)
    session = Recorder()
    now = Network(
        specs={"vSwitch1": vim.host.VirtualSwitch.Specification(numPorts=128, bridge=bridge)},
        group_specs={"rack": group},
        manager=session,
    )
    changes = [Change("uplink", "vmnic2", None, "vmnic2"), Change("vlan_id", "rack", 7, 8)]
    apply_by_api(session, now, "vSwitch1", changes)
    sent = session.specs["UpdateVirtualSwitch"].bridge
    assert list(sent.nicDevice) == ["vmnic1", "vmnic2"]
    assert sent.beacon.interval == 5
    assert sent.linkDiscoveryProtocolConfig.operation == "both"
    sent = session.specs["UpdatePortGroup"]
    assert sent.vlanId == 8
    assert sent.policy.security.allowPromiscuous
    assert group.vlanId == 7
