# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_subnet, maas_vlan
from maas_region import Region

RANGE = {"type": "dynamic", "start": "10.99.0.201", "end": "10.99.0.250"}


def vlan(region: Region, fabric: int = 0, vid: int = 0) -> dict[str, Any]:
    return dict(region.call("GET", f"fabrics/{fabric}/vlans/{vid}/").json())


def test_the_life_of_a_tagged_vlan(region: Region, cycle: Any) -> None:
    made = cycle(maas_vlan, vid=77, name="storage", mtu=9000, description="disks")
    assert made["diff"]["before"] == {}
    shown = vlan(region, vid=77)
    assert (shown["name"], shown["mtu"], shown["fabric"]) == ("storage", 9000, "fabric-0")
    changed = cycle(maas_vlan, vid=77, mtu=1500)
    assert (changed["diff"]["before"]["mtu"], changed["vlan"]["name"]) == (9000, "storage")
    cycle(maas_vlan, vid=77, state="absent")
    assert region.call("GET", "fabrics/0/vlans/77/").status_code == 404


def test_dhcp_is_switched_on_with_the_only_rack_and_off_again(region: Region, run_module: Any, cycle: Any) -> None:
    run_module(maas_subnet, cidr="10.99.0.0/24", ranges=[RANGE])
    rack = region.call("GET", "rackcontrollers/").json()[0]["system_id"]
    done = cycle(maas_vlan, dhcp=True)
    assert done["diff"]["after"]["primary_rack"] == rack
    assert (vlan(region)["dhcp_on"], vlan(region)["primary_rack"]) == (True, rack)
    # Another change leaves DHCP and its rack alone.
    cycle(maas_vlan, mtu=9000)
    assert (vlan(region)["dhcp_on"], vlan(region)["primary_rack"]) == (True, rack)
    cycle(maas_vlan, dhcp=False)
    assert vlan(region)["dhcp_on"] is False


def test_a_rack_is_named_by_its_host_name(region: Region, run_module: Any, cycle: Any) -> None:
    run_module(maas_subnet, cidr="10.99.0.0/24", ranges=[RANGE])
    done = cycle(maas_vlan, dhcp=True, primary_rack="maas")
    assert done["vlan"]["primary_rack"] == region.call("GET", "rackcontrollers/").json()[0]["system_id"]


def test_dhcp_without_a_dynamic_range_is_refused_and_in_check_mode_foretold(run_module: Any, writes: list[str]) -> None:
    refused = run_module(maas_vlan, dhcp=True)
    assert refused["failed"]
    assert "no subnet of VLAN 0 of fabric-0 has a dynamic range" in refused["msg"]
    assert "maas_subnet" in refused["msg"]
    # An earlier task of the play may bring the range.
    checked = run_module(maas_vlan, check=True, dhcp=True)
    assert checked["changed"]
    assert "no subnet of VLAN 0" in str(checked["warnings"])
    assert writes == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fabric": "nowhere"}, "MAAS has no fabric nowhere. Correct `fabric`: there is fabric-0."),
        ({"dhcp": True, "primary_rack": "nobody"}, "MAAS has no rack controller nobody"),
        ({"primary_rack": "maas", "secondary_rack": "maas"}, "are the same"),
        ({"name": "rack"}, "is always called `untagged`"),
        ({"state": "absent"}, "is the fabric's default"),
        ({"vid": 4095}, "There is no VLAN tag 4095"),
        ({"vid": 5, "mtu": 100}, "552 to 65535"),
    ],
)
def test_what_maas_would_refuse_is_refused_in_check_mode_too(
    run_module: Any, writes: list[str], options: dict[str, Any], complaint: str
) -> None:
    for check in (True, False):
        refused = run_module(maas_vlan, check=check, **options)
        assert refused["failed"]
        assert complaint in refused["msg"]
    assert writes == []


def test_a_rack_that_is_not_on_the_vlan_is_maass_to_refuse(run_module: Any) -> None:
    run_module(maas_vlan, vid=77)
    refused = run_module(maas_vlan, vid=77, primary_rack="maas")
    assert refused["failed"]
    assert "primary_rack: Select a valid choice" in refused["msg"]
