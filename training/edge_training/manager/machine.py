"""The machine itself: its disk, memory and temperature."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import BaseModel


class Room(BaseModel):
    total_bytes: int
    free_bytes: int


class Machine(BaseModel):
    """`temperature_celsius` is its warmest sensor's, where there is one."""

    disk: Room
    memory: Room
    temperature_celsius: float | None


def look(root: Path) -> Machine:
    disk = shutil.disk_usage(root)
    return Machine(
        disk=Room(total_bytes=disk.total, free_bytes=disk.free),
        memory=memory(Path("/proc/meminfo").read_text()),
        temperature_celsius=temperature(Path("/sys/class/thermal")),
    )


def memory(meminfo: str) -> Room:
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    return Room(total_bytes=kilobytes["MemTotal"] * 1024, free_bytes=kilobytes["MemAvailable"] * 1024)


def temperature(folder: Path) -> float | None:
    found = []
    for sensor in folder.glob("thermal_zone*/temp"):
        try:
            found.append(int(sensor.read_text()) / 1000)
        except (OSError, ValueError):  # a sensor that is off
            continue
    return max(found, default=None)
