# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual machine in the API's words: its settings as a state, and a state's changes as a ConfigSpec."""

from __future__ import annotations

import typing as t

from ansible_collections.edge.rack.plugins.module_utils.esxi.api import Properties, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.guest_address import usable_address
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import Change, Disk, Nic, VmState, Wanted, tools_word

MARKER = "edge.rack.creating"
"""A setting that a machine has from the first moment of its creation to the last: `TOKEN UNTIL`, who creates it, and
until which second of the host's clock that may last."""
SCSI_KEY, SATA_KEY = 1000, 15000
"""ESXi gives the first controller of each kind these keys anyway."""
RESERVED_UNIT = 7
"""The SCSI controller's own."""


# -- Reading


def state_of(vmid: str, config: t.Any, row: Properties) -> VmState:
    """From the properties of a machine."""
    devices = config.hardware.device or []
    extra = {option.key: str(option.value) for option in config.extraConfig or []}
    drive = _drive(devices)
    iso = getattr(drive.backing, "fileName", "") or "" if drive is not None else ""
    nets = [address for net in row.get("guest.net") or [] for address in net.ipAddress or []]
    return VmState(
        name=config.name,
        id=vmid,
        path=config.files.vmPathName,
        power_state=(row.get("runtime.powerState") or "poweredOff").lower(),
        uuid=config.uuid or "",
        cpus=config.hardware.numCPU,
        memory_mib=config.hardware.memoryMB,
        firmware=config.firmware or "bios",
        guest_id=config.guestId or "",
        annotation=config.annotation or "",
        disks=tuple(_disk(device) for device in _disks(devices)),
        nics=tuple(_nic(device) for device in _nics(devices)),
        iso=iso,
        has_drive=drive is not None,
        boot_order=_boot_order(config.bootOptions),
        guestinfo={key: value for key, value in extra.items() if key.startswith("guestinfo.")},
        tools=tools_word(row.get("guest.toolsRunningStatus")),
        address=usable_address([row.get("guest.ipAddress") or "", *nets]),
        hostname=row.get("guest.hostName") or "",
        unfinished=bool(extra.get(MARKER)),
        marker=extra.get(MARKER) or "",
    )


def _disks(devices: t.Sequence[t.Any]) -> t.List[t.Any]:
    disks = [device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]
    return sorted(disks, key=lambda disk: (disk.controllerKey or 0, disk.unitNumber or 0))


def _disk(device: t.Any) -> Disk:
    backing = device.backing
    kind = "thick"
    if getattr(backing, "thinProvisioned", False):
        kind = "thin"
    elif getattr(backing, "eagerlyScrub", False):
        kind = "eagerzeroedthick"
    size = device.capacityInBytes or device.capacityInKB * 1024
    return Disk(size, kind, getattr(backing, "fileName", "") or "", str(device.key))


def _nics(devices: t.Sequence[t.Any]) -> t.List[t.Any]:
    nics = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    return sorted(nics, key=lambda nic: nic.key)


def _nic(device: t.Any) -> Nic:
    kind = type(device).__name__.rsplit(".", 1)[-1].replace("Virtual", "").lower()
    network = getattr(device.backing, "deviceName", "") or ""
    return Nic(network, (device.macAddress or "").lower(), kind, str(device.key))


def _drive(devices: t.Sequence[t.Any]) -> t.Any:
    return next((device for device in devices if isinstance(device, vim.vm.device.VirtualCdrom)), None)


def _boot_order(options: t.Any) -> t.Tuple[str, ...]:
    kinds = {"BootableDiskDevice": "disk", "BootableCdromDevice": "cdrom", "BootableEthernetDevice": "network"}
    order = [type(device).__name__.rsplit(".", 1)[-1] for device in (options.bootOrder if options else None) or []]
    return tuple(dict.fromkeys(kinds[kind] for kind in order if kind in kinds))


# -- Writing


def creation(wanted: Wanted, keys: t.Mapping[str, str], image: t.Optional[Image], marker: str) -> t.Any:
    """A new machine, with the marker. Of one with an image only the image's disk: it comes by an upload."""
    devices = [
        vim.vm.device.ParaVirtualSCSIController(
            key=SCSI_KEY, busNumber=0, sharedBus=vim.vm.device.VirtualSCSIController.Sharing.noSharing
        ),
        vim.vm.device.VirtualAHCIController(key=SATA_KEY, busNumber=0),
        _new_drive(SATA_KEY, wanted.iso or ""),
    ]
    disks = list(wanted.disks or ())
    if image is not None:
        disks = [Disk(image.capacity_bytes, disks[0].type)]
    changes = [_added(device) for device in devices]
    changes += [_new_disk(disk, SCSI_KEY, unit) for disk, unit in zip(disks, _free_units([]), strict=False)]
    changes += [_added(_new_nic(nic, -10 - i)) for i, nic in enumerate(wanted.nics or ())]
    return vim.vm.ConfigSpec(
        name=wanted.name,
        numCPUs=wanted.cpus,
        memoryMB=wanted.memory_mib,
        guestId=wanted.guest_id,
        firmware=wanted.firmware,
        annotation=wanted.annotation,
        files=vim.vm.FileInfo(vmPathName="[%s]" % wanted.datastore),
        deviceChange=changes,
        extraConfig=_options({MARKER: marker, **keys}),
    )


def completion(config: t.Any, state: VmState, wanted: Wanted) -> t.Any:
    """The last step of a creation: what only a machine with devices can be told, and the marker goes."""
    spec = vim.vm.ConfigSpec(extraConfig=_options({MARKER: ""}), deviceChange=[])
    _change_disks(spec, config, state, wanted)
    if wanted.boot_order:
        spec.bootOptions = boot(config, wanted.boot_order).bootOptions
    return spec


def reconfiguration(
    config: t.Any, state: VmState, wanted: Wanted, changes: t.Sequence[Change], keys: t.Mapping[str, str]
) -> t.Any:
    """The changes as a spec, without the boot order; None where nothing else changes."""
    kinds = {change.kind for change in changes} - {"boot_order", "autostart", ""}
    if not kinds:
        return None
    spec = vim.vm.ConfigSpec(deviceChange=[], extraConfig=_options(keys))
    fields = {"cpus": "numCPUs", "memory_mib": "memoryMB", "firmware": "firmware", "guest_id": "guestId"}
    fields["annotation"] = "annotation"
    for name, attribute in fields.items():
        if name in kinds:
            setattr(spec, attribute, getattr(wanted, name))
    if kinds & {"disk_added", "disk_size"}:
        _change_disks(spec, config, state, wanted)
    if any(kind.startswith("network") for kind in kinds):
        _change_nics(spec, config, wanted)
    if kinds & {"iso", "iso_drive"}:
        _change_iso(spec, config, wanted.iso or "")
    return spec


def boot(config: t.Any, order: t.Sequence[str]) -> t.Any:
    """The boot order by the devices that a machine has; none goes back to the firmware's own order."""
    devices = config.hardware.device
    machine = vim.vm.BootOptions
    found = []
    for word in order:
        if word == "cdrom":
            found.append(machine.BootableCdromDevice())
        elif word == "disk":
            found += [machine.BootableDiskDevice(deviceKey=disk.key) for disk in _disks(devices)[:1]]
        else:
            found += [machine.BootableEthernetDevice(deviceKey=nic.key) for nic in _nics(devices)]
    return vim.vm.ConfigSpec(bootOptions=machine(bootOrder=found))


def _change_disks(spec: t.Any, config: t.Any, state: VmState, wanted: Wanted) -> None:
    devices = config.hardware.device
    present = _disks(devices)
    for disk, device, old in zip(wanted.disks or (), present, state.disks, strict=False):
        if disk.size_bytes > old.size_bytes:
            device.capacityInKB = disk.size_bytes // 1024
            device.capacityInBytes = disk.size_bytes
            spec.deviceChange.append(_edited(device))
    added = (wanted.disks or ())[len(present) :]
    if not added:
        return
    controllers = [device for device in devices if isinstance(device, vim.vm.device.VirtualSCSIController)]
    key = controllers[0].key if controllers else SCSI_KEY
    if not controllers:
        spec.deviceChange.append(
            _added(
                vim.vm.device.ParaVirtualSCSIController(
                    key=key, busNumber=0, sharedBus=vim.vm.device.VirtualSCSIController.Sharing.noSharing
                )
            )
        )
    used = [device.unitNumber for device in devices if device.controllerKey == key]
    spec.deviceChange += [_new_disk(disk, key, unit) for disk, unit in zip(added, _free_units(used), strict=False)]


def _change_nics(spec: t.Any, config: t.Any, wanted: Wanted) -> None:
    present = _nics(config.hardware.device)
    nics = wanted.nics or ()
    for i, nic in enumerate(nics):
        if i >= len(present):
            spec.deviceChange.append(_added(_new_nic(nic, -10 - i)))
            continue
        device, old = present[i], _nic(present[i])
        if nic.type and nic.type != old.type:
            # Another kind is another device.
            spec.deviceChange += [_removed(device), _added(_new_nic(nic, -10 - i))]
        elif nic.network != old.network or (nic.mac and nic.mac != old.mac):
            device.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=nic.network)
            if nic.mac:
                device.addressType, device.macAddress = "manual", nic.mac
            spec.deviceChange.append(_edited(device))
    spec.deviceChange += [_removed(device) for device in present[len(nics) :]]


def _change_iso(spec: t.Any, config: t.Any, iso: str) -> None:
    devices = config.hardware.device
    drive = _drive(devices)
    if drive is not None:
        drive.backing = _medium(iso)
        drive.connectable = _connected(bool(iso))
        spec.deviceChange.append(_edited(drive))
        return
    controller = next((d for d in devices if isinstance(d, vim.vm.device.VirtualSATAController)), None)
    key = controller.key if controller is not None else SATA_KEY
    if controller is None:
        spec.deviceChange.append(_added(vim.vm.device.VirtualAHCIController(key=key, busNumber=0)))
    spec.deviceChange.append(_added(_new_drive(key, iso)))


def _new_disk(disk: Disk, controller: int, unit: int) -> t.Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
        fileName="",
        diskMode="persistent",
        thinProvisioned=disk.type == "thin",
        eagerlyScrub=disk.type == "eagerzeroedthick",
    )
    device = vim.vm.device.VirtualDisk(
        key=-100 - unit,
        controllerKey=controller,
        unitNumber=unit,
        backing=backing,
        capacityInKB=disk.size_bytes // 1024,
        capacityInBytes=disk.size_bytes,
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=device)


def _new_nic(nic: Nic, key: int) -> t.Any:
    kind = vim.vm.device.VirtualE1000e if nic.type == "e1000e" else vim.vm.device.VirtualVmxnet3
    return kind(
        key=key,
        backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=nic.network),
        connectable=_connected(True),
        addressType="manual" if nic.mac else "generated",
        macAddress=nic.mac or None,
    )


def _new_drive(controller: int, iso: str) -> t.Any:
    return vim.vm.device.VirtualCdrom(
        key=-50, controllerKey=controller, unitNumber=0, backing=_medium(iso), connectable=_connected(bool(iso))
    )


def _medium(iso: str) -> t.Any:
    """A drive without a medium is one of the client's that no client has connected."""
    if iso:
        return vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=iso)
    return vim.vm.device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", useAutoDetect=False, exclusive=False)


def _connected(start: bool) -> t.Any:
    return vim.vm.device.VirtualDevice.ConnectInfo(startConnected=start, connected=start, allowGuestControl=True)


def _free_units(used: t.Sequence[int]) -> t.Iterator[int]:
    return (unit for unit in range(16) if unit != RESERVED_UNIT and unit not in used)


def _options(settings: t.Mapping[str, str]) -> t.List[t.Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in settings.items()]


def _added(device: t.Any) -> t.Any:
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=device)


def _edited(device: t.Any) -> t.Any:
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)


def _removed(device: t.Any) -> t.Any:
    return vim.vm.device.VirtualDeviceSpec(operation="remove", device=device)
