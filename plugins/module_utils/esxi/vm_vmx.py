# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine in the words of its .vmx: its settings as a state, and a state's changes as settings."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import Datastore, split_datastore_path
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import NIC_TYPES, Change, Disk, Nic, VmState, Wanted
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx

Datastores = t.Mapping[str, Datastore]

DISK_OR_DRIVE = r"(?:scsi|sata|nvme|ide)\d+:\d+"
CDROM_KINDS = ("cdrom-image", "cdrom-raw", "atapi-cdrom")
BOOT_WORDS = {"disk": "hdd", "cdrom": "cdrom", "network": "ethernet"}
RESERVED_UNIT = 7
"""The SCSI controller's own."""

# What ESXi writes into a new machine of its own, beside the devices. Without the root ports pciBridge4 to 7 a PVSCSI
# controller and a vmxnet3 adapter find no slot at power on (msg.pci.noslotavail).
BOARD = {
    ".encoding": "UTF-8",
    "config.version": "8",
    "pciBridge0.present": "TRUE",
    **{
        "pciBridge%d.%s" % (number, key): value
        for number in (4, 5, 6, 7)
        for key, value in (("present", "TRUE"), ("virtualDev", "pcieRootPort"), ("functions", "8"))
    },
    "svga.present": "TRUE",
    "vmci0.present": "TRUE",
    "hpet0.present": "TRUE",
    "floppy0.present": "FALSE",
    "powerType.powerOff": "default",
    "powerType.suspend": "default",
    "powerType.reset": "default",
    "tools.syncTime": "FALSE",
    "tools.upgrade.policy": "manual",
    # "Was it moved or copied?" would hold up its first start until somebody answers.
    "uuid.action": "create",
    "scsi0.present": "TRUE",
    "scsi0.virtualDev": "pvscsi",
    "sata0.present": "TRUE",
    "sata0:0.present": "TRUE",
}

_GUESTS = {"otherGuest": "other", "otherGuest64": "other-64", "vmwarePhoton64Guest": "vmware-photon-64"}
# The vSphere release -> the newest virtual hardware that it runs (Broadcom KB 315655).
_HARDWARE = ((8, 0, 2, "21"), (8, 0, 0, "20"), (7, 0, 2, "19"), (7, 0, 1, "18"), (7, 0, 0, "17"), (6, 7, 0, "14"))


def guest_os(guest_id: str) -> str:
    """ubuntu64Guest -> ubuntu-64"""
    if guest_id in _GUESTS:
        return _GUESTS[guest_id]
    name = re.sub(r"Guest$", "", guest_id).replace("Server64", "srv64")
    return re.sub(r"_?64$", "-64", name).lower()


def hardware_version(release: str) -> str:
    """7.0.3 -> 19"""
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:3])
    return next((version for *since, version in _HARDWARE if numbers >= tuple(since)), "13")


# -- Reading


def uuid_of(vmx: Vmx) -> str:
    """``56 4d 8a ...-2c ...`` -> ``564d8a..-....``; a machine that was never on has none yet."""
    digits = re.sub(r"[^0-9a-fA-F]", "", vmx.get("uuid.bios")).lower()
    return re.sub(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", r"\1-\2-\3-\4-\5", digits) if len(digits) == 32 else ""


def disk_slots(vmx: Vmx) -> t.List[str]:
    """The places of the disks, those on SCSI controllers first."""
    slots = [slot for slot in vmx.devices(DISK_OR_DRIVE) if vmx.get(slot + ".deviceType").lower() not in CDROM_KINDS]
    return sorted(slots, key=lambda slot: not slot.startswith("scsi"))


def drive_slot(vmx: Vmx) -> t.Optional[str]:
    slots = vmx.devices(DISK_OR_DRIVE)
    return next((slot for slot in slots if vmx.get(slot + ".deviceType").lower() in CDROM_KINDS), None)


def nics_of(vmx: Vmx) -> t.Tuple[Nic, ...]:
    nics = []
    for slot in vmx.devices(r"ethernet\d+"):
        static = vmx.get(slot + ".addressType").lower() == "static"
        mac = vmx.get(slot + (".address" if static else ".generatedAddress")).lower()
        nics.append(Nic(vmx.get(slot + ".networkName"), mac, vmx.get(slot + ".virtualDev").lower(), slot))
    return tuple(nics)


def iso_of(vmx: Vmx, datastores: Datastores) -> str:
    slot = drive_slot(vmx)
    if slot is None or vmx.get(slot + ".deviceType").lower() != "cdrom-image":
        return ""
    return datastore_path(vmx.get(slot + ".fileName"), datastores)


def datastore_path(path: str, datastores: Datastores) -> str:
    """``/vmfs/volumes/5f3a.../iso/x.iso`` -> ``[datastore1] iso/x.iso``; a volume may go by its name as well."""
    for datastore in datastores.values():
        volumes = datastore.mount.rsplit("/", 1)[0]
        for mount in (datastore.mount, "%s/%s" % (volumes, datastore.name)):
            if path.startswith(mount + "/"):
                return datastore.datastore_path(path[len(mount) + 1 :])
    return path


def boot_order_of(vmx: Vmx) -> t.Tuple[str, ...]:
    words = [re.sub(r"\d+$", "", word.strip().lower()) for word in vmx.get("bios.bootOrder").split(",")]
    names = {word: name for name, word in BOOT_WORDS.items()}
    return tuple(dict.fromkeys(names[word] for word in words if word in names))


def disk_of(descriptor: str, path: str, slot: str) -> Disk:
    """From a VMDK's descriptor: its extents in sectors. That it was zeroed eagerly does not stand there."""
    sectors = sum(int(number) for number in re.findall(r"^RW (\d+) ", descriptor, re.MULTILINE))
    thin = re.search(r'^ddb\.thinProvisioned\s*=\s*"1"', descriptor, re.MULTILINE)
    return Disk(sectors * 512, "thin" if thin else "thick", path, slot)


# -- Writing


def new_vmx(
    wanted: Wanted, keys: t.Mapping[str, str], disks: t.Sequence[str], datastores: Datastores, hardware: str
) -> Vmx:
    """All of a new machine's file; `disks` are the files of its disks, beside it."""
    vmx = Vmx()
    vmx.update(BOARD)
    vmx.update({"virtualHW.version": hardware, "displayName": wanted.name, "nvram": wanted.name + ".nvram"})
    for name in ("cpus", "memory_mib", "firmware", "guest_id", "annotation"):
        _set_field(vmx, wanted, name)
    for file in disks:
        add_disk(vmx, file)
    for nic in wanted.nics or ():
        _add_nic(vmx, nic)
    _set_medium(vmx, "sata0:0", wanted.iso or "", datastores)
    if wanted.boot_order:
        _set_boot_order(vmx, wanted.boot_order)
    vmx.update(keys)
    return vmx


def change(
    vmx: Vmx,
    state: VmState,
    wanted: Wanted,
    changes: t.Sequence[Change],
    keys: t.Mapping[str, str],
    datastores: Datastores,
) -> None:
    """Write all changes but the disks into a file."""
    kinds = {change.kind for change in changes}
    for name in kinds & {"cpus", "memory_mib", "firmware", "guest_id", "annotation"}:
        _set_field(vmx, wanted, name)
    if any(kind.startswith("network") for kind in kinds):
        _change_nics(vmx, state, wanted)
    if kinds & {"iso", "iso_drive"}:
        slot = drive_slot(vmx)
        if slot is None:
            slot = _free_slot(vmx, "sata0", 30)
            vmx.update({"sata0.present": "TRUE", slot + ".present": "TRUE"})
        _set_medium(vmx, slot, wanted.iso or "", datastores)
    for key, value in keys.items():
        if value:
            vmx.set(key, value)
        else:
            vmx.remove(key)
    if "boot_order" in kinds:
        _set_boot_order(vmx, wanted.boot_order or ())


def add_disk(vmx: Vmx, file: str) -> None:
    controllers = vmx.devices(r"scsi\d")
    if not controllers:
        vmx.update({"scsi0.present": "TRUE", "scsi0.virtualDev": "pvscsi"})
    slot = _free_slot(vmx, controllers[0] if controllers else "scsi0", 16)
    vmx.update({slot + ".present": "TRUE", slot + ".deviceType": "scsi-hardDisk", slot + ".fileName": file})


def _free_slot(vmx: Vmx, controller: str, units: int) -> str:
    used = vmx.devices(re.escape(controller) + r":\d+")
    slots = ["%s:%d" % (controller, unit) for unit in range(units) if unit != RESERVED_UNIT]
    return next(slot for slot in slots if slot not in used)


def _set_field(vmx: Vmx, wanted: Wanted, name: str) -> None:
    value = getattr(wanted, name)
    if name == "cpus":
        vmx.set("numvcpus", str(value))
        # A topology that does not divide the new number is refused at power on.
        vmx.remove("cpuid.coresPerSocket")
    elif name == "memory_mib":
        vmx.set("memSize", str(value))
    elif name == "guest_id":
        vmx.set("guestOS", guest_os(value))
    elif name == "firmware" and value == "bios":
        vmx.remove("firmware")
    else:
        vmx.set(name, value)


def _change_nics(vmx: Vmx, state: VmState, wanted: Wanted) -> None:
    nics = wanted.nics or ()
    for i, nic in enumerate(nics):
        if i >= len(state.nics):
            _add_nic(vmx, nic)
            continue
        slot = state.nics[i].slot
        if nic.network != state.nics[i].network:
            vmx.set(slot + ".networkName", nic.network)
        if nic.type:
            vmx.set(slot + ".virtualDev", nic.type)
        if nic.mac and nic.mac != state.nics[i].mac:
            _set_mac(vmx, slot, nic.mac)
    for old in state.nics[len(nics) :]:
        vmx.remove_device(old.slot)


def _add_nic(vmx: Vmx, nic: Nic) -> None:
    used = vmx.devices(r"ethernet\d+")
    slot = next(name for name in ("ethernet%d" % i for i in range(10)) if name not in used)
    vmx.remove_device(slot)
    vmx.update(
        {
            slot + ".present": "TRUE",
            slot + ".virtualDev": nic.type or NIC_TYPES[0],
            slot + ".networkName": nic.network,
            slot + ".addressType": "generated",
            slot + ".startConnected": "TRUE",
            slot + ".wakeOnPcktRcv": "FALSE",
        }
    )
    if nic.mac:
        _set_mac(vmx, slot, nic.mac)


def _set_mac(vmx: Vmx, slot: str, mac: str) -> None:
    for key in (".generatedAddress", ".generatedAddressOffset"):
        vmx.remove(slot + key)
    vmx.update({slot + ".addressType": "static", slot + ".address": mac})
    # Outside of VMware's own range for fixed addresses the host refuses one unless told not to look.
    if re.match(r"00:50:56:[0-3]", mac):
        vmx.remove(slot + ".checkMACAddress")
    else:
        vmx.set(slot + ".checkMACAddress", "FALSE")


def _set_medium(vmx: Vmx, slot: str, iso: str, datastores: Datastores) -> None:
    vmx.remove_device(slot)
    if iso:
        name, file = split_datastore_path(iso)
        medium = {"deviceType": "cdrom-image", "fileName": datastores[name].host_path(file), "startConnected": "TRUE"}
    else:
        # The drive of a client that no client has connected: an empty one.
        medium = {
            "deviceType": "cdrom-raw",
            "clientDevice": "TRUE",
            "fileName": "CD/DVD drive 0",
            "startConnected": "FALSE",
        }
    vmx.set(slot + ".present", "TRUE")
    vmx.update({"%s.%s" % (slot, key): value for key, value in medium.items()})


def _set_boot_order(vmx: Vmx, order: t.Sequence[str]) -> None:
    words = []  # type: t.List[str]
    for word in order:
        words += vmx.devices(r"ethernet\d+") if word == "network" else [BOOT_WORDS[word]]
    vmx.set("bios.bootOrder", ",".join(words))
    vmx.remove("bios.hddOrder")
    if "disk" in order:
        vmx.set("bios.hddOrder", disk_slots(vmx)[0])
