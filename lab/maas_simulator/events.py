"""Events: what a region writes down of each machine, and where `status_message` comes from.

Types and levels follow MAAS's event catalogue (provisioningserver/events.py).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from lab.maas_simulator.answer import Answer
from lab.maas_simulator.errors import bad_request
from lab.maas_simulator.model import Machine
from lab.maas_simulator.region import API, Call
from lab.maas_simulator.statuses import Status
from lab.maas_simulator.store import Store

_LEVELS = {"CRITICAL": 50, "ERROR": 40, "WARNING": 30, "INFO": 20, "DEBUG": 10, "AUDIT": 0}
_LEVEL_NAMES = {number: name for name, number in _LEVELS.items()}
_DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40


class EventType(Enum):
    """(text, level) of each event this region writes."""

    CHANGED_STATUS = ("Node changed status", _DEBUG)
    STARTING_COMMISSIONING = ("User starting node commissioning", _DEBUG)
    ABORTING_COMMISSIONING = ("User aborting node commissioning", _DEBUG)
    ACQUIRING = ("User acquiring node", _DEBUG)
    STARTING_DEPLOYMENT = ("User starting deployment", _DEBUG)
    ABORTING_DEPLOYMENT = ("User aborting deployment", _DEBUG)
    RELEASING_REQUEST = ("User releasing node", _DEBUG)
    ERASING_REQUEST = ("User erasing disk", _DEBUG)
    LOCKING = ("User locking node", _DEBUG)
    UNLOCKING = ("User unlocking node", _DEBUG)
    MARKING_BROKEN = ("User marking node broken", _DEBUG)
    MARKING_FIXED = ("User marking node fixed", _DEBUG)
    STARTING_RESCUE_MODE = ("User entering rescue mode", _DEBUG)
    STOPPING_RESCUE_MODE = ("User exiting rescue mode", _DEBUG)
    STARTING_TESTING = ("User starting node testing", _DEBUG)
    OVERRIDING_FAILED_TESTING = ("User overrode 'Failed testing' status", _DEBUG)
    POWERING_UP = ("User powering up node", _DEBUG)
    POWERING_DOWN = ("User powering down node", _DEBUG)
    STATUS_EVENT = ("Node status event", _DEBUG)
    INSTALL_EVENT = ("Node installation", _DEBUG)
    PXE_REQUEST = ("PXE Request", _DEBUG)
    POWERED_ON = ("Node powered on", _DEBUG)
    POWERED_OFF = ("Node powered off", _DEBUG)
    COMMISSIONING = ("Commissioning", _INFO)
    ABORTED_COMMISSIONING = ("Aborted commissioning", _INFO)
    ABORTED_DEPLOYMENT = ("Aborted deployment", _INFO)
    ABORTED_DISK_ERASING = ("Aborted disk erasing", _INFO)
    ABORTED_TESTING = ("Aborted testing", _INFO)
    FAILED_COMMISSIONING = ("Failed commissioning", _INFO)
    SCRIPT = ("Script", _INFO)
    READY = ("Ready", _INFO)
    DEPLOYING = ("Deploying", _INFO)
    PXE_BOOT = ("Performing PXE boot", _INFO)
    REBOOTING = ("Rebooting", _INFO)
    IMAGE_DEPLOYED = ("Image Deployed", _INFO)
    DEPLOYED = ("Deployed", _INFO)
    RELEASING = ("Releasing", _INFO)
    RELEASED = ("Released", _INFO)
    ERASING = ("Disk erasing", _INFO)
    TESTING = ("Performing testing", _INFO)
    ENTERING_RESCUE_MODE = ("Entering rescue mode", _INFO)
    RESCUE_MODE = ("Rescue mode", _INFO)
    EXITING_RESCUE_MODE = ("Exiting rescue mode", _INFO)
    EXITED_RESCUE_MODE = ("Exited rescue mode", _INFO)
    MARKED_FAILED = ("Marking node failed", _ERROR)
    POWERING_ON = ("Powering on", _INFO)
    POWERING_OFF = ("Powering off", _INFO)
    POWER_ON_FAILED = ("Failed to power on node", _ERROR)
    POWER_OFF_FAILED = ("Failed to power off node", _ERROR)
    POWER_QUERY_FAILED = ("Failed to query node's BMC", _WARNING)


def record(
    store: Store,
    machine: Machine,
    event: EventType,
    description: str = "",
    *,
    user: str = "unknown",
    action: str = "",
) -> None:
    """Write an event down."""
    text, level = event.value
    store.db.execute(
        "INSERT INTO event (hostname, system_id, level, type, description, action, username, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (machine.hostname, machine.system_id, level, text, description, action, user, time.time()),
    )


def change_status(store: Store, machine: Machine, status: Status) -> None:
    """Set a machine's status and write that down."""
    if machine.status != status:
        text = f"From '{machine.status.label}' to '{status.label}'"
        record(store, machine, EventType.CHANGED_STATUS, text)
        machine.status = status


def latest_status_events(store: Store) -> dict[str, tuple[str, str]]:
    """(status_message, status_action) of every machine: its last event at INFO or above."""
    rows = store.rows(
        "SELECT system_id, type, description, action FROM event WHERE id IN"
        " (SELECT max(id) FROM event WHERE level >= ? GROUP BY system_id)",
        _INFO,
    )
    return {row["system_id"]: _message(row) for row in rows}


def latest_status_event(store: Store, system_id: str) -> tuple[str, str] | None:
    """The same for one machine."""
    row = store.row(
        "SELECT type, description, action FROM event WHERE system_id = ? AND level >= ? ORDER BY id DESC LIMIT 1",
        system_id,
        _INFO,
    )
    return _message(row) if row else None


def _message(row: Any) -> tuple[str, str]:
    text = f"{row['type']} - {row['description']}" if row["description"] else row["type"]
    return text, row["action"]


def query(call: Call) -> Answer:
    """`events/?op=query`: the newest first, in pages by `limit`, `before` and `after`."""
    level = call.query.get("level", "INFO")
    if level not in _LEVELS:
        raise bad_request(f"Unrecognised log level: {level}")
    limit = _number(call, "limit", 100)
    where, values = ["level >= ?"], [_LEVELS[level]]
    order = "DESC"
    for name, sql in (("before", "id < ?"), ("after", "id > ?")):
        if name in call.query:
            where.append(sql)
            values.append(_number(call, name, 0))
            order = "ASC" if name == "after" else "DESC"
    for name, column in (("hostname", "hostname"), ("id", "system_id")):
        names = call.query.all(name)
        if names:
            where.append(f"{column} IN ({', '.join('?' * len(names))})")
            values += names  # type: ignore[arg-type]
    sql = f"SELECT * FROM event WHERE {' AND '.join(where)} ORDER BY id {order} LIMIT {limit}"  # noqa: S608
    rows = sorted(call.store.rows(sql, *values), key=lambda row: int(row["id"]), reverse=True)
    kept = [(k, v) for k, v in call.query.pairs if k not in ("op", "before", "after")]
    base = API + "events/?" + "&".join(f"{k}={v}" for k, v in [("op", "query"), *kept])
    newest = rows[0]["id"] if rows else int(call.query.get("after", "0"))
    oldest = rows[-1]["id"] if rows else int(call.query.get("before", "0"))
    return Answer.json(
        {
            "count": len(rows),
            "events": [_represent(row) for row in rows],
            "next_uri": f"{base}&after={newest}",
            "prev_uri": f"{base}&before={oldest}",
        }
    )


def _number(call: Call, name: str, default: int) -> int:
    value = call.query.get(name) or str(default)
    if not value.isdigit():
        # Not recorded; formencode's text.
        raise bad_request(f"{name}: Please enter an integer value")
    return int(value)


def _represent(row: Any) -> dict[str, Any]:
    created = datetime.fromtimestamp(row["created"], UTC)
    return {
        "username": row["username"],
        "node": row["system_id"],
        "hostname": row["hostname"],
        "id": row["id"],
        "level": _LEVEL_NAMES[row["level"]],
        "created": created.strftime("%a, %d %b. %Y %H:%M:%S"),
        "type": row["type"],
        "description": row["description"],
    }
