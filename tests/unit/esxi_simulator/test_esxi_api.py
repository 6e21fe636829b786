"""The ESXi simulator's API answers as a host does, refusals included."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from esxi_client import Client, cdrom, connect, device, disk, extra, nic, vm_spec, wait
from esxi_host import PASSWORD, USER, EsxiHost
from pyVmomi import vim, vmodl

Start = Callable[..., EsxiHost]
MIB = 1 << 20


def eventually(question: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := question()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def port_group(name: str, vlan: int, vswitch: str) -> Any:
    policy = vim.host.NetworkPolicy()
    return vim.host.PortGroup.Specification(name=name, vlanId=vlan, vswitchName=vswitch, policy=policy)


def head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def stream_vmdk(content: bytes, mib: int) -> bytes:
    """A streamOptimized VMDK with content in its first grain."""
    grain, sectors = 128, mib * MIB // 512
    header = struct.pack(
        "<IIIQQQQIQQQB4sH",
        0x564D444B,
        3,
        0x30001,
        sectors,
        grain,
        1,
        1,
        512,
        0,
        0xFFFFFFFFFFFFFFFF,
        128,
        0,
        b"\n \r\n",
        1,
    ).ljust(512, b"\0")
    descriptor = f'# Disk DescriptorFile\nversion=1\ncreateType="streamOptimized"\nRW {sectors} SPARSE "x.vmdk"\n'
    packed = zlib.compress(content.ljust(grain * 512, b"\0"))
    data = struct.pack("<QI", 0, len(packed)) + packed
    parts = [header, descriptor.encode().ljust(127 * 512, b"\0"), data.ljust(-(-len(data) // 512) * 512, b"\0")]
    return b"".join(parts) + b"\0" * 512


def test_login_needs_the_password_and_a_session_can_expire(host: Start) -> None:
    esxi = host()
    with pytest.raises(vim.fault.InvalidLogin):
        connect(esxi, "wrong")
    client = connect(esxi)
    about = client.content.about
    assert (about.apiType, about.version, about.apiVersion) == ("HostAgent", "7.0.3", "7.0.3.0")
    esxi.expire_sessions()
    with pytest.raises(vim.fault.NotAuthenticated):
        _ = client.datacenter.name


def test_the_host_is_a_t430_with_its_datastores_and_nics(host: Start) -> None:
    client = connect(host())
    hardware = client.system.hardware
    assert (hardware.systemInfo.model, hardware.cpuInfo.numCpuThreads) == ("PowerEdge T430", 16)
    assert hardware.memorySize == 128 << 30
    stores = {store.name: store.summary.capacity >> 30 for store in client.datacenter.datastore}
    assert stores == {"datastore1": 3600, "backup": 1800}
    info = client.system.configManager.networkSystem.networkInfo
    assert [each.device for each in info.pnic] == ["vmnic0", "vmnic1", "vmnic2", "vmnic3"]
    assert [each.spec.name for each in info.portgroup] == ["VM Network", "Management Network"]


def test_the_free_edition_reads_and_refuses_every_write(host: Start) -> None:
    esxi = host(edition="free")
    client = connect(esxi)
    assert client.content.licenseManager.licenses[0].editionKey == "esxBasic"
    view = client.content.viewManager.CreateContainerView(client.content.rootFolder, [vim.VirtualMachine], True)
    assert list(view.view) == []
    network = client.system.configManager.networkSystem
    writes: list[Callable[[], Any]] = [
        client.create,
        lambda: network.AddVirtualSwitch("vSwitch1"),
        lambda: client.system.configManager.autoStartManager.ReconfigureAutostart(vim.host.AutoStartManager.Config()),
        lambda: client.content.fileManager.MakeDirectory("[datastore1] iso", client.datacenter),
    ]
    for write in writes:
        with pytest.raises(vim.fault.RestrictedVersion) as refused:
            write()
        assert refused.value.msg == "Current license or ESXi version prohibits execution of the requested operation."
    assert esxi.file("PUT", "x.iso", b"x")[0] == 403
    assert list(esxi.datastore().iterdir()) == []


def test_a_vm_lives_from_create_to_destroy(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    metadata = b64encode(gzip.compress(b"network: {addresses: [10.77.0.10/24]}")).decode()
    options = extra(guestinfo__metadata=metadata, guestinfo__metadata__encoding="gzip+base64")
    vm = client.create('maas "1"', annotation="two\nlines", extraConfig=options)
    assert vm._moId == "1"
    assert vm.config.files.vmPathName == "[datastore1] maas _1_/maas _1_.vmx"
    assert (vm.config.annotation, vm.config.firmware, vm.config.guestId) == ("two\nlines", "efi", "ubuntu64Guest")
    assert device(vm, vim.vm.device.VirtualVmxnet3).macAddress.startswith("00:0c:29:")
    assert vm.snapshot is None

    wait(vm.PowerOn())
    with pytest.raises(vim.fault.InvalidPowerState):
        wait(vm.PowerOn())
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()
    assert eventually(lambda: vm.guest.ipAddress) == "10.77.0.10"
    with pytest.raises(vim.fault.InvalidPowerState):
        wait(vm.Destroy_Task())
    with pytest.raises(vim.fault.CpuHotPlugNotSupported):
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=4)))
    with pytest.raises(vim.fault.InvalidPowerState):
        wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(firmware="bios")))
    vm.ShutdownGuest()
    eventually(lambda: vm.runtime.powerState == "poweredOff")

    wait(vm.Destroy_Task())
    assert list(esxi.datastore().iterdir()) == []
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = vm.name
    assert client.create()._moId == "2"


def refusals() -> list[Any]:
    full = vim.fault.NoDiskSpace
    return [
        pytest.param({"devices": [nic("nowhere")]}, vim.fault.InvalidDeviceBacking, id="unknown network"),
        pytest.param({"devices": [nic(mac="01:00:5e:00:00:01")]}, vim.fault.InvalidDeviceSpec, id="multicast MAC"),
        pytest.param({"devices": [disk(), cdrom("[datastore1] no.iso")]}, vim.fault.FileNotFound, id="missing ISO"),
        pytest.param({"devices": [disk(), disk(4000, thin=False)]}, full, id="thick disks fill the datastore"),
        pytest.param({"guestId": "plan9Guest"}, vmodl.fault.InvalidArgument, id="unknown guest"),
        pytest.param({"numCPUs": 17}, vim.fault.NumVirtualCpusNotSupported, id="more CPUs than the host"),
        pytest.param({"memoryMB": 1023}, vmodl.fault.InvalidArgument, id="odd memory"),
        pytest.param(
            {"files": vim.vm.FileInfo(vmPathName="[nowhere]")}, vim.fault.InvalidDatastore, id="unknown datastore"
        ),
        pytest.param({"flags": vim.vm.FlagInfo(enableLogging=True)}, vmodl.fault.NotSupported, id="not simulated"),
    ]


@pytest.mark.parametrize(("wrong", "fault"), refusals())
def test_a_refused_create_leaves_nothing(host: Start, wrong: dict[str, Any], fault: type[Exception]) -> None:
    esxi = host()
    client = connect(esxi)
    with pytest.raises(fault):
        client.create(**wrong)
    assert client.vms == {}
    assert list(esxi.datastore().iterdir()) == []


def test_names_and_files_are_taken_once(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    client.create()
    with pytest.raises(vim.fault.DuplicateName):
        client.create()
    client.vms["maas"].UnregisterVM()
    with pytest.raises(vim.fault.FileAlreadyExists):
        client.create(files=vim.vm.FileInfo(vmPathName="[datastore1] maas/maas.vmx"))
    vm = wait(
        client.datacenter.vmFolder.RegisterVM_Task(
            path="[datastore1] maas/maas.vmx", asTemplate=False, pool=client.compute.resourcePool
        )
    )
    assert (vm.name, vm._moId) == ("maas", "2")
    assert client.create("other").config.files.vmPathName == "[datastore1] other/other.vmx"


def test_reconfigure_changes_what_can_be_changed(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    (esxi.datastore() / "boot.iso").write_bytes(b"iso")
    vm = client.create(devices=[disk(), nic(), cdrom("[datastore1] boot.iso")], extraConfig=extra(guestinfo__a="1"))
    drive = device(vm, vim.vm.device.VirtualDisk)

    def edit(change: Any) -> Any:
        return wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))

    wait(vm.PowerOn())
    drive.capacityInKB = 20 << 20
    edit(vim.vm.device.VirtualDeviceSpec(operation="edit", device=drive))
    assert device(vm, vim.vm.device.VirtualDisk).capacityInBytes == 20 << 30
    drive = device(vm, vim.vm.device.VirtualDisk)
    drive.capacityInBytes, drive.capacityInKB = 1 << 30, 1 << 20
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        edit(vim.vm.device.VirtualDeviceSpec(operation="edit", device=drive))
    wait(vm.PowerOff())

    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=4, memoryMB=4096, extraConfig=extra(guestinfo__a=""))))
    assert (vm.config.hardware.numCPU, vm.config.hardware.memoryMB) == (4, 4096)
    assert "guestinfo.a" not in {option.key for option in vm.config.extraConfig}
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="note")))
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=2)))
    assert vm.config.annotation == "note"
    wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="")))
    assert not vm.config.annotation
    card = device(vm, vim.vm.device.VirtualVmxnet3)
    card.addressType, card.macAddress = "manual", "00:50:56:00:00:2a"
    edit(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    card = device(vm, vim.vm.device.VirtualVmxnet3)
    assert (card.addressType, card.macAddress) == ("manual", "00:50:56:00:00:2a")
    edit(vim.vm.device.VirtualDeviceSpec(operation="remove", device=card))
    edit(disk(1, name="[backup]", controller=1000))
    assert [store.name for store in vm.datastore] == ["datastore1", "backup"]
    drive = [each for each in vm.config.hardware.device if isinstance(each, vim.vm.device.VirtualDisk)][1]
    edit(vim.vm.device.VirtualDeviceSpec(operation="remove", fileOperation="destroy", device=drive))
    assert not list(esxi.datastore("backup").rglob("*.vmdk"))
    wait(vm.Rename_Task("region"))
    assert list(client.vms) == ["region"]
    assert 'displayName = "region"' in (esxi.datastore() / "maas/maas.vmx").read_text()


def test_tasks_take_their_time(host: Start) -> None:
    client = connect(host(task_milliseconds=400))
    started = time.monotonic()
    task = client.datacenter.vmFolder.CreateVM_Task(vm_spec("slow"), client.compute.resourcePool)
    assert task.info.state in ("queued", "running")
    seen = {task.info.progress for _ in range(20) if time.sleep(0.02) is None}
    assert any(seen - {None, 0})
    vm = wait(task)
    assert time.monotonic() - started > 0.35
    first, second = vm.PowerOn(), vm.PowerOn()
    with pytest.raises(vim.fault.TaskInProgress):
        wait(second)
    wait(first)


def test_ordered_faults_strike_once_and_nothing_half_made_stays(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    esxi.fault(method="CreateVM_Task", fault="NoDiskSpace", when="middle")
    with pytest.raises(vim.fault.NoDiskSpace):
        client.create()
    assert list(esxi.datastore().iterdir()) == []
    vm = client.create()
    esxi.fault(method="PowerOnVM_Task", fault="GenericVmConfigFault", message="no luck")
    with pytest.raises(vim.fault.GenericVmConfigFault, match="no luck"):
        vm.PowerOn()
    esxi.fault(method="PowerOnVM_Task", fault="drop", when="middle")
    with pytest.raises((OSError, ssl.SSLError, ConnectionError)):
        vm.PowerOn()
    eventually(lambda: vm.runtime.powerState == "poweredOn")
    wait(vm.PowerOff())
    esxi.fault(method="*", fault="drop")
    with pytest.raises((OSError, ssl.SSLError, ConnectionError)):
        vm.PowerOn()
    esxi.reset_counts()
    wait(connect(esxi).vms["maas"].PowerOn())
    assert esxi.counts()["api"].count("PowerOnVM_Task") == 1


def test_everything_survives_a_kill(host: Start) -> None:
    esxi = host(task_milliseconds=20)
    client = connect(esxi)
    network = client.system.configManager.networkSystem
    network.AddVirtualSwitch("vSwitch1", vim.host.VirtualSwitch.Specification(numPorts=128))
    network.AddPortGroup(port_group("rack", 7, "vSwitch1"))
    running, stopped = client.create("running", devices=[disk(), nic("rack")]), client.create("stopped")
    wait(running.PowerOn())
    client.create("gone").UnregisterVM()
    autostart = vim.host.AutoStartManager.AutoPowerInfo(
        key=stopped, startOrder=1, startDelay=-1, waitForHeartbeat="systemDefault", startAction="powerOn", stopDelay=-1,
        stopAction="systemDefault",
    )  # fmt: skip
    client.system.configManager.autoStartManager.ReconfigureAutostart(
        vim.host.AutoStartManager.Config(
            defaults=vim.host.AutoStartManager.SystemDefaults(enabled=True), powerInfo=[autostart]
        )
    )
    esxi.kill()
    esxi.start()
    client = connect(esxi)
    assert {name: (vm._moId, vm.runtime.powerState) for name, vm in client.vms.items()} == {
        "running": ("1", "poweredOn"),
        "stopped": ("2", "poweredOff"),
    }
    assert [each.name for each in client.system.network] == ["VM Network", "rack"]
    assert [each.name for each in client.vms["running"].network] == ["rack"]
    config = client.system.configManager.autoStartManager.config
    assert (config.defaults.enabled, config.defaults.startDelay) == (True, 120)
    assert [(entry.key.name, entry.startOrder) for entry in config.powerInfo] == [("stopped", 1)]
    assert client.create("new")._moId == "4"


def test_a_create_that_is_cut_off_leaves_its_folder_unregistered(host: Start) -> None:
    esxi = host(task_milliseconds=5000)
    client = connect(esxi)
    client.datacenter.vmFolder.CreateVM_Task(vm_spec("half"), client.compute.resourcePool)
    eventually(lambda: (esxi.datastore() / "half/half.vmx").exists())
    esxi.kill()
    esxi.start()
    assert connect(esxi).vms == {}
    assert (esxi.datastore() / "half/half.vmdk").exists()


def test_networks_are_refused_while_they_are_used(host: Start) -> None:
    client = connect(host())
    network = client.system.configManager.networkSystem
    group = port_group("rack", 7, "vSwitch1")
    with pytest.raises(vim.fault.NotFound):
        network.AddPortGroup(group)
    bridge = vim.host.VirtualSwitch.BondBridge(nicDevice=["vmnic1"])
    network.AddVirtualSwitch("vSwitch1", vim.host.VirtualSwitch.Specification(numPorts=128, mtu=9000, bridge=bridge))
    with pytest.raises(vim.fault.AlreadyExists):
        network.AddVirtualSwitch("vSwitch1")
    with pytest.raises(vim.fault.ResourceInUse):
        network.AddVirtualSwitch("vSwitch2", vim.host.VirtualSwitch.Specification(numPorts=128, bridge=bridge))
    network.AddPortGroup(group)
    with pytest.raises(vim.fault.AlreadyExists):
        network.AddPortGroup(group)
    group.vlanId = 8
    network.UpdatePortGroup("rack", group)
    vm = client.create(devices=[nic("rack")])
    for write in (lambda: network.RemovePortGroup("rack"), lambda: network.RemoveVirtualSwitch("vSwitch1")):
        with pytest.raises(vim.fault.ResourceInUse):
            write()
    shown = {each.spec.name: each.spec.vlanId for each in network.networkInfo.portgroup}
    assert shown["rack"] == 8
    assert [each.name for each in client.datacenter.network] == ["VM Network", "rack"]
    wait(vm.Destroy_Task())
    network.RemoveVirtualSwitch("vSwitch1")
    assert [each.name for each in client.system.network] == ["VM Network"]


def test_autostart_keeps_an_order(host: Start) -> None:
    client = connect(host())
    manager = client.system.configManager.autoStartManager
    vms = [client.create(name) for name in "abc"]

    def place(vm: Any, order: int, action: str = "powerOn") -> list[str]:
        entry = vim.host.AutoStartManager.AutoPowerInfo(
            key=vm, startOrder=order, startDelay=10, waitForHeartbeat="no", startAction=action, stopDelay=-1,
            stopAction="guestShutdown",
        )  # fmt: skip
        manager.ReconfigureAutostart(vim.host.AutoStartManager.Config(powerInfo=[entry]))
        return [entry.key.name for entry in manager.config.powerInfo]

    place(vms[0], 1)
    place(vms[1], 2)
    assert place(vms[2], 1) == ["c", "a", "b"]
    assert place(vms[0], -1, "none") == ["c", "b"]
    defaults = vim.host.AutoStartManager.SystemDefaults(startDelay=0)
    manager.ReconfigureAutostart(vim.host.AutoStartManager.Config(defaults=defaults))
    # the library leaves out an optional zero, where a host writes it
    assert (manager.config.defaults.startDelay or 0, manager.config.defaults.stopDelay) == (0, 120)
    wait(vms[2].Destroy_Task())
    assert [(entry.key.name, entry.startOrder) for entry in manager.config.powerInfo] == [("b", 1)]


def test_files_go_up_and_come_down_over_https(host: Start) -> None:
    esxi = host()
    assert esxi.file("PUT", "iso/x.iso", b"x" * 100)[0] == 404
    client = connect(esxi)
    client.content.fileManager.MakeDirectory("[datastore1] iso", client.datacenter, True)
    assert esxi.file("PUT", "iso/x.iso", b"x" * 100, password="wrong")[0] == 401
    assert esxi.file("PUT", "iso/x.iso", b"x" * 100)[0] == 201
    assert esxi.file("GET", "iso/x.iso") == (200, b"x" * 100)
    esxi.capacity("datastore1", 0.00001)
    assert esxi.file("PUT", "iso/y.iso", b"y" * MIB)[0] == 507
    assert not (esxi.datastore() / "iso/y.iso").exists()
    esxi.capacity("datastore1", 10)

    context = ssl.create_default_context(cafile=str(esxi.certificate))
    raw = socket.create_connection(("127.0.0.1", esxi.https_port))
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as broken:
        token = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        broken.sendall(
            "PUT /folder/iso/z.iso?dcPath=ha-datacenter&dsName=datastore1 HTTP/1.1\r\nHost: esxi\r\n"
            f"Authorization: Basic {token}\r\nContent-Length: 1000\r\n\r\nabc".encode()
        )
        eventually(lambda: (esxi.datastore() / "iso/z.iso").exists())
    eventually(lambda: (esxi.datastore() / "iso/z.iso").read_bytes() == b"abc")

    browser = client.datacenter.datastore[0].browser
    details = vim.host.DatastoreBrowser.FileInfo.Details(
        fileSize=True, fileType=True, modification=True, fileOwner=False
    )
    spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.iso"], details=details)
    found = wait(browser.SearchDatastore_Task("[datastore1] iso", spec))
    assert {each.path: each.fileSize for each in found.file} == {"x.iso": 100, "z.iso": 3}
    assert esxi.file("DELETE", "iso/z.iso")[0] == 204
    wait(client.content.fileManager.DeleteDatastoreFile_Task("[datastore1] iso", client.datacenter))
    with pytest.raises(vim.fault.FileNotFound):
        wait(browser.SearchDatastore_Task("[datastore1] iso", spec))


def upload(esxi: EsxiHost, client: Client, image: bytes) -> tuple[Any, int]:
    spec = vim.vm.VmImportSpec(configSpec=vm_spec("cloud"))
    lease = client.compute.resourcePool.ImportVApp(spec, client.datacenter.vmFolder)
    eventually(lambda: lease.state == "ready")
    url = lease.info.deviceUrl[0]
    assert url.importKey == "/cloud/ParaVirtualSCSIController0:0"
    lease.HttpNfcLeaseProgress(50)
    return lease, esxi.https("POST", url.url.replace("*", f"127.0.0.1:{esxi.https_port}"), image)[0]


def test_an_import_converts_the_image_into_the_disk(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    lease, status = upload(esxi, client, stream_vmdk(b"ubuntu-24.04\n", 64))
    assert status == 201
    with pytest.raises(vim.fault.InvalidState):
        wait(client.vms["cloud"].PowerOn())
    lease.HttpNfcLeaseComplete()
    vm = client.vms["cloud"]
    assert head(esxi.datastore() / "cloud/cloud-flat.vmdk", 13) == b"ubuntu-24.04\n"
    assert device(vm, vim.vm.device.VirtualDisk).capacityInBytes == 10 << 30
    wait(vm.PowerOn())
    assert eventually(lambda: vm.guest.ipAddress) == "192.0.2.1"


def test_a_broken_import_goes_away(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    lease, status = upload(esxi, client, stream_vmdk(b"ubuntu", 64)[:66000])
    assert (status, lease.state) == (500, "error")
    lease.HttpNfcLeaseAbort()
    assert client.vms == {}
    assert list(esxi.datastore().iterdir()) == []


def test_a_snapshot_frees_the_base_disk_of_a_running_vm_for_a_copy(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    vm = client.create()
    with (esxi.datastore() / "maas/maas-flat.vmdk").open("r+b") as flat:
        flat.write(b"before")
    wait(vm.PowerOn())

    def copy(name: str) -> Any:
        disks = client.content.virtualDiskManager
        return wait(
            disks.CopyVirtualDisk_Task("[datastore1] maas/maas.vmdk", client.datacenter, f"[backup] {name}.vmdk")
        )

    with pytest.raises(vim.fault.FileLocked):
        copy("refused")
    for name in ("one", "two"):
        wait(vm.CreateSnapshot_Task(name, "", False, True))
    copy("saved")
    assert head(esxi.datastore("backup") / "saved-flat.vmdk", 6) == b"before"
    with (esxi.datastore() / "maas/maas-000002-delta.vmdk").open("r+b") as delta:
        delta.write(b"after!")
    esxi.restart()
    client = connect(esxi)
    vm = client.vms["maas"]
    tree = vm.snapshot.rootSnapshotList[0]
    assert (tree.name, tree.childSnapshotList[0].name) == ("one", "two")
    wait(tree.snapshot.RemoveSnapshot_Task(False))
    wait(vm.RemoveAllSnapshots_Task())
    assert vm.snapshot is None
    assert sorted(path.name for path in (esxi.datastore() / "maas").glob("*.vmdk")) == ["maas-flat.vmdk", "maas.vmdk"]
    assert head(esxi.datastore() / "maas/maas-flat.vmdk", 6) == b"after!"


def test_the_vmx_is_the_truth(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    vm = client.create()
    vmx = esxi.datastore() / "maas/maas.vmx"
    vmx.write_text(vmx.read_text().replace('memsize = "2048"', 'memsize = "4096"'))
    assert vm.config.hardware.memoryMB == 2048
    vm.Reload()
    assert vm.config.hardware.memoryMB == 4096
    vmx.write_text("no configuration")
    vm.Reload()
    assert (vm.runtime.connectionState, vm.config) == ("invalid", None)


def test_a_moved_vm_asks_before_it_starts(host: Start) -> None:
    esxi = host()
    client = connect(esxi)
    client.create().UnregisterVM()
    manager = client.content.fileManager
    wait(
        manager.MoveDatastoreFile_Task("[datastore1] maas", client.datacenter, "[datastore1] moved", client.datacenter)
    )
    vm = wait(
        client.datacenter.vmFolder.RegisterVM_Task(
            path="[datastore1] moved/maas.vmx", asTemplate=False, pool=client.compute.resourcePool
        )
    )
    before = vm.config.uuid
    task = vm.PowerOn()
    question = eventually(lambda: vm.runtime.question)
    assert [choice.label for choice in question.choice.choiceInfo] == ["Cancel", "I Moved It", "I Copied It"]
    vm.AnswerVM(question.id, "2")
    wait(task)
    assert vm.config.uuid != before
    wait(vm.PowerOff())
    wait(vm.PowerOn())


class Driver(BaseHTTPRequestHandler):
    """A guest driver that remembers what it was asked."""

    calls: list[tuple[str, str]]
    bodies: list[bytes]
    states: dict[str, dict[str, str]]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.strip("/").split("/")
        if self.command != "GET":
            self.calls.append((self.command, parts[-1]))
            self.bodies.append(body)
            self.states[parts[1]] = {"status": "running", "address": "10.77.0.10", "hostname": "maas"}
            if parts[-1] in ("off", "shutdown"):
                self.states[parts[1]] = {"status": "stopped"}
        text = json.dumps(self.states if self.command == "GET" else {"status": "running"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_guest_driver_runs_the_guests(host: Start, tmp_path: Path) -> None:
    Driver.calls, Driver.bodies, Driver.states = [], [], {}
    with HTTPServer(("127.0.0.1", 0), Driver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "password").write_text("secret\n")
        url = f"http://127.0.0.1:{server.server_port}"
        esxi = host(settings={"guest": {"url": url, "user": "bmc", "password_file": str(tmp_path / "password")}})
        client = connect(esxi)
        vm = client.create(extraConfig=extra(guestinfo__userdata="#cloud-config"))
        wait(vm.PowerOn())
        assert Driver.calls == [("PUT", "on")]
        assert b'"userdata":"#cloud-config"' in Driver.bodies[0]
        assert eventually(lambda: vm.guest.ipAddress) == "10.77.0.10"
        assert vm.guest.hostName == "maas"
        vm.ShutdownGuest()
        eventually(lambda: vm.runtime.powerState == "poweredOff")
        wait(vm.Destroy_Task())
        assert [call[0] for call in Driver.calls] == ["PUT", "POST", "DELETE"]

        running, stopped = client.create("running"), client.create("stopped")
        wait(running.PowerOn())
        wait(stopped.PowerOn())
        stopped_uuid = stopped.config.uuid
        esxi.kill()
        Driver.states[stopped_uuid] = {"status": "stopped"}
        esxi.start()
        vms = connect(esxi).vms
        eventually(lambda: vms["stopped"].runtime.powerState == "poweredOff")
        assert vms["running"].runtime.powerState == "poweredOn"
        server.shutdown()


def test_fifty_vms_are_read_at_once(host: Start) -> None:
    client = connect(host(task_milliseconds=0))
    tasks = [
        client.datacenter.vmFolder.CreateVM_Task(vm_spec(f"vm{number}"), client.compute.resourcePool)
        for number in range(50)
    ]
    for task in tasks:
        wait(task)
    view = client.content.viewManager.CreateContainerView(client.content.rootFolder, [vim.VirtualMachine], True)
    property_collector = vmodl.query.PropertyCollector
    spec = property_collector.FilterSpec(
        objectSet=[
            property_collector.ObjectSpec(
                obj=view,
                skip=True,
                selectSet=[property_collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)],
            )
        ],
        propSet=[property_collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "config", "runtime"])],
    )
    collector = client.content.propertyCollector
    found = collector.RetrievePropertiesEx([spec], property_collector.RetrieveOptions())
    assert (len(found.objects), found.token) == (50, None)
    found = collector.RetrievePropertiesEx([spec], property_collector.RetrieveOptions(maxObjects=20))
    rest = collector.ContinueRetrievePropertiesEx(found.token)
    assert (len(found.objects), len(rest.objects)) == (20, 30)
