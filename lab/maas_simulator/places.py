"""Resource pools and zones."""

from __future__ import annotations

import re
from typing import Any

from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import form_errors, missing
from lab.maas_simulator.region import Call
from lab.maas_simulator.representation import pool_dict, zone_dict

# MODEL_NAME_VALIDATOR of MAAS.
_NAME = re.compile(r"\w[ \w-]*")


def _check(call: Call, table: str, title: str, name: str, current: str | None) -> None:
    if not name:
        raise form_errors({"name": ["This field is required."]})
    if not _NAME.fullmatch(name):
        raise form_errors({"name": ["Enter a valid value."]})
    taken = call.store.row(f"SELECT 1 FROM {table} WHERE name = ?", name)  # noqa: S608 - two fixed names
    if name != current and taken:
        raise form_errors({"name": [f"{title} with this Name already exists."]})


def _insert(call: Call, table: str) -> Any:
    name, description = call.data.get("name"), call.data.get("description")
    # Not INTEGER PRIMARY KEY's own choice: a number is not used twice.
    highest = 0 if table == "pool" else 1
    number = highest + call.store.next_id(table)
    call.store.db.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (number, name, description))  # noqa: S608
    return call.store.row(f"SELECT * FROM {table} WHERE id = ?", number)  # noqa: S608


def _change(call: Call, table: str, row: Any) -> Any:
    values = (
        call.data.get("name", row["name"]),
        call.data.get("description", row["description"]),
        row["id"],
    )
    call.store.db.execute(f"UPDATE {table} SET name = ?, description = ? WHERE id = ?", values)  # noqa: S608
    return call.store.row(f"SELECT * FROM {table} WHERE id = ?", row["id"])  # noqa: S608


def list_pools(call: Call) -> Answer:
    """ResourcePools.read"""
    return Answer.json([pool_dict(row) for row in call.store.rows("SELECT * FROM pool ORDER BY name")])


def create_pool(call: Call) -> Answer:
    """ResourcePools.create"""
    _check(call, "pool", "Resource pool", call.data.get("name"), None)
    return Answer.json(pool_dict(_insert(call, "pool")))


def _pool(call: Call) -> Any:
    row = call.store.row("SELECT * FROM pool WHERE CAST(id AS TEXT) = ?", call.params["id"])
    if row is None:
        raise missing("ResourcePool")
    return row


def read_pool(call: Call) -> Answer:
    """ResourcePool.read"""
    return Answer.json(pool_dict(_pool(call)))


def update_pool(call: Call) -> Answer:
    """ResourcePool.update"""
    row = _pool(call)
    _check(call, "pool", "Resource pool", call.data.get("name", row["name"]), row["name"])
    return Answer.json(pool_dict(_change(call, "pool", row)))


def delete_pool(call: Call) -> Answer:
    """ResourcePool.delete; the texts are MAAS's (maasserver/models/resourcepool.py)."""
    row = _pool(call)
    if row["id"] == 0:
        raise form_errors({"__all__": ["This is the default pool, it cannot be deleted."]})
    if any(machine.pool == row["id"] for machine in call.store.machines()):
        raise form_errors({"__all__": ["Pool has machines in it, it cannot be deleted."]})
    call.store.db.execute("DELETE FROM pool WHERE id = ?", (row["id"],))
    return DELETED


def list_zones(call: Call) -> Answer:
    """Zones.read"""
    return Answer.json([zone_dict(row) for row in call.store.rows("SELECT * FROM zone ORDER BY name")])


def create_zone(call: Call) -> Answer:
    """Zones.create"""
    _check(call, "zone", "Physical zone", call.data.get("name"), None)
    return Answer.json(zone_dict(_insert(call, "zone")))


def _zone(call: Call) -> Any:
    row = call.store.row("SELECT * FROM zone WHERE name = ?", call.params["name"])
    if row is None:
        raise missing("Zone")
    return row


def read_zone(call: Call) -> Answer:
    """Zone.read"""
    return Answer.json(zone_dict(_zone(call)))


def update_zone(call: Call) -> Answer:
    """Zone.update"""
    row = _zone(call)
    _check(call, "zone", "Physical zone", call.data.get("name", row["name"]), row["name"])
    return Answer.json(zone_dict(_change(call, "zone", row)))


def delete_zone(call: Call) -> Answer:
    """Zone.delete: 204 also when it is not there (recorded); its machines fall back to the default zone."""
    row = call.store.row("SELECT * FROM zone WHERE name = ?", call.params["name"])
    if row is None:
        return DELETED
    if row["id"] == 1:
        raise form_errors({"__all__": ["This zone is the default zone, it cannot be deleted."]})
    for machine in call.store.machines():
        if machine.zone == row["id"]:
            machine.zone = 1
            call.store.save(machine)
    call.store.db.execute("DELETE FROM zone WHERE id = ?", (row["id"],))
    return DELETED
