"""IP ranges: dynamic ones are for DHCP, reserved ones for nobody. Checks as in maasserver/models/iprange.py."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from lab.maas_simulator.account import user_dict
from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import RefusedError, form_errors, missing
from lab.maas_simulator.networks import subnet_dict, subnet_of
from lab.maas_simulator.region import API, Call, Region

Address = IPv4Address | IPv6Address
_BOTH = ("start_ip", "end_ip")


def _show(region: Region, row: Any) -> dict[str, Any]:
    return {
        "subnet": subnet_dict(region, row["subnet_id"]),
        "type": row["type"],
        "start_ip": row["start_ip"],
        "end_ip": row["end_ip"],
        "user": user_dict(region.settings.username),
        "comment": row["comment"],
        "id": row["id"],
        "resource_uri": f"{API}ipranges/{row['id']}/",
    }


def _range(call: Call) -> Any:
    row = call.store.row("SELECT * FROM iprange WHERE CAST(id AS TEXT) = ?", call.params["id"])
    if row is None:
        raise missing("IPRange")
    return row


def list_ranges(call: Call) -> Answer:
    """IPRanges.read"""
    return Answer.json([_show(call.region, row) for row in call.store.rows("SELECT * FROM iprange ORDER BY id")])


def read_range(call: Call) -> Answer:
    """IPRange.read"""
    return Answer.json(_show(call.region, _range(call)))


def create_range(call: Call) -> Answer:
    """IPRanges.create: without a subnet, the one that the addresses are in."""
    data = call.data
    absent = [name for name in ("type", *_BOTH) if not data.get(name)]
    if absent:
        raise form_errors({name: ["This field is required."] for name in absent})
    if data.get("type") not in ("dynamic", "reserved"):
        text = f"Select a valid choice. {data.get('type')} is not one of the available choices."
        raise form_errors({"type": [text]})
    start, end = _addresses(data.get("start_ip"), data.get("end_ip"))
    subnet = _subnet(call, start)
    _check(call, subnet, data.get("type"), start, end, None)
    cursor = call.store.db.execute(
        "INSERT INTO iprange (subnet_id, type, start_ip, end_ip, comment) VALUES (?, ?, ?, ?, ?)",
        (subnet["id"], data.get("type"), str(start), str(end), data.get("comment")),
    )
    row = call.store.row("SELECT * FROM iprange WHERE id = ?", cursor.lastrowid)
    return Answer.json(_show(call.region, row))


def update_range(call: Call) -> Answer:
    """IPRange.update"""
    row, data = _range(call), call.data
    start, end = _addresses(data.get("start_ip") or row["start_ip"], data.get("end_ip") or row["end_ip"])
    subnet = call.store.row("SELECT * FROM subnet WHERE id = ?", row["subnet_id"])
    _check(call, subnet, row["type"], start, end, row["id"])
    values = (str(start), str(end), data.get("comment", row["comment"]), row["id"])
    call.store.db.execute("UPDATE iprange SET start_ip = ?, end_ip = ?, comment = ? WHERE id = ?", values)
    return Answer.json(_show(call.region, call.store.row("SELECT * FROM iprange WHERE id = ?", row["id"])))


def delete_range(call: Call) -> Answer:
    """IPRange.delete; DHCP stays on even when no dynamic range is left."""
    call.store.db.execute("DELETE FROM iprange WHERE id = ?", (_range(call)["id"],))
    return DELETED


def _refused(text: str, *fields: str) -> RefusedError:
    return form_errors({field: [text] for field in fields or _BOTH})


def _addresses(start: str, end: str) -> tuple[Address, Address]:
    parsed = []
    for field, text in zip(_BOTH, (start, end), strict=True):
        try:
            parsed.append(ip_address(text))
        except ValueError:
            raise _refused("Enter a valid IPv4 or IPv6 address.", field) from None
    return parsed[0], parsed[1]


def _subnet(call: Call, start: Address) -> Any:
    wanted = call.data.get("subnet")
    if wanted:
        text = wanted.removeprefix("cidr:")
        row = call.store.row("SELECT * FROM subnet WHERE ? IN (CAST(id AS TEXT), cidr, name)", text)
        if row is None:
            text = "Select a valid choice. That choice is not one of the available choices."
            raise form_errors({"subnet": [text]})
        return row
    found = subnet_of(call.region, str(start))
    if found is None:
        raise form_errors({"subnet": ["This field is required."]})
    return call.store.row("SELECT * FROM subnet WHERE id = ?", found)


def _check(call: Call, subnet: Any, kind: str, start: Address, end: Address, current: int | None) -> None:
    cidr = ip_network(subnet["cidr"])
    if start.version != end.version:
        raise _refused("Start IP address and end IP address must be in the same address family.")
    if int(end) < int(start):
        raise _refused("End IP address must not be less than Start IP address.", "end_ip")
    if start not in cidr and end not in cidr:
        raise _refused(f"IP addresses must be within subnet: {cidr}.")
    if start not in cidr:
        raise _refused(f"Start IP address must be within subnet: {cidr}.", "start_ip")
    if end not in cidr:
        raise _refused(f"End IP address must be within subnet: {cidr}.", "end_ip")
    if start == cidr.network_address:
        raise _refused("Reserved network address cannot be included in IP range.", "start_ip")
    if cidr.version == 4 and end == cidr.broadcast_address:
        raise _refused("Broadcast address cannot be included in IP range.", "end_ip")
    if start.version == 6 and kind == "dynamic" and int(end) - int(start) < 255:
        raise _refused("IPv6 dynamic range must be at least 256 addresses in size.")
    if any(first <= int(end) and int(start) <= last for first, last in _in_use(call, subnet, kind, current)):
        what = "range" if kind == "reserved" else "IP address or range"
        raise _refused(f"Requested {kind} range conflicts with an existing {what}.")


def _in_use(call: Call, subnet: Any, kind: str, current: int | None) -> list[tuple[int, int]]:
    """A reserved range may cover addresses that are in use, a dynamic one may not."""
    used = ranges_of(call.region, subnet["id"], current)
    if kind == "dynamic":
        used += [(int(ip_address(ip)), int(ip_address(ip))) for ip in _single_addresses(call, subnet)]
    return used


def ranges_of(region: Region, subnet_id: int, but: int | None = None) -> list[tuple[int, int]]:
    """First and last address of each range of a subnet."""
    rows = region.store.rows("SELECT * FROM iprange WHERE subnet_id = ?", subnet_id)
    return [(int(ip_address(row["start_ip"])), int(ip_address(row["end_ip"]))) for row in rows if row["id"] != but]


def _single_addresses(call: Call, subnet: Any) -> list[str]:
    configured = [row["ip"] for row in call.store.rows("SELECT ip FROM address")]
    named = [row["ip"] for row in call.store.rows("SELECT ip FROM dnsaddress")]
    special = [subnet["gateway_ip"], *json.loads(subnet["dns_servers"])]
    return [ip for ip in (*configured, *named, *special) if ip]
