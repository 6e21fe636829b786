"""What the tests do with pyVmomi, in few words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from esxi_host import PASSWORD, USER, EsxiHost
from pyVim.connect import SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim

Spec = vim.vm.device.VirtualDeviceSpec


@dataclass
class Client:
    """A login at a host."""

    instance: Any

    @property
    def content(self) -> Any:
        return self.instance.content

    @property
    def datacenter(self) -> Any:
        return self.content.rootFolder.childEntity[0]

    @property
    def compute(self) -> Any:
        return self.datacenter.hostFolder.childEntity[0]

    @property
    def system(self) -> Any:
        return self.compute.host[0]

    @property
    def vms(self) -> dict[str, Any]:
        return {vm.name: vm for vm in self.datacenter.vmFolder.childEntity}

    def create(self, name: str = "maas", **more: Any) -> Any:
        """A VM by CreateVM_Task."""
        return wait(self.datacenter.vmFolder.CreateVM_Task(vm_spec(name, **more), self.compute.resourcePool))


def connect(host: EsxiHost, password: str = PASSWORD) -> Client:
    context = ssl.create_default_context(cafile=str(host.certificate))
    return Client(SmartConnect(host="127.0.0.1", port=host.https_port, user=USER, pwd=password, sslContext=context))


def wait(task: Any) -> Any:
    """The task's result; its error is raised."""
    WaitForTask(task)
    return task.info.result


def add(device: Any, files: str | None = None) -> Any:
    return Spec(operation="add", device=device, fileOperation=files)


def disk(gib: int = 10, *, key: int = -2, thin: bool = True, name: str = "", controller: int = -1) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(diskMode="persistent", thinProvisioned=thin, fileName=name)
    return add(
        vim.vm.device.VirtualDisk(key=key, controllerKey=controller, capacityInKB=gib << 20, backing=backing), "create"
    )


def nic(network: str = "VM Network", mac: str = "") -> Any:
    card = vim.vm.device.VirtualVmxnet3(key=-3)
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network)
    if mac:
        card.addressType, card.macAddress = "manual", mac
    return add(card)


def cdrom(iso: str) -> Any:
    drive = vim.vm.device.VirtualCdrom(key=-4, controllerKey=200)
    drive.backing = vim.vm.device.VirtualCdrom.IsoBackingInfo(fileName=iso)
    return add(drive)


def vm_spec(name: str, *, devices: list[Any] | None = None, **more: Any) -> Any:
    """A VM with a disk, a card and what else is given."""
    spec = vim.vm.ConfigSpec(name=name, guestId="ubuntu64Guest", numCPUs=2, memoryMB=2048, firmware="efi")
    spec.files = vim.vm.FileInfo(vmPathName="[datastore1]")
    spec.bootOptions = vim.vm.BootOptions(bootOrder=[vim.vm.BootOptions.BootableEthernetDevice(deviceKey=-3)])
    chosen = [disk(), nic()] if devices is None else devices
    if not any(isinstance(each.device, vim.vm.device.VirtualEthernetCard) for each in chosen):
        spec.bootOptions = None
    controller = vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    spec.deviceChange = [add(controller), *chosen]
    for key, value in more.items():
        setattr(spec, key, value)
    return spec


def extra(**values: str) -> list[Any]:
    """extraConfig; a double underscore stands for a dot."""
    return [vim.option.OptionValue(key=key.replace("__", "."), value=value) for key, value in values.items()]


def device(vm: Any, kind: Any) -> Any:
    return next(each for each in vm.config.hardware.device if isinstance(each, kind))
