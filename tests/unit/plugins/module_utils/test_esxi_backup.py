# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi.backup import (
    DiskCopy,
    Manifest,
    independent_disks,
    manifest_from,
    name_by_time,
    outdated,
    restored_vmx,
    snapshots_in,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiWrongState
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx

MANIFEST = Manifest(
    vm="maas",
    name="20261123T180000Z",
    time="20261123T180000Z",
    path="[datastore1] maas/maas.vmx",
    vmx="machine.vmx",
    disks=(DiskCopy("scsi0:0", "disk-0.vmdk", "[datastore1] maas/maas.vmdk", 2**30),),
    stored_bytes=5,
    nvram="machine.nvram",
    complete=True,
)
VMX = """.encoding = "UTF-8"
displayName = "maas"
nvram = "maas.nvram"
uuid.bios = "56 4d 8a 00 00 00 00 00-00 00 00 00 00 00 00 01"
uuid.location = "56 4d 8a 00 00 00 00 00-00 00 00 00 00 00 00 01"
vc.uuid = "52 00"
sched.swap.derivedName = "/vmfs/volumes/5f3a/maas/maas-1.vswp"
scsi0.present = "TRUE"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "maas-000001.vmdk"
scsi0:0.mode = "independent-persistent"
ethernet0.present = "TRUE"
ethernet0.networkName = "rack"
ethernet0.addressType = "static"
ethernet0.address = "52:54:00:10:00:01"
guestinfo.userdata = "c2VjcmV0"
"""


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert manifest_from(MANIFEST.text()) == MANIFEST


def test_half_a_manifest_is_none() -> None:
    assert manifest_from(MANIFEST.text()[:-20]) is None
    assert manifest_from(b"[]") is None
    assert manifest_from(b'{"format": 2}') is None
    assert manifest_from(b"") is None


def test_what_a_later_version_adds_to_a_manifest_is_passed_over() -> None:
    text = MANIFEST.text().replace(b'"capacity_bytes"', b'"colour": "blue", "capacity_bytes"')
    assert manifest_from(text.replace(b'"format"', b'"flavour": 3, "format"')) == MANIFEST


def test_names_are_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert name_by_time(datetime(2026, 11, 23, 20, 0, 0, tzinfo=east)) == "20261123T180000Z"


def test_only_complete_ones_beyond_the_last_are_outdated() -> None:
    ones = [replace(MANIFEST, name=f"b{i}", time=f"2026112{i}T000000Z") for i in (3, 1, 2)]
    half = replace(MANIFEST, name="half", time="20200101T000000Z", complete=False)
    assert [m.name for m in outdated([*ones, half], 2)] == ["b1"]
    assert [m.name for m in outdated([*ones, half], 1)] == ["b1", "b2"]
    assert outdated(ones, 5) == []
    assert outdated(ones, None) == []


def test_restored_under_its_name_it_is_the_same_machine() -> None:
    vmx = Vmx.parse(restored_vmx(VMX, MANIFEST, "maas"))
    assert vmx.get("scsi0:0.fileName") == "disk-0.vmdk"
    assert vmx.get("nvram") == "maas.nvram"
    assert vmx.get("uuid.bios").startswith("56 4d 8a")
    assert vmx.get("uuid.action") == "keep"
    assert vmx.get("ethernet0.address") == "52:54:00:10:00:01"
    assert vmx.get("edge.rack.restoredFrom") == "maas/20261123T180000Z"
    assert not vmx.get("sched.swap.derivedName")
    assert vmx.get("guestinfo.userdata") == "c2VjcmV0"


def test_restored_under_another_name_it_is_another_machine() -> None:
    vmx = Vmx.parse(restored_vmx(VMX, MANIFEST, "maas two"))
    assert vmx.get("displayName") == "maas two"
    assert not any(vmx.get(key) for key in ("uuid.bios", "uuid.location", "vc.uuid", "ethernet0.address"))
    assert vmx.get("ethernet0.addressType") == "generated"
    assert vmx.get("ethernet0.networkName") == "rack"
    assert vmx.get("uuid.action") == "create"


def test_independent_disks_are_known() -> None:
    assert independent_disks(Vmx.parse(VMX)) == ["scsi0:0"]
    assert independent_disks(Vmx.parse(VMX.replace("independent-persistent", "persistent"))) == []


def test_snapshots_are_read_from_their_tree() -> None:
    text = (
        "Get Snapshot:\n|-ROOT\n--Snapshot Name        : before\n--Snapshot Id        : 1\n"
        "--Snapshot Desciption  : \n--Snapshot Created On  : 11/23/2026 18:0:0\n--Snapshot State       : powered on\n"
        "--|-CHILD\n----Snapshot Name        : edge.rack backup\n----Snapshot Id        : 7\n"
        "----Snapshot Desciption  : for a backup\n"
    )
    assert snapshots_in(text) == [("1", "before"), ("7", "edge.rack backup")]
    assert snapshots_in("Get Snapshot:\n") == []


def test_a_configuration_in_another_encoding_is_not_written_anew() -> None:
    with pytest.raises(EsxiWrongState, match="written in windows-1252"):
        restored_vmx(VMX.replace('"UTF-8"', '"windows-1252"'), MANIFEST, "maas")
