"""What a machine reports of itself while it is commissioned.

The real environment uploads lshw and LXD output under script names; the lab's machines upload one JSON
document, as the form field `hardware` or the file `50-maas-01-commissioning`:

    {"cpu_count": 4, "memory": 8192, "hardware_uuid": "...",
     "disks": [{"name": "sda", "size": 256000000000, "model": "...", "serial": "..."}],
     "nics": [{"name": "eth0", "mac": "52:54:00:...", "address": "10.77.0.21"}],
     "system_vendor": "Intel", "system_product": "NUC", "system_serial": "...", "cpu_model": "..."}

and any other name of a machine's `hardware_info`. `memory` is in MiB, `size` in bytes; `address` is the
machine's DHCP lease, if it has one.
"""

from __future__ import annotations

import json
from typing import Any

from lab.maas_simulator.errors import bad_request
from lab.maas_simulator.machine_forms import normalized_mac
from lab.maas_simulator.model import Disk, Interface, Machine
from lab.maas_simulator.region import Region

HARDWARE_INFO = (
    "system_vendor",
    "system_product",
    "system_family",
    "system_version",
    "system_sku",
    "system_serial",
    "cpu_model",
    "mainboard_vendor",
    "mainboard_product",
    "mainboard_serial",
    "mainboard_version",
    "mainboard_firmware_vendor",
    "mainboard_firmware_date",
    "mainboard_firmware_version",
    "chassis_vendor",
    "chassis_type",
    "chassis_serial",
    "chassis_version",
)


def store_hardware(region: Region, machine: Machine, report: str) -> None:
    """Write the report into the machine, or refuse all of it."""
    try:
        document: dict[str, Any] = json.loads(report)
        machine.cpu_count = int(document.get("cpu_count", machine.cpu_count))
        machine.memory = int(document.get("memory", machine.memory))
        machine.hardware_uuid = document.get("hardware_uuid", machine.hardware_uuid)
        reported = {name: str(document[name]) for name in HARDWARE_INFO if name in document}
        machine.hardware_info |= reported
        if "disks" in document:
            machine.disks = [_disk(region, machine, disk) for disk in document["disks"]]
        for nic in document.get("nics", []):
            _interface(region, machine, nic)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad_request(f"Hardware report cannot be read: {error!r}") from error


def _disk(region: Region, machine: Machine, report: dict[str, Any]) -> Disk:
    known = {disk.name: disk for disk in machine.disks}
    name = str(report["name"])
    disk = known.get(name) or Disk(
        region.store.next_id("blockdevice"), name, 0, partition_id=region.store.next_id("partition")
    )
    disk.size = int(report["size"])
    disk.model = str(report.get("model", ""))
    disk.serial = str(report.get("serial", ""))
    return disk


def _interface(region: Region, machine: Machine, report: dict[str, Any]) -> None:
    mac = normalized_mac(str(report["mac"]))
    if mac is None:
        raise ValueError(f"{report['mac']!r} is not a MAC address")
    nic = next((nic for nic in machine.interfaces if nic.mac == mac), None)
    if nic is None:
        other = region.store.machine_by_mac(mac)
        if other is not None:
            raise ValueError(f"MAC address {mac} already in use on {other.hostname}")
        nic = Interface(region.store.next_id("interface"), mac)
        machine.interfaces.append(nic)
    nic.name = str(report.get("name", nic.name))
    nic.vendor = report.get("vendor", nic.vendor)
    nic.product = report.get("product", nic.product)
    nic.speed = int(report.get("speed", nic.speed))
    if report.get("address") and not machine.skip_networking:
        nic.discovered_ip = str(report["address"])
