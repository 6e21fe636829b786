"""Fabrics, VLANs, subnets, ranges: what a region refuses, and that a restart loses none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from maas_region import Region, serve, settings

RANGE = {"type": "dynamic", "subnet": "1", "start_ip": "10.99.0.201", "end_ip": "10.99.0.220"}


def _dhcp_on(region: Region, **more: str) -> Any:
    return region.call("PUT", "fabrics/0/vlans/0/", data={"dhcp_on": "true", **more})


def test_dhcp_needs_a_dynamic_range_and_a_rack_on_the_vlan(region: Region) -> None:
    no_range = _dhcp_on(region, primary_rack="maas")
    assert (no_range.status_code, no_range.json()) == (
        400,
        {"dhcp_on": ["dhcp can only be turned on when a dynamic IP range is defined."]},
    )
    assert region.call("POST", "ipranges/", data=RANGE).status_code == 200
    no_rack = _dhcp_on(region)
    assert (no_rack.status_code, no_rack.json()) == (
        400,
        {"__all__": ["dhcp can only be turned on when a primary rack controller is set."]},
    )
    rack = region.call("GET", "rackcontrollers/").json()[0]["system_id"]
    on = _dhcp_on(region, primary_rack="maas").json()
    assert (on["dhcp_on"], on["primary_rack"]) == (True, rack)

    region.call("POST", "fabrics/0/vlans/", data={"vid": "77"})
    elsewhere = region.call("PUT", "fabrics/0/vlans/77/", data={"primary_rack": rack})
    assert elsewhere.status_code == 400
    assert list(elsewhere.json()) == ["primary_rack"]


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"start_ip": "10.99.0.210", "end_ip": "10.99.0.230"}, "start_ip", "conflicts with an existing IP address or"),
        ({"start_ip": "10.99.0.215", "end_ip": "10.99.0.216", "type": "reserved"}, "end_ip", "an existing range."),
        ({"start_ip": "10.99.0.1", "end_ip": "10.99.0.9"}, "start_ip", "conflicts with an existing IP address or"),
        ({"start_ip": "10.99.0.40", "end_ip": "10.99.0.30"}, "end_ip", "must not be less than Start IP"),
        ({"start_ip": "10.99.0.250", "end_ip": "10.99.1.3"}, "end_ip", "must be within subnet: 10.99.0.0/24"),
        ({"start_ip": "10.99.0.250", "end_ip": "10.99.0.255"}, "end_ip", "Broadcast address cannot be included"),
        ({"start_ip": ""}, "start_ip", "This field is required."),
        ({"type": "odd"}, "type", "Select a valid choice."),
    ],
)
def test_a_range_that_cannot_be_is_refused(region: Region, change: dict[str, str], field: str, text: str) -> None:
    region.call("POST", "ipranges/", data=RANGE)
    refused = region.call("POST", "ipranges/", data=RANGE | change)
    assert refused.status_code == 400
    assert text in refused.json()[field][0]


def test_a_range_may_grow_over_its_own_place(region: Region) -> None:
    made = region.call("POST", "ipranges/", data=RANGE).json()
    moved = region.call("PUT", f"ipranges/{made['id']}/", data={"end_ip": "10.99.0.240"}).json()
    assert (moved["start_ip"], moved["end_ip"]) == ("10.99.0.201", "10.99.0.240")


def test_a_machine_gets_no_address_of_a_range(region: Region) -> None:
    region.call("POST", "ipranges/", data=RANGE | {"start_ip": "10.99.0.150", "end_ip": "10.99.0.160"})
    system_id = region.ready("nuc", "52:54:00:00:00:01")
    region.upload("custom/edge", b"image", "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d")
    assert region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge"}).status_code == 200
    assert region.machine(system_id)["ip_addresses"] == ["10.99.0.161"]


def test_what_an_update_of_a_subnet_leaves_out_is_turned_on(region: Region) -> None:
    off = {"allow_dns": "false", "managed": "false"}
    assert region.call("PUT", "subnets/1/", data=off).json()["managed"] is False
    assert region.call("PUT", "subnets/1/", data={"name": "rack"}).json()["managed"] is True


def test_fabrics_and_vlans_in_use_are_kept(region: Region) -> None:
    fabric = region.call("POST", "fabrics/", data={"name": "lab"}).json()
    assert (fabric["id"], fabric["vlans"][0]["name"]) == (1, "untagged")
    taken = region.call("POST", "fabrics/", data={"name": "lab"})
    assert taken.json() == {"name": ["Fabric with this Name already exists."]}
    region.call("POST", "subnets/", data={"cidr": "10.98.0.0/24", "fabric": "1"})
    assert "10.98.0.0/24" in region.call("DELETE", "fabrics/1/").json()["__all__"][0]
    assert region.call("DELETE", "fabrics/1/vlans/0/").status_code == 400
    assert region.call("DELETE", "fabrics/0/").status_code == 400


def test_a_restart_keeps_networks_and_settings(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    paths = ["fabrics/", "subnets/", "ipranges/", "rackcontrollers/", "maas/?op=get_config&name=ntp_servers"]
    with serve(chosen) as region:
        region.call("POST", "fabrics/", data={"name": "lab"})
        region.call("POST", "subnets/", data={"cidr": "10.98.0.0/24", "fabric": "1"})
        region.call("POST", "ipranges/", data=RANGE)
        _dhcp_on(region, primary_rack="maas")
        region.call("POST", "maas/?op=set_config", data={"name": "ntp_servers", "value": "a.example.com"})
        before = [region.call("GET", path).json() for path in paths]
    assert before[0][0]["vlans"][0]["dhcp_on"] is True
    with serve(chosen) as region:
        assert [region.call("GET", path).json() for path in paths] == before
