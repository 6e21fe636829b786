"""What boots from the network is discovered, and unknown until somebody enrols it."""

from __future__ import annotations

from pathlib import Path

from maas_region import HTTP, Region, serve, settings

MAC = "52:54:00:00:00:01"
OTHER = "52:54:00:00:00:02"


def boot(region: Region, mac: str) -> None:
    assert HTTP.get(f"{region.url}/boot/{mac}").status_code == 200


def unknown(region: Region) -> list[str]:
    found = region.call("GET", "discovery/", params={"op": "by_unknown_mac"}).json()
    return [row["mac_address"] for row in found]


def test_a_machine_that_boots_is_unknown_until_it_is_enlisted(region: Region) -> None:
    boot(region, MAC)
    boot(region, OTHER)
    assert unknown(region) == [OTHER, MAC]
    region.create("nuc", OTHER)
    assert unknown(region) == [MAC]
    seen = region.call("GET", "discovery/").json()
    assert [row["mac_address"] for row in seen] == [OTHER, MAC]
    assert len({row["ip"] for row in seen}) == 2
    assert seen[0]["observer"]["hostname"] == "maas"
    one = region.call("GET", f"discovery/{seen[0]['discovery_id']}/")
    assert one.json() == seen[0]


def test_it_has_the_address_that_dhcp_leases(region: Region) -> None:
    lease = {"type": "dynamic", "subnet": "1", "start_ip": "10.99.0.201", "end_ip": "10.99.0.220"}
    assert region.call("POST", "ipranges/", data=lease).status_code == 200
    boot(region, MAC)
    assert region.call("GET", "discovery/").json()[0]["ip"] == "10.99.0.201"


def test_discoveries_are_cleared_by_kind_only(region: Region) -> None:
    boot(region, MAC)
    refused = region.call("POST", "discovery/?op=clear")
    assert (refused.status_code, "Must specify" in refused.text) == (400, True)
    assert region.call("POST", "discovery/?op=clear", data={"mdns": "true"}).status_code == 204
    assert unknown(region) == [MAC]
    assert region.call("POST", "discovery/?op=clear", data={"all": "true"}).status_code == 204
    assert unknown(region) == []


def test_nothing_is_seen_while_discovery_is_off(region: Region) -> None:
    region.call("POST", "maas/?op=set_config", data={"name": "network_discovery", "value": "disabled"})
    boot(region, MAC)
    assert unknown(region) == []


def test_a_restart_keeps_discoveries_and_names(tmp_path: Path) -> None:
    with serve(settings(tmp_path)) as region:
        boot(region, MAC)
        region.call("POST", "dnsresources/", data={"fqdn": "registry.maas", "ip_addresses": "10.99.0.3"})
        region.call("POST", "dnsresourcerecords/", data={"fqdn": "a.maas", "rrtype": "TXT", "rrdata": "text"})
        before = [region.call("GET", path).json() for path in ("discovery/", "dnsresources/")]
    assert [len(rows) for rows in before] == [1, 2]
    with serve(settings(tmp_path)) as region:
        assert [region.call("GET", path).json() for path in ("discovery/", "dnsresources/")] == before
