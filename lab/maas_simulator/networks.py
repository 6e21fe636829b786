"""Fabrics, VLANs and subnets.

A region begins with one fabric, its untagged VLAN and the subnet of the settings. Checks and texts that no recording
has follow MAAS's published source (maasserver/forms/vlan.py and subnet.py, models/fabric.py and vlan.py).
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import form_errors, missing, not_simulated
from lab.maas_simulator.forms import Fields
from lab.maas_simulator.racks import VIDS, find_rack
from lab.maas_simulator.region import API, Call, Region

FIRST_SUBNET = 1
_NO_CHOICE = "Select a valid choice. That choice is not one of the available choices."
_YES = ("true", "t", "1")


def prepare(region: Region) -> None:
    """What a region has from its beginning; 3.6 counts VLANs from 5001."""
    if region.store.row("SELECT 1 FROM fabric"):
        return
    first = 5001 if region.release >= (3, 6) else 1
    settings = region.settings
    region.store.db.execute("INSERT INTO fabric VALUES (0, 'fabric-0', '', NULL)")
    region.store.db.execute("INSERT INTO vlan (id, fabric_id, vid) VALUES (?, 0, 0)", (first,))
    region.store.db.execute(
        "INSERT INTO subnet (id, vlan_id, cidr, name, gateway_ip) VALUES (?, ?, ?, ?, ?)",
        (FIRST_SUBNET, first, str(settings.subnet), str(settings.subnet), str(settings.gateway)),
    )


# -- As the API shows them ----------------------------------------------------------------------


def vlan_dict(region: Region, vlan_id: int) -> dict[str, Any]:
    """A VLAN; its description is not among what a region tells."""
    known = region.shown.get(("vlan", vlan_id))
    if known is None:
        row = region.store.row(
            "SELECT vlan.*, fabric.name AS fabric_name, (SELECT min(id) FROM vlan AS v WHERE v.fabric_id = fabric.id)"
            " AS first FROM vlan JOIN fabric ON fabric.id = fabric_id WHERE vlan.id = ?",
            vlan_id,
        )
        assert row is not None
        known = region.shown["vlan", vlan_id] = {
            "vid": row["vid"],
            "mtu": row["mtu"],
            "dhcp_on": bool(row["dhcp_on"]),
            "external_dhcp": None,
            "relay_vlan": None,
            "primary_rack": row["primary_rack"],
            "fabric_id": row["fabric_id"],
            "id": row["id"],
            "fabric": row["fabric_name"],
            "secondary_rack": row["secondary_rack"],
            "space": "undefined",
            # Whatever its name is: VLAN.get_name.
            "name": "untagged" if row["first"] == row["id"] else row["name"] or str(row["vid"]),
            "resource_uri": f"{API}vlans/{row['id']}/",
        }
    return known


def subnet_dict(region: Region, subnet_id: int) -> dict[str, Any]:
    """A subnet with its VLAN."""
    known = region.shown.get(("subnet", subnet_id))
    if known is None:
        row = region.store.row("SELECT * FROM subnet WHERE id = ?", subnet_id)
        assert row is not None
        known = region.shown["subnet", subnet_id] = {
            "name": row["name"],
            "description": row["description"],
            "vlan": vlan_dict(region, row["vlan_id"]),
            "cidr": row["cidr"],
            "rdns_mode": row["rdns_mode"],
            "gateway_ip": row["gateway_ip"],
            "dns_servers": json.loads(row["dns_servers"]),
            **{name: bool(row[name]) for name in ("allow_dns", "allow_proxy", "active_discovery", "managed")},
            "disabled_boot_architectures": [],
            "id": row["id"],
            "space": "undefined",
            "resource_uri": f"{API}subnets/{row['id']}/",
        }
    return known


def subnet_of(region: Region, address: str) -> int | None:
    """The smallest subnet that an address is in."""
    if ip_address(address).version == 6:
        return None
    found = [
        (IPv4Network(row["cidr"]).prefixlen, int(row["id"]))
        for row in region.store.rows("SELECT id, cidr FROM subnet")
        if ":" not in row["cidr"] and ip_address(address) in IPv4Network(row["cidr"])
    ]
    return max(found)[1] if found else None


def _fabric_dict(call: Call, row: Any) -> dict[str, Any]:
    vlans = call.store.rows("SELECT id FROM vlan WHERE fabric_id = ? ORDER BY id", row["id"])
    return {
        "class_type": row["class_type"],
        "vlans": [vlan_dict(call.region, vlan["id"]) for vlan in vlans],
        "id": row["id"],
        "name": row["name"],
        "resource_uri": f"{API}fabrics/{row['id']}/",
    }


def _changed(call: Call) -> None:
    call.region.shown.clear()


# -- Fabrics ------------------------------------------------------------------------------------


def _fabric(call: Call, wanted: str) -> Any:
    column = "CAST(id AS TEXT)" if wanted.isdigit() else "name"
    row = call.store.row(f"SELECT * FROM fabric WHERE {column} = ?", wanted.removeprefix("name:"))  # noqa: S608
    if row is None:
        raise missing("Fabric")
    return row


def list_fabrics(call: Call) -> Answer:
    """Fabrics.read"""
    return Answer.json([_fabric_dict(call, row) for row in call.store.rows("SELECT * FROM fabric ORDER BY id")])


def read_fabric(call: Call) -> Answer:
    """Fabric.read, by number or name."""
    return Answer.json(_fabric_dict(call, _fabric(call, call.params["id"])))


def create_fabric(call: Call) -> Answer:
    """Fabrics.create: with an untagged VLAN."""
    name = call.data.get("name")
    number = call.store.next_id("fabric")
    if name:
        _check_fabric_name(call, name, None)
    values = (number, name or f"fabric-{number}", call.data.get("description"), call.data.get("class_type") or None)
    call.store.db.execute("INSERT INTO fabric VALUES (?, ?, ?, ?)", values)
    call.store.db.execute("INSERT INTO vlan (fabric_id, vid) VALUES (?, 0)", (number,))
    return Answer.json(_fabric_dict(call, _fabric(call, str(number))))


def _check_fabric_name(call: Call, name: str, current: int | None) -> None:
    if not re.fullmatch(r"[\w-]+", name):
        raise form_errors({"name": [f"Invalid fabric name: {name}."]})
    if re.fullmatch(r"fabric-\d+", name) and name != f"fabric-{current}":
        raise form_errors({"name": ["Reserved fabric name."]})
    other = call.store.row("SELECT id FROM fabric WHERE name = ?", name)
    if other is not None and other["id"] != current:
        raise form_errors({"name": ["Fabric with this Name already exists."]})


def update_fabric(call: Call) -> Answer:
    """Fabric.update"""
    row = _fabric(call, call.params["id"])
    name = call.data.get("name") or row["name"]
    _check_fabric_name(call, name, row["id"])
    values = (name, call.data.get("description", row["description"]), row["id"])
    call.store.db.execute("UPDATE fabric SET name = ?, description = ? WHERE id = ?", values)
    _changed(call)
    return Answer.json(_fabric_dict(call, _fabric(call, str(row["id"]))))


def delete_fabric(call: Call) -> Answer:
    """Fabric.delete: neither the default one nor one with subnets."""
    row = _fabric(call, call.params["id"])
    if row["id"] == 0:
        raise form_errors({"__all__": ["This fabric is the default fabric, it cannot be deleted."]})
    subnets = call.store.rows(
        "SELECT cidr FROM subnet JOIN vlan ON vlan.id = vlan_id WHERE fabric_id = ? ORDER BY cidr", row["id"]
    )
    if subnets:
        listed = ", ".join(subnet["cidr"] for subnet in subnets)
        text = f"Can't delete fabric; the following subnets are still present: {listed}"
        raise form_errors({"__all__": [text]})
    call.store.db.execute("DELETE FROM fabric WHERE id = ?", (row["id"],))
    _changed(call)
    return DELETED


# -- VLANs --------------------------------------------------------------------------------------


def _vlan(call: Call) -> Any:
    fabric = _fabric(call, call.params["fabric_id"])
    row = call.store.row(
        "SELECT * FROM vlan WHERE fabric_id = ? AND CAST(vid AS TEXT) = ?", fabric["id"], call.params["vid"]
    )
    if row is None:
        raise missing("VLAN")
    return row


def list_vlans(call: Call) -> Answer:
    """Vlans.read"""
    return Answer.json(_fabric_dict(call, _fabric(call, call.params["fabric_id"]))["vlans"])


def read_vlan(call: Call) -> Answer:
    """Vlan.read"""
    return Answer.json(vlan_dict(call.region, _vlan(call)["id"]))


def create_vlan(call: Call) -> Answer:
    """Vlans.create"""
    fabric = _fabric(call, call.params["fabric_id"])
    if not call.data.get("vid"):
        raise form_errors({"vid": ["This field is required."]})
    cursor = call.store.db.execute(
        "INSERT INTO vlan (fabric_id, vid) VALUES (?, ?)", (fabric["id"], _free_vid(call, fabric["id"], None))
    )
    row = call.store.row("SELECT * FROM vlan WHERE id = ?", cursor.lastrowid)
    _write_vlan(call, row, call.data)
    return Answer.json(vlan_dict(call.region, int(cursor.lastrowid or 0)))


def _free_vid(call: Call, fabric_id: int, current: int | None) -> int:
    vid = _whole(call.data, "vid", 0, 4094, "VID must be between 0 and 4094.")
    taken = call.store.row("SELECT id FROM vlan WHERE fabric_id = ? AND vid = ?", fabric_id, vid)
    if taken is not None and taken["id"] != current:
        raise form_errors({"__all__": ["A VLAN with the specified VID already exists in the destination fabric."]})
    return vid


def _whole(data: Fields, name: str, least: int, most: int, text: str) -> int:
    value = data.get(name).strip()
    if not re.fullmatch(r"-?\d+", value):
        raise form_errors({name: ["Enter a whole number."]})
    if not least <= int(value) <= most:
        raise form_errors({name: [text]})
    return int(value)


def update_vlan(call: Call) -> Answer:
    """Vlan.update"""
    row = _vlan(call)
    _write_vlan(call, row, call.data)
    return Answer.json(vlan_dict(call.region, row["id"]))


def _write_vlan(call: Call, row: Any, data: Fields) -> None:
    for name in ("space", "fabric", "relay_vlan"):
        if data.get(name):
            raise not_simulated(f"Vlan field {name}")
    new = {key: row[key] for key in ("vid", "name", "description", "mtu", "dhcp_on", "primary_rack", "secondary_rack")}
    if data.get("vid"):
        new["vid"] = _free_vid(call, row["fabric_id"], row["id"])
    if data.get("mtu"):
        new["mtu"] = _whole(data, "mtu", 552, 65535, "MTU must be between 552 and 65535.")
    for name in ("name", "description"):
        if name in data:
            new[name] = data.get(name) or (None if name == "name" else "")
    if new["name"] and not re.fullmatch(r"[ \w-]+", new["name"]):
        raise form_errors({"name": ["Enter a valid value."]})
    _read_racks(call, row, data, new)
    if "dhcp_on" in data:
        new["dhcp_on"] = data.get("dhcp_on").lower() != "false" and data.get("dhcp_on") != ""
    if new["dhcp_on"] and "dhcp_on" in data and not _dynamic_ranges(call, row["id"]):
        raise form_errors({"dhcp_on": ["dhcp can only be turned on when a dynamic IP range is defined."]})
    if new["dhcp_on"] and not new["primary_rack"]:
        raise form_errors({"__all__": ["dhcp can only be turned on when a primary rack controller is set."]})
    call.store.db.execute(
        "UPDATE vlan SET vid = :vid, name = :name, description = :description, mtu = :mtu, dhcp_on = :dhcp_on,"
        " primary_rack = :primary_rack, secondary_rack = :secondary_rack WHERE id = :id",
        {**new, "id": row["id"]},
    )
    _changed(call)


def _read_racks(call: Call, row: Any, data: Fields, new: dict[str, Any]) -> None:
    for name in ("primary_rack", "secondary_rack"):
        wanted = data.get(name)
        if name not in data:
            continue
        found = find_rack(call.region, wanted) if row["vid"] in VIDS else None
        if wanted and found is None:
            raise form_errors({name: [f"Select a valid choice. {wanted} is not one of the available choices."]})
        new[name] = found if wanted else None
    if not new["primary_rack"] and row["secondary_rack"]:
        new["primary_rack"], new["secondary_rack"] = row["secondary_rack"], None
    if data.get("secondary_rack") and new["secondary_rack"] == row["primary_rack"]:
        text = f"{new['secondary_rack']} is already set as the primary rack controller"
        raise form_errors({"__all__": [text]})
    if new["primary_rack"] and new["primary_rack"] == new["secondary_rack"]:
        raise form_errors({"__all__": ["The primary and secondary rack must be different"]})


def _dynamic_ranges(call: Call, vlan_id: int) -> bool:
    sql = "SELECT 1 FROM iprange JOIN subnet ON subnet.id = subnet_id WHERE type = 'dynamic' AND vlan_id = ?"
    return call.store.row(sql, vlan_id) is not None


def delete_vlan(call: Call) -> Answer:
    """Vlan.delete: its subnets go to the fabric's default VLAN."""
    row = _vlan(call)
    default = call.store.row("SELECT min(id) AS id FROM vlan WHERE fabric_id = ?", row["fabric_id"])
    assert default is not None
    if default["id"] == row["id"]:
        raise form_errors({"__all__": ["This VLAN is the default VLAN in the fabric, it cannot be deleted."]})
    call.store.db.execute("UPDATE subnet SET vlan_id = ? WHERE vlan_id = ?", (default["id"], row["id"]))
    call.store.db.execute("DELETE FROM vlan WHERE id = ?", (row["id"],))
    _changed(call)
    return DELETED


# -- Subnets ------------------------------------------------------------------------------------


def find_subnet(call: Call, wanted: str) -> Any:
    """A subnet by its number, its name, its CIDR; 404 where there is none."""
    text = wanted.removeprefix("cidr:").removeprefix("name:")
    row = call.store.row("SELECT * FROM subnet WHERE ? IN (CAST(id AS TEXT), cidr, name)", text)
    if row is None:
        raise missing("Subnet")
    return row


def list_subnets(call: Call) -> Answer:
    """Subnets.read"""
    rows = call.store.rows("SELECT id FROM subnet ORDER BY id")
    return Answer.json([subnet_dict(call.region, row["id"]) for row in rows])


def read_subnet(call: Call) -> Answer:
    """Subnet.read"""
    return Answer.json(subnet_dict(call.region, find_subnet(call, call.params["id"])["id"]))


def create_subnet(call: Call) -> Answer:
    """Subnets.create, on the default VLAN unless told otherwise."""
    if not call.data.get("cidr"):
        raise form_errors({"cidr": ["This field is required."]})
    new = {
        "vlan_id": _vlan_of_new_subnet(call),
        "cidr": "",
        "name": call.data.get("name"),
        "description": "",
        "gateway_ip": None,
        "dns_servers": "[]",
        "rdns_mode": 2,
        "active_discovery": False,
    }
    new = _read_subnet(call, new, None)
    new["name"] = new["name"] or new["cidr"]
    columns = ", ".join(new)
    marks = ", ".join(f":{name}" for name in new)
    cursor = call.store.db.execute(f"INSERT INTO subnet ({columns}) VALUES ({marks})", new)  # noqa: S608
    return Answer.json(subnet_dict(call.region, int(cursor.lastrowid or 0)))


def _vlan_of_new_subnet(call: Call) -> int:
    data = call.data
    fabric = data.get("fabric") or "0"
    if data.get("vlan"):
        return _vlan_by_id(call, data.get("vlan"))
    if call.store.row("SELECT 1 FROM fabric WHERE CAST(id AS TEXT) = ?", fabric) is None:
        raise form_errors({"fabric": [_NO_CHOICE]})
    vid = data.get("vid")
    if not vid or vid == "0":
        row = call.store.row("SELECT min(id) AS id FROM vlan WHERE CAST(fabric_id AS TEXT) = ?", fabric)
    else:
        row = call.store.row(
            "SELECT id FROM vlan WHERE CAST(fabric_id AS TEXT) = ? AND CAST(vid AS TEXT) = ?", fabric, vid
        )
    if row is None:
        where = "default fabric" if not data.get("fabric") else f"fabric {fabric}"
        raise form_errors({"vid": [f"No VLAN with vid {vid} in {where}."]})
    return int(row["id"])


def _vlan_by_id(call: Call, wanted: str) -> int:
    row = call.store.row("SELECT id FROM vlan WHERE CAST(id AS TEXT) = ?", wanted)
    if row is None:
        raise form_errors({"vlan": [_NO_CHOICE]})
    return int(row["id"])


def _read_subnet(call: Call, new: dict[str, Any], current: int | None) -> dict[str, Any]:
    data = call.data
    if "space" in data:
        text = "Spaces may no longer be set on subnets. Set the space on the underlying VLAN."
        raise form_errors({"space": [text]})
    if data.get("disabled_boot_architectures"):
        raise not_simulated("Subnet.disabled_boot_architectures")
    if data.get("cidr"):
        new["cidr"] = _read_cidr(call, data.get("cidr"), current)
    for name in ("name", "description"):
        if name in data:
            new[name] = data.get(name) or new[name]
    if data.get("description") == "" and "description" in data:
        new["description"] = ""
    if data.get("rdns_mode"):
        if data.get("rdns_mode") not in ("0", "1", "2"):
            text = f"Select a valid choice. {data.get('rdns_mode')} is not one of the available choices."
            raise form_errors({"rdns_mode": [text]})
        new["rdns_mode"] = int(data.get("rdns_mode"))
    if "gateway_ip" in data:
        new["gateway_ip"] = _read_gateway(data.get("gateway_ip"), new["cidr"])
    if "dns_servers" in data:
        new["dns_servers"] = json.dumps(_read_servers(data))
    # What is not given is on: the form's default, at every update.
    for name in ("allow_dns", "allow_proxy", "managed"):
        new[name] = data.get(name, "true").lower() in _YES
    if "active_discovery" in data:
        new["active_discovery"] = data.get("active_discovery").lower() in _YES
    return new


def _read_cidr(call: Call, text: str, current: int | None) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise form_errors({"cidr": ["Required format: <network>/<prefixlen>."]}) from None
    if network.prefixlen == 0:
        raise form_errors({"cidr": ["Prefix length must be greater than 0."]})
    other = call.store.row("SELECT id FROM subnet WHERE cidr = ?", str(network))
    if other is not None and other["id"] != current:
        raise form_errors({"cidr": ["Subnet with this Cidr already exists."]})
    return str(network)


def _read_gateway(text: str, cidr: str) -> str | None:
    if not text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        raise form_errors({"gateway_ip": ["Enter a valid IPv4 or IPv6 address."]}) from None
    if address not in ip_network(cidr):
        raise form_errors({"gateway_ip": ["Gateway IP must be within CIDR range."]})
    return str(address)


def _read_servers(data: Fields) -> list[str]:
    servers = [item for value in data.all("dns_servers") for item in re.split(r"[,\s]+", value) if item]
    for server in servers:
        try:
            ip_address(server)
        except ValueError:
            text = f"Invalid IP address: {server}; provide a list of space-separated IP addresses"
            raise form_errors({"__all__": [text]}) from None
    return servers


def update_subnet(call: Call) -> Answer:
    """Subnet.update"""
    row = find_subnet(call, call.params["id"])
    new = _read_subnet(call, dict(row), row["id"])
    if call.data.get("vlan"):
        new["vlan_id"] = _vlan_by_id(call, call.data.get("vlan"))
    if row["name"] == row["cidr"] and not call.data.get("name"):
        new["name"] = new["cidr"]
    marks = ", ".join(f"{name} = :{name}" for name in new if name != "id")
    call.store.db.execute(f"UPDATE subnet SET {marks} WHERE id = :id", new)  # noqa: S608
    _changed(call)
    return Answer.json(subnet_dict(call.region, row["id"]))


def delete_subnet(call: Call) -> Answer:
    """Subnet.delete, with its ranges."""
    row = find_subnet(call, call.params["id"])
    linked = [
        machine.hostname
        for machine in call.store.machines()
        for nic in machine.interfaces
        if any(link.subnet == row["id"] for link in nic.links)
    ]
    if linked or row["id"] == FIRST_SUBNET:
        raise not_simulated("Subnet.delete of one that machines or the lab itself use")
    call.store.db.execute("DELETE FROM subnet WHERE id = ?", (row["id"],))
    _changed(call)
    return DELETED
