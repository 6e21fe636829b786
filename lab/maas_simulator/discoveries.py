"""`discovery/`: what was seen on the network.

A rack controller listens to ARP and remembers who asked. Here a machine is seen when it boots from the network, with
the address that DHCP would have leased to it. Follows maasserver/api/discoveries.py of MAAS.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from lab.maas_simulator.answer import DELETED, TEXT_PLAIN, Answer
from lab.maas_simulator.configuration import read
from lab.maas_simulator.errors import RefusedError, missing
from lab.maas_simulator.networks import FIRST_SUBNET, subnet_dict
from lab.maas_simulator.racks import rack
from lab.maas_simulator.region import API, Call, Region


def see(region: Region, mac: str) -> None:
    """A MAC address was heard on the lab's network."""
    if read(region, "network_discovery") != "enabled":
        return
    now = time.time()
    known = region.store.row("SELECT ip FROM neighbour WHERE mac = ?", mac)
    if known is not None:
        region.store.db.execute("UPDATE neighbour SET last_seen = ? WHERE mac = ?", (now, mac))
        return
    address = _lease(region)
    if address is not None:
        region.store.db.execute("INSERT INTO neighbour VALUES (?, ?, ?)", (mac, address, now))


def _lease(region: Region) -> str | None:
    """The address that DHCP would give: of a dynamic range, else from the end of the lab's own range."""
    used = region.store.rows("SELECT ip FROM neighbour UNION SELECT ip FROM address UNION SELECT ip FROM dnsaddress")
    taken = {row["ip"] for row in used}
    sql = "SELECT start_ip, end_ip FROM iprange WHERE subnet_id = ? AND type = 'dynamic' ORDER BY id"
    numbers: list[int] = []
    for row in region.store.rows(sql, FIRST_SUBNET):
        numbers += range(int(IPv4Address(row["start_ip"])), int(IPv4Address(row["end_ip"])) + 1)
    settings = region.settings
    numbers = numbers or list(range(int(settings.range_end), int(settings.range_start) - 1, -1))
    return next((ip for ip in map(str, map(IPv4Address, numbers)) if ip not in taken), None)


def _show(region: Region, row: Any) -> dict[str, Any]:
    number = base64.b64encode(f"{row['ip']},{row['mac']}".encode()).decode()
    vlan, observer = subnet_dict(region, FIRST_SUBNET)["vlan"], rack(region)
    return {
        "discovery_id": number,
        "ip": row["ip"],
        "mac_address": row["mac"],
        "mac_organization": None,
        "last_seen": datetime.fromtimestamp(row["last_seen"], UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3],
        "hostname": None,
        "fabric_name": vlan["fabric"],
        "vid": vlan["vid"],
        "observer": {
            "system_id": observer["system_id"],
            "hostname": observer["hostname"],
            "interface_id": 1,
            "interface_name": "eth0",
        },
        "resource_uri": f"{API}discovery/{number}/",
    }


def list_discoveries(call: Call) -> Answer:
    """Discoveries.read: the newest first."""
    rows = call.store.rows("SELECT * FROM neighbour ORDER BY last_seen DESC")
    return Answer.json([_show(call.region, row) for row in rows])


def by_unknown_mac(call: Call) -> Answer:
    """Discoveries.by_unknown_mac: without those whose MAC address a machine has."""
    rows = call.store.rows(
        "SELECT * FROM neighbour WHERE mac NOT IN (SELECT mac FROM mac) ORDER BY last_seen DESC",
    )
    return Answer.json([_show(call.region, row) for row in rows])


def read_discovery(call: Call) -> Answer:
    """Discovery.read"""
    for row in call.store.rows("SELECT * FROM neighbour"):
        shown = _show(call.region, row)
        if shown["discovery_id"] == call.params["discovery_id"]:
            return Answer.json(shown)
    raise missing("Discovery")


def clear(call: Call) -> Answer:
    """Discoveries.clear: of `all`, `neighbours` or `mdns`; of the last there are none here."""
    if not any(call.data.flag(name) for name in ("all", "mdns", "neighbours")):
        text = (
            "Bad request: could not determine what data to clear.\n"
            "Must specify mdns=True, neighbours=True, or all=True."
        )
        raise RefusedError(Answer(400, text, TEXT_PLAIN))
    if call.data.flag("all") or call.data.flag("neighbours"):
        call.store.db.execute("DELETE FROM neighbour")
    return DELETED
