"""The one rack controller of the lab: on the untagged VLANs, and what serves DHCP when a VLAN has it on."""

from __future__ import annotations

from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.errors import missing
from lab.maas_simulator.region import API, Call, Region

VIDS = (0,)


def rack(region: Region) -> dict[str, Any]:
    """The controller; the keys of a real one that say something here."""
    row = region.store.row("SELECT * FROM rack")
    assert row is not None
    return {
        "system_id": row["system_id"],
        "hostname": row["hostname"],
        "fqdn": f"{row['hostname']}.maas",
        "domain": {"id": 0, "name": "maas"},
        "node_type": 4,
        "node_type_name": "Region and rack controller",
        "architecture": "amd64/generic",
        "version": region.settings.version,
        "ip_addresses": [],
        "tag_names": [],
        "resource_uri": f"{API}rackcontrollers/{row['system_id']}/",
    }


def find_rack(region: Region, name: str) -> str | None:
    """The system id of the rack that is called so."""
    row = region.store.row("SELECT system_id FROM rack WHERE ? IN (system_id, hostname)", name)
    return str(row["system_id"]) if row else None


def prepare(region: Region) -> None:
    """The rack that a region has from its beginning."""
    if region.store.row("SELECT 1 FROM rack") is None:
        region.store.db.execute("INSERT INTO rack VALUES (?, 'maas')", (region.store.new_system_id(),))


def list_racks(call: Call) -> Answer:
    """RackControllers.read"""
    return Answer.json([rack(call.region)])


def read_rack(call: Call) -> Answer:
    """RackController.read"""
    shown = rack(call.region)
    if call.params["system_id"] != shown["system_id"]:
        raise missing("RackController")
    return Answer.json(shown)


def describe_power_types(call: Call) -> Answer:
    """RackControllers.describe_power_types: what connected racks say of their drivers; here, as recorded, nothing."""
    return Answer.json([])
