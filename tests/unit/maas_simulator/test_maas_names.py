"""DNS resources and records: what a region refuses."""

from __future__ import annotations

from typing import Any

import pytest
from maas_region import Region


def record(region: Region, fqdn: str, rrtype: str, rrdata: str) -> Any:
    return region.call("POST", "dnsresourcerecords/", data={"fqdn": fqdn, "rrtype": rrtype, "rrdata": rrdata})


@pytest.mark.parametrize(
    ("fqdn", "rrtype", "rrdata", "text"),
    [
        ("there.maas", "CNAME", "b.maas", "cannot coexist with non-CNAME"),
        ("alias.maas", "CNAME", "b.maas", "Only one CNAME"),
        ("alias.maas", "TXT", "text", "cannot coexist with non-CNAME"),
        ("a.maas", "MX", "mail.maas", "Invalid MX"),
        ("_http._tcp.maas", "SRV", "80 www.maas", "Invalid SRV"),
        ("a.maas", "A", "10.0.0.1", "is not one of"),
    ],
)
def test_a_record_that_cannot_be_is_refused(region: Region, fqdn: str, rrtype: str, rrdata: str, text: str) -> None:
    region.call("POST", "dnsresources/", data={"fqdn": "there.maas", "ip_addresses": "10.99.0.3"})
    assert record(region, "alias.maas", "CNAME", "there.maas").status_code == 200
    refused = record(region, fqdn, rrtype, rrdata)
    assert refused.status_code == 400
    assert text in refused.text


def test_a_domain_that_is_not_there_is_404(region: Region) -> None:
    assert record(region, "a.example.com", "TXT", "text").status_code == 404
    assert region.call("GET", "dnsresources/", params={"fqdn": "a.example.com"}).status_code == 404


def test_an_update_without_a_ttl_takes_it_away_and_the_last_record_takes_the_name(region: Region) -> None:
    made = region.call(
        "POST", "dnsresources/", data={"fqdn": "a.maas", "ip_addresses": "10.99.0.3", "address_ttl": "9"}
    )
    path = f"dnsresources/{made.json()['id']}/"
    assert region.call("PUT", path, data={"ip_addresses": "10.99.0.4"}).json()["address_ttl"] is None
    only = record(region, "b.maas", "TXT", "text").json()
    assert region.call("DELETE", f"dnsresourcerecords/{only['id']}/").status_code == 204
    assert [row["fqdn"] for row in region.call("GET", "dnsresources/").json()] == ["a.maas"]


def test_a_machine_gets_no_address_that_has_a_name(region: Region) -> None:
    region.call("POST", "dnsresources/", data={"fqdn": "taken.maas", "ip_addresses": "10.99.0.150"})
    system_id = region.ready("nuc", "52:54:00:00:00:01")
    region.upload("custom/edge", b"image", "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d")
    assert region.call("POST", f"machines/{system_id}/?op=deploy", data={"distro_series": "edge"}).status_code == 200
    assert region.machine(system_id)["ip_addresses"] == ["10.99.0.151"]
