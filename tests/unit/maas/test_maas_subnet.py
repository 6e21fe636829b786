# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_subnet, maas_vlan
from maas_region import Region

CIDR = "10.99.0.0/24"


def dynamic(start: int, end: int, **more: str) -> dict[str, str]:
    return {"type": "dynamic", "start": f"10.99.0.{start}", "end": f"10.99.0.{end}", **more}


def reserved(start: int, end: int, **more: str) -> dict[str, str]:
    return {"type": "reserved", "start": f"10.99.0.{start}", "end": f"10.99.0.{end}", **more}


def ranges(region: Region) -> list[tuple[str, str, str]]:
    rows = region.call("GET", "ipranges/").json()
    return [(row["type"], row["start_ip"], row["end_ip"]) for row in rows]


def test_the_life_of_a_subnet(region: Region, run_module: Any, cycle: Any) -> None:
    run_module(maas_vlan, vid=77)
    wanted = {
        "cidr": "10.78.0.0/24",
        "vid": 77,
        "gateway": "10.78.0.1",
        "dns_servers": ["10.78.0.2", "10.78.0.3"],
        "allow_dns": False,
        "description": "storage",
        "ranges": [{"type": "dynamic", "start": "10.78.0.100", "end": "10.78.0.150", "comment": "boot"}],
    }
    made = cycle(maas_subnet, **wanted)
    assert made["diff"]["before"] == {}
    shown = region.call("GET", f"subnets/{made['subnet']['id']}/").json()
    assert (shown["gateway_ip"], shown["dns_servers"]) == ("10.78.0.1", ["10.78.0.2", "10.78.0.3"])
    assert (shown["allow_dns"], shown["managed"], shown["vlan"]["vid"]) == (False, True, 77)

    # A change of one thing leaves the rest, though MAAS's form would turn on what is not sent.
    changed = cycle(maas_subnet, cidr="10.78.0.0/24", name="disks", gateway="")
    assert changed["subnet"]["allow_dns"] is False
    assert (changed["diff"]["before"]["gateway"], changed["diff"]["after"]["gateway"]) == ("10.78.0.1", "")
    assert len(changed["subnet"]["ranges"]) == 1

    moved = cycle(maas_subnet, cidr="10.78.0.0/24", vid=0)
    assert (moved["diff"]["before"]["vid"], moved["diff"]["after"]["vid"]) == (77, 0)
    cycle(maas_subnet, cidr="10.78.0.0/24", state="absent")
    assert ranges(region) == []


def test_an_address_may_be_written_in_any_way(region: Region, run_module: Any, cycle: Any) -> None:
    made = cycle(maas_subnet, cidr="fd00:78::/64", gateway="FD00:78:0:0::1", dns_servers=["fd00:0078::0002"])
    assert (made["subnet"]["gateway"], made["subnet"]["dns_servers"]) == ("fd00:78::1", ["fd00:78::2"])


def test_ranges_are_added_and_only_a_purge_removes_others(region: Region, cycle: Any) -> None:
    cycle(maas_subnet, cidr=CIDR, ranges=[dynamic(201, 220), reserved(2, 9, comment="services")])
    cycle(maas_subnet, cidr=CIDR, ranges=[reserved(10, 19)])
    assert len(ranges(region)) == 3
    cycle(maas_subnet, cidr=CIDR, ranges=[dynamic(201, 220, comment="boot")], ranges_purge=True)
    assert ranges(region) == [("dynamic", "10.99.0.201", "10.99.0.220")]


def test_dhcp_keeps_a_dynamic_range_at_every_step(
    region: Region, run_module: Any, cycle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.edge.rack.plugins.modules.maas_subnet import MaasClient

    run_module(maas_subnet, cidr=CIDR, ranges=[dynamic(201, 220), dynamic(221, 230), reserved(2, 9)])
    run_module(maas_vlan, dhcp=True)
    call, seen = MaasClient.call, []

    def watched(self: MaasClient, operation: str, **data: Any) -> Any:
        answer = call(self, operation, **data)
        if operation.startswith("IPRange") and not operation.endswith(".read"):
            seen.append([kind for kind, _, _ in ranges(region)].count("dynamic"))
        return answer

    monkeypatch.setattr(MaasClient, "call", watched)
    # Its new place overlaps both old ones, and the reserved range takes the place of the first.
    cycle(maas_subnet, cidr=CIDR, ranges=[dynamic(215, 240), reserved(2, 9), reserved(201, 214)], ranges_purge=True)
    assert len(seen) >= 3
    assert min(seen) == 1


@pytest.mark.parametrize(("options"), [{"ranges": [], "ranges_purge": True}, {"state": "absent"}])
def test_the_last_dynamic_range_is_not_taken_while_dhcp_is_on(
    run_module: Any, writes: list[str], options: dict[str, Any]
) -> None:
    run_module(maas_subnet, cidr=CIDR, ranges=[dynamic(201, 220)])
    run_module(maas_vlan, dhcp=True)
    writes.clear()
    for check in (True, False):
        refused = run_module(maas_subnet, check=check, cidr=CIDR, **options)
        assert refused["failed"]
        assert "would be left without a dynamic range" in refused["msg"]
    assert writes == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"ranges": [dynamic(20, 30), reserved(30, 40)]}, "dynamic 10.99.0.20-10.99.0.30 and reserved 10.99.0.30"),
        ({"ranges": [dynamic(30, 20)]}, "dynamic 10.99.0.30-10.99.0.20 ends before it starts"),
        ({"ranges": [{**dynamic(250, 254), "end": "10.99.1.5"}]}, "10.99.1.5 is outside of the subnet 10.99.0.0/24"),
        ({"ranges": [dynamic(0, 20)]}, "holds the network address"),
        ({"ranges": [dynamic(250, 255)]}, "holds the broadcast address"),
        ({"ranges": [{**dynamic(1, 2), "start": "ten"}]}, "ten is not an IP address"),
        ({"ranges": [dynamic(1, 20)]}, "holds 10.99.0.1 of `gateway`"),
        ({"ranges": [dynamic(205, 210)]}, "overlaps dynamic 10.99.0.201-10.99.0.220, which MAAS has"),
        ({"gateway": "10.98.0.1"}, "The gateway 10.98.0.1 is outside of 10.99.0.0/24"),
        ({"dns_servers": ["dns"]}, "dns is not an IP address. Correct `dns_servers`"),
        ({"vid": 9}, "has no VLAN 9, it has 0"),
        ({"fabric": "nowhere"}, "MAAS has no fabric nowhere"),
        ({"cidr": "10.99.0.1/24"}, "Correct `cidr`"),
    ],
)
def test_what_cannot_be_is_refused_by_name_before_anything_is_sent(
    run_module: Any, writes: list[str], options: dict[str, Any], complaint: str
) -> None:
    run_module(maas_subnet, cidr=CIDR, ranges=[dynamic(201, 220)])
    writes.clear()
    for check in (True, False):
        refused = run_module(maas_subnet, check=check, **{"cidr": CIDR, **options})
        assert refused["failed"]
        assert complaint in refused["msg"]
    assert writes == []


def test_a_dynamic_range_over_a_machines_address_is_maass_to_refuse(region: Region, run_module: Any) -> None:
    system_id = region.ready("nuc", "52:54:00:00:00:01")
    region.upload("custom/edge", b"image", "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d")
    assert region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge"}).status_code == 200
    assert region.machine(system_id)["ip_addresses"] == ["10.99.0.150"]
    refused = run_module(maas_subnet, cidr=CIDR, ranges=[dynamic(140, 160)])
    assert refused["failed"]
    assert "conflicts with an existing IP address or range" in refused["msg"]
