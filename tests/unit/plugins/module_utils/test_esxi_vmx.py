# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_vmx
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import Datastore
from ansible_collections.edge.rack.plugins.module_utils.esxi.inventory import invalid_vms, parse_vms
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import Change, Disk, Nic, VmState, Wanted
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx, escape, unescape

STORES = {"datastore1": Datastore("datastore1", "/vmfs/volumes/5f3a-1", "VMFS-6", 0, 0)}
FILE = """#!/usr/bin/vmware
.encoding = "UTF-8"
displayName = "a |22b|22 |7C c"
numvcpus = "2"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "two.vmdk"
SCSI0:0.present = "true"
scsi0:0.fileName = "one.vmdk"
scsi0:2.present = "FALSE"
sata0:0.present = "TRUE"
sata0:0.deviceType = "cdrom-image"
sata0:0.fileName = "/vmfs/volumes/datastore1/iso/a b.iso"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.networkName = "VM Network"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0C:29:AA:BB:CC"
bios.bootOrder = "ethernet0,hdd"
uuid.bios = "56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e"
"""


@pytest.mark.parametrize("text", ["plain", 'say "hi"', "a|b", "two\nlines", "tab\tstays", "grüße ✓", '|22"|'])
def test_a_value_survives_being_written_and_read(text: str) -> None:
    written = escape(text)
    assert "\n" not in written and '"' not in written
    assert unescape(written) == text


def test_quotes_are_written_as_the_host_writes_them() -> None:
    assert escape('a "b" | c') == "a |22b|22 |7C c"
    assert unescape("gr|C3|BCn") == "grün"


def test_a_file_is_read_without_regard_to_case_and_written_with_all_its_lines() -> None:
    vmx = Vmx.parse(FILE)
    assert vmx.get("displayname") == 'a "b" | c'
    assert vmx.number("numVCPUs", 1) == 2
    assert sorted(vmx.text().splitlines()) == sorted(FILE.splitlines())


def test_only_a_line_feed_ends_a_line() -> None:
    vmx = Vmx.parse('annotation = "a\u2028b\x85c"\r\nnumvcpus = "2"\n')
    assert vmx.get("annotation") == "a\u2028b\x85c"
    assert vmx.text() == 'annotation = "a\u2028b\x85c"\nnumvcpus = "2"\n'


def test_devices_are_those_that_are_present() -> None:
    vmx = Vmx.parse(FILE)
    assert vm_vmx.disk_slots(vmx) == ["scsi0:0", "scsi0:1"]
    assert vm_vmx.drive_slot(vmx) == "sata0:0"
    assert vm_vmx.iso_of(vmx, STORES) == "[datastore1] iso/a b.iso"
    assert vm_vmx.nics_of(vmx) == (Nic("VM Network", "00:0c:29:aa:bb:cc", "vmxnet3", "ethernet0"),)
    assert vm_vmx.boot_order_of(vmx) == ("network", "disk")
    assert vm_vmx.uuid_of(vmx) == "564d0102-0304-0506-0708-090a0b0c0d0e"


def test_a_volume_is_known_by_its_mount_point_too() -> None:
    assert vm_vmx.datastore_path("/vmfs/volumes/5f3a-1/x/y.iso", STORES) == "[datastore1] x/y.iso"
    assert vm_vmx.datastore_path("/vmfs/volumes/other/y.iso", STORES) == "/vmfs/volumes/other/y.iso"


def test_a_new_machine_starts_without_being_asked_whether_it_was_moved() -> None:
    wanted = Wanted(
        name="maas",
        cpus=2,
        memory_mib=2048,
        firmware="efi",
        guest_id="ubuntu64Guest",
        annotation="",
        nics=(Nic("rack", "02:00:00:00:00:01", "vmxnet3"), Nic("VM Network", "", "e1000e")),
        iso="[datastore1] iso/a.iso",
        boot_order=("network", "disk"),
    )
    vmx = vm_vmx.new_vmx(wanted, {"guestinfo.x": "1"}, ["maas.vmdk", "maas_1.vmdk"], STORES, "19")
    assert vmx.get("uuid.action") == "create"
    assert vmx.get("pciBridge4.virtualDev") == "pcieRootPort"
    assert vmx.get("guestOS") == "ubuntu-64"
    assert [vmx.get(slot + ".fileName") for slot in vm_vmx.disk_slots(vmx)] == ["maas.vmdk", "maas_1.vmdk"]
    assert vmx.get("sata0:0.fileName") == "/vmfs/volumes/5f3a-1/iso/a.iso"
    assert vmx.get("ethernet0.checkMACAddress") == "FALSE"
    assert vmx.get("ethernet1.addressType") == "generated"
    assert vmx.get("bios.bootOrder") == "ethernet0,ethernet1,hdd"
    assert vmx.get("bios.hddOrder") == "scsi0:0"
    assert vmx.get("guestinfo.x") == "1"


def test_adapters_are_changed_in_place_added_and_removed() -> None:
    vmx = Vmx.parse(FILE)
    state = VmState("x", "1", "[datastore1] x/x.vmx", "poweredoff", nics=vm_vmx.nics_of(vmx))
    wanted = Wanted(name="x", nics=(Nic("rack", "00:50:56:00:00:01", "e1000e"), Nic("VM Network")))
    changes = [Change("networks[0].network", "", "", "network")]
    vm_vmx.change(vmx, state, wanted, changes, {}, STORES)
    assert [(n.network, n.mac, n.type) for n in vm_vmx.nics_of(vmx)] == [
        ("rack", "00:50:56:00:00:01", "e1000e"),
        ("VM Network", "", "vmxnet3"),
    ]
    assert vmx.get("ethernet0.generatedAddress") == "" and vmx.get("ethernet0.checkMACAddress") == ""
    state = VmState("x", "1", "[datastore1] x/x.vmx", "poweredoff", nics=vm_vmx.nics_of(vmx))
    vm_vmx.change(vmx, state, Wanted(name="x", nics=()), [Change("", "", "", "network_removed")], {}, STORES)
    assert "ethernet0." not in vmx.text() and "ethernet1." not in vmx.text()


def test_the_controllers_own_place_is_left_free() -> None:
    vmx = Vmx()
    for i in range(9):
        vm_vmx.add_disk(vmx, f"{i}.vmdk")
    assert vm_vmx.disk_slots(vmx)[6:8] == ["scsi0:6", "scsi0:8"]


@pytest.mark.parametrize(
    ("guest_id", "guest_os"),
    [
        ("ubuntu64Guest", "ubuntu-64"),
        ("debian11_64Guest", "debian11-64"),
        ("otherGuest64", "other-64"),
        ("otherLinux64Guest", "otherlinux-64"),
        ("other5xLinux64Guest", "other5xlinux-64"),
        ("centos9_64Guest", "centos9-64"),
        ("rhel7Guest", "rhel7"),
        ("windows9Server64Guest", "windows9srv-64"),
        ("vmwarePhoton64Guest", "vmware-photon-64"),
    ],
)
def test_guests_have_another_name_in_the_file(guest_id: str, guest_os: str) -> None:
    assert vm_vmx.guest_os(guest_id) == guest_os


@pytest.mark.parametrize(("release", "version"), [("6.5.0", "13"), ("7.0.0", "17"), ("7.0.3", "19"), ("8.0.3", "21")])
def test_hardware_is_the_newest_that_the_release_runs(release: str, version: str) -> None:
    assert vm_vmx.hardware_version(release) == version


def test_a_disk_is_read_from_its_descriptor() -> None:
    text = '# Extent description\nRW 41943040 VMFS "x-flat.vmdk"\nddb.thinProvisioned = "1"\n'
    assert vm_vmx.disk_of(text, "p", "scsi0:0") == Disk(20 * 2**30, "thin", "p", "scsi0:0")
    assert vm_vmx.disk_of(text.replace('"1"', '"0"'), "p", "s").type == "thick"


def test_the_list_of_machines_is_read_with_odd_names_and_notes_of_several_lines() -> None:
    text = (
        "Skipping invalid VM '7'\n"
        "Vmid        Name                   File               Guest OS       Version   Annotation\n"
        "1      a  b [x]         [data store] a  b [x]/a.vmx   ubuntu64Guest   vmx-19    first line\n"
        "second line of [it]\n"
        '12     say "hi" ✓       [datastore1] say "hi"/x.vmx   otherGuest      vmx-20              \n'
    )
    vms = parse_vms(text)
    assert [(vm.id, vm.name, vm.path, vm.guest_id) for vm in vms] == [
        ("1", "a  b [x]", "[data store] a  b [x]/a.vmx", "ubuntu64Guest"),
        ("12", 'say "hi" ✓', '[datastore1] say "hi"/x.vmx', "otherGuest"),
    ]
    assert vms[0].annotation == "first line"
    assert invalid_vms(text) == ["7"]
