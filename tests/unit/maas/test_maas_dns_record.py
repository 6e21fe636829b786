# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_dns_record
from maas_region import Region


def resources(region: Region) -> list[dict[str, Any]]:
    return list(region.call("GET", "dnsresources/").json())


def test_addresses_of_a_name_come_change_and_go(region: Region, cycle: Any) -> None:
    made = cycle(maas_dns_record, fqdn="registry.maas", values=["10.99.0.3"], ttl_seconds=60)
    assert made["diff"]["before"]["values"] == []
    assert made["dns_record"] == {
        "fqdn": "registry.maas",
        "type": "A",
        "values": ["10.99.0.3"],
        "ttl_seconds": 60,
    }
    cycle(maas_dns_record, fqdn="registry.maas", type="AAAA", values=["2001:DB8::3"])
    # A change of the ones leaves the others, and the time to live, though MAAS's form takes away one that is not sent.
    changed = cycle(maas_dns_record, fqdn="registry.maas.", values=["10.99.0.5", "10.99.0.4"])
    assert (changed["dns_record"]["values"], changed["dns_record"]["ttl_seconds"]) == (["10.99.0.4", "10.99.0.5"], 60)
    (shown,) = resources(region)
    assert sorted(one["ip"] for one in shown["ip_addresses"]) == ["10.99.0.4", "10.99.0.5", "2001:db8::3"]

    gone = cycle(maas_dns_record, fqdn="registry.maas", state="absent")
    assert gone["dns_record"]["values"] == []
    assert [one["ip"] for one in resources(region)[0]["ip_addresses"]] == ["2001:db8::3"]
    cycle(maas_dns_record, fqdn="registry.maas", type="AAAA", state="absent")
    assert resources(region) == []


@pytest.mark.parametrize(
    ("kind", "fqdn", "first", "second"),
    [
        ("CNAME", "images.maas", ["registry.maas"], ["other.maas"]),
        ("TXT", "note.maas", ["one text", "another"], ["another", "third"]),
        ("MX", "maas", ["10 mail.maas", "20 mail2.maas"], ["10 mail.maas"]),
        ("SRV", "_http._tcp.maas", ["0 5 80 www.maas"], ["0 5 80 www.maas", "1 5 80 www2.maas"]),
    ],
)
def test_other_records_come_change_and_go(
    region: Region, cycle: Any, kind: str, fqdn: str, first: list[str], second: list[str]
) -> None:
    cycle(maas_dns_record, fqdn=fqdn, type=kind, values=first)
    cycle(maas_dns_record, fqdn=fqdn, type=kind, values=second, ttl_seconds=300)
    (shown,) = resources(region)
    assert shown["fqdn"] == fqdn
    assert sorted((record["rrdata"], record["ttl"]) for record in shown["resource_records"]) == [
        (value, 300) for value in sorted(second)
    ]
    cycle(maas_dns_record, fqdn=fqdn, type=kind, state="absent")
    assert resources(region) == []


def test_the_order_of_values_is_no_change(run_module: Any, writes: list[str]) -> None:
    run_module(maas_dns_record, fqdn="a.maas", values=["10.99.0.3", "10.99.0.4"])
    writes.clear()
    assert not run_module(maas_dns_record, fqdn="a.maas", values=["10.99.0.4", "10.99.0.3"])["changed"]
    assert writes == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fqdn": "a.example.com", "values": ["10.0.0.1"]}, "MAAS serves no domain of a.example.com"),
        ({"fqdn": "a.b.maas", "values": ["10.0.0.1"]}, "MAAS serves maas, not b.maas"),
        ({"fqdn": "a.maas", "type": "SRV", "values": ["0 0 80 b"]}, "_SERVICE._PROTOCOL.maas"),
        ({"fqdn": "a.maas", "values": ["ten"]}, "ten is not an IP address"),
        ({"fqdn": "a.maas", "values": ["2001:db8::1"]}, "is no value of an A record"),
        ({"fqdn": "a.maas", "values": []}, "`state: absent` removes them"),
        ({"fqdn": "a.maas", "type": "MX", "values": ["mail.maas"]}, "PREFERENCE SERVER"),
        ({"fqdn": "a.maas", "type": "CNAME", "values": ["b.maas", "c.maas"]}, "Give one of `values`"),
        ({"fqdn": "there.maas", "type": "CNAME", "values": ["b.maas"]}, "has A or AAAA records"),
        ({"fqdn": "alias.maas", "values": ["10.99.0.3"]}, "has CNAME records"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    run_module: Any, writes: list[str], options: dict[str, Any], complaint: str
) -> None:
    run_module(maas_dns_record, fqdn="there.maas", values=["10.99.0.3"])
    run_module(maas_dns_record, fqdn="alias.maas", type="CNAME", values=["there.maas"])
    writes.clear()
    for check in (True, False):
        refused = run_module(maas_dns_record, check=check, **options)
        assert refused["failed"]
        assert complaint in refused["msg"]
    assert writes == []


def test_what_maas_refuses_is_named_with_its_reason(run_module: Any) -> None:
    refused = run_module(maas_dns_record, fqdn="a.maas", type="MX", values=["70000 mail.maas"])
    assert refused["failed"]
    assert "Invalid MX" in refused["msg"]
