"""The devices as the last status had them, and what they have said of themselves since. No list of our own: a cache."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, computed_field

from edge_training.dashboard.store import Change, Store

State = Literal["ok", "drift", "waiting", "failed", "silent", "new", "away"]
# What edge.rack.device_status calls it -> how it is shown.
STATES: dict[str, State] = {
    "ok": "ok",
    "changed": "ok",
    "corrective": "drift",
    "waiting": "waiting",
    "failed": "failed",
    "refused": "failed",
    "interrupted": "failed",
    "silent": "silent",
    "never": "new",
}
BROKEN = ("unhealthy", "exited", "dead", "restarting")
PLACE = re.compile(r"(?:^|[^a-z])s(?:helf)?-?(\d{1,3})[-_]?(?:slot|n)?-?(\d{1,3})$")


def _text(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_text), Field(max_length=2000)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Device(BaseModel):
    """A row of the status, and the measurements that a device reports itself."""

    model_config = ConfigDict(extra="ignore")

    device: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    address: Text = ""
    maas_status: Text = ""
    power: Text = ""
    pinned: Text = ""
    running: Text = ""
    own_release: bool = False
    held: bool = False
    wave: int = 0
    waves: int = 0
    outcome: Text = "never"
    by: Text = ""
    ended: Text = ""
    pushed: Text = ""
    changes: int = 0
    offline: Text = ""
    fault: Text = ""
    paused: bool = False
    deferred: list[str] = []
    containers: dict[str, str] = {}
    disk_free_percent: Percent | None = None
    cpu_percent: Percent | None = None
    memory_percent: Percent | None = None
    temperature_celsius: Annotated[float, Field(ge=-100, le=300)] | None = None
    shelf: Annotated[int, Field(ge=0, le=999)] | None = None
    slot: Annotated[int, Field(ge=0, le=999)] | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> State:
        if self.maas_status not in ("", "Deployed"):
            return "away"
        if any(word in BROKEN for word in self.containers.values()):
            return "failed"
        if self.power == "off" and self.outcome == "silent":
            return "away"
        return STATES.get(self.outcome, "failed")

    def placed(self) -> Device:
        """With shelf and slot, where its name says so: rack1-s02-07, shelf2-slot7."""
        found = PLACE.search(self.device)
        if self.shelf is not None or not found:
            return self
        return self.model_copy(update={"shelf": int(found[1]), "slot": int(found[2])})


ROWS = TypeAdapter(list[Device])
MEASURED = ("cpu_percent", "memory_percent", "temperature_celsius", "shelf", "slot")


class Rack:
    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, rows: list[Device]) -> None:
        """A new status: devices that it does not have are gone; what has changed is told."""
        with self._store.change() as change:
            before = _all(change)
            for row in rows:
                measured = {name: before.get(row.device, {}).get(name) for name in MEASURED}
                kept = {name: value for name, value in measured.items() if name not in row.model_fields_set}
                _write(change, row.model_copy(update=kept).placed(), before.get(row.device))
            for name in before.keys() - {row.device for row in rows}:
                change.connection.execute("DELETE FROM devices WHERE name = ?", (name,))
                change.tell("gone", {"device": name})

    def report(self, change: Change, device: str, fields: dict[str, Any]) -> None:
        """What a device says of itself; the rest stays."""
        row = change.connection.execute("SELECT data FROM devices WHERE name = ?", (device,)).fetchone()
        before = json.loads(row["data"]) if row else None
        _write(change, Device.model_validate({**(before or {}), "device": device, **fields}).placed(), before)

    def devices(self) -> list[dict[str, Any]]:
        with self._store.reading() as connection:
            return [json.loads(row["data"]) for row in connection.execute("SELECT data FROM devices ORDER BY name")]

    def unknown(self, names: list[str]) -> list[str]:
        known = {one["device"] for one in self.devices()}
        return [name for name in names if name not in known]


def _all(change: Change) -> dict[str, dict[str, Any]]:
    return {row["name"]: json.loads(row["data"]) for row in change.connection.execute("SELECT name, data FROM devices")}


def _write(change: Change, device: Device, before: dict[str, Any] | None) -> None:
    data = device.model_dump(mode="json")
    if data == before:
        return
    change.connection.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", (device.device, json.dumps(data)))
    change.tell("device", data)
