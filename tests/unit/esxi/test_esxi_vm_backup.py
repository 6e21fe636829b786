# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx
from ansible_collections.edge.rack.plugins.modules import esxi_host_info, esxi_vm, esxi_vm_backup

NAME = "the 'maas' ä"
SECRET = "correct horse battery staple"


class Lab:
    """A host with one machine, and the modules on it."""

    def __init__(self, way: Any, run_module: Any) -> None:
        self.way = way
        self.simulator = way.simulator
        self.run_module = run_module

    def vm(self, name: str = NAME, state: str = "poweredoff", **options: Any) -> dict[str, Any]:
        result = self.run_module(esxi_vm, **self.way.options, name=name, state=state, wait_for_address=False, **options)
        assert not result.get("failed"), result["msg"]
        return result.get("vm")

    def backup(self, check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"name": NAME, "datastore": "backup", **self.way.options, **options}
        return self.run_module(esxi_vm_backup, check=check, **given)

    def vms(self) -> dict[str, dict[str, Any]]:
        return {vm["name"]: vm for vm in self.run_module(esxi_host_info, **self.way.options)["vms"]}

    def disk(self, path: str, datastore: str = "datastore1") -> Path:
        return self.simulator.datastore(datastore) / path

    def fill(self, content: bytes) -> None:
        """Write to the beginning of the machine's first disk."""
        with self.disk(f"{NAME}/{NAME}-flat.vmdk").open("r+b") as disk:
            disk.write(content)

    def snapshots(self, name: str = NAME) -> list[Path]:
        return list(self.disk(name).glob("*-delta.vmdk"))

    def backups(self) -> list[str]:
        folder = self.disk(f"backup/{NAME}", "backup")
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def lab(own_host: Any, run_module: Any) -> Lab:
    lab = Lab(own_host, run_module)
    lab.vm(
        datastore="datastore1",
        cpus=2,
        disks=[{"size_gib": 1}, {"size_gib": 2}],
        networks=[{"network": "VM Network", "mac": "00:50:56:00:00:01"}],
        cloud_init={"user_data": f"#cloud-config\npassword: {SECRET}\n"},
    )
    lab.fill(b"first content")
    return lab


def changed(result: dict[str, Any]) -> bool:
    assert not result.get("failed"), result["msg"]
    return bool(result["changed"])


def content(path: Path, size: int = 13) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


# -- Making


@pytest.mark.parametrize("power", ["poweredoff", "poweredon"])
def test_a_backup_is_made_once(lab: Lab, power: str) -> None:
    lab.vm(state=power)
    checked = lab.backup(check=True, backup_name="one")
    assert changed(checked)
    assert checked["diff"] == {"before": {"backups": []}, "after": {"backups": ["one"]}}
    assert lab.backups() == []
    made = lab.backup(backup_name="one")
    assert changed(made)
    assert made["backups"] == ["one"]
    assert made["backup"]["complete"]
    assert made["backup"]["running"] is (power == "poweredon")
    assert [disk["capacity_bytes"] for disk in made["backup"]["disks"]] == [2**30, 2**31]
    folder = lab.disk(f"backup/{NAME}/one", "backup")
    assert content(folder / "disk-0-flat.vmdk") == b"first content"
    assert json.loads((folder / "backup.json").read_text())["complete"] is True
    assert lab.snapshots() == []
    again = lab.backup(backup_name="one")
    assert not changed(again)
    assert again["backup"] == made["backup"]
    assert lab.vms()[NAME]["power_state"] == power
    assert SECRET not in json.dumps([checked, made, again])


def test_a_running_machine_writes_on_while_it_is_copied(lab: Lab) -> None:
    """The copy is of the disk below the snapshot, whatever snapshots people have made before."""
    lab.vm(state="poweredon")
    assert changed(lab.backup(backup_name="one"))
    assert changed(lab.backup(backup_name="two"))
    copies = [lab.disk(f"backup/{NAME}/{name}/disk-0-flat.vmdk", "backup") for name in ("one", "two")]
    assert [content(copy) for copy in copies] == [b"first content"] * 2


def test_without_a_name_it_is_the_time(lab: Lab) -> None:
    result = lab.backup()
    assert changed(result)
    (name,) = lab.backups()
    assert result["backup"]["name"] == name
    assert len(name) == len("20261123T180000Z")
    assert name.endswith("Z")


def test_the_last_ones_are_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        monkeypatch.setattr(esxi_vm_backup, "name_by_time", lambda now, n=number: f"2026112{n}T000000Z")
        result = lab.backup(keep=2)
        assert changed(result)
    assert result["removed"] == ["20261121T000000Z"]
    assert result["backups"] == lab.backups() == ["20261122T000000Z", "20261123T000000Z"]


def test_old_ones_stay_when_the_new_one_fails(lab: Lab) -> None:
    lab.backup(backup_name="one")
    break_the_copy(lab)
    result = lab.backup(backup_name="two", keep=1)
    assert result["failed"]
    assert lab.backups() == ["one"]


def break_the_copy(lab: Lab, times: int = 1) -> None:
    if lab.way.transport == "api":
        lab.simulator.fault(method="CopyVirtualDisk_Task", fault="NoDiskSpace", when="middle", times=times)
    else:
        text = "Failed to clone disk: No space left on device (1835017)."
        lab.simulator.fault(command="vmkfstools -i", output=text, code=255, when="middle", times=times)


@pytest.mark.parametrize("power", ["poweredoff", "poweredon"])
def test_a_copy_that_fails_in_the_middle_leaves_nothing(lab: Lab, power: str) -> None:
    lab.vm(state=power)
    break_the_copy(lab)
    result = lab.backup(backup_name="one")
    assert result["failed"]
    assert result["error"]["fault"] == "NoDiskSpace"
    assert lab.backups() == []
    assert lab.snapshots() == []
    assert changed(lab.backup(backup_name="one"))


def test_a_lost_connection_leaves_no_snapshot_and_half_a_backup_goes_next_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esxi_vm_backup, "AGAIN_SECONDS", 0)
    lab.vm(state="poweredon")
    if lab.way.transport == "api":
        lab.simulator.fault(method="CopyVirtualDisk_Task", fault="drop")
    else:
        lab.simulator.fault(command="vmkfstools -i", output="drop", when="start")
    assert lab.backup(backup_name="one")["failed"]
    assert lab.snapshots() == []
    half = lab.backups()
    if half:
        # The host may still be copying.
        result = lab.backup(backup_name="two")
        assert result["failed"]
        assert "another run is at it, until" in result["msg"]
        edit_manifest(lab, "one", until=1)
    result = lab.backup(backup_name="two")
    assert changed(result)
    assert result["removed"] == half
    assert lab.backups() == ["two"]


def edit_manifest(lab: Lab, name: str, **fields: Any) -> None:
    path = lab.disk(f"backup/{NAME}/{name}/backup.json", "backup")
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_backup_that_another_run_makes_is_left_to_it(lab: Lab) -> None:
    lab.backup(backup_name="one")
    edit_manifest(lab, "one", complete=False, token="somebody", until=2**31)
    for check in (True, False):
        result = lab.backup(check=check, backup_name="two")
        assert result["failed"]
        assert "`state: absent` with `backup_name: one`" in result["msg"]
    assert lab.backups() == ["one"]
    assert changed(lab.backup(state="absent", backup_name="one"))
    assert changed(lab.backup(backup_name="two"))
    assert lab.backups() == ["two"]


@pytest.mark.parametrize("text", ['{"format": 2, "complete": true}', "half a manif", ""])
def test_a_manifest_that_cannot_be_read_is_kept(lab: Lab, text: str) -> None:
    lab.backup(backup_name="one")
    manifest = lab.disk(f"backup/{NAME}/one/backup.json", "backup")
    manifest.write_text(text)
    result = lab.backup(backup_name="two", keep=1)
    assert changed(result)
    assert "one/backup.json cannot be read" in str(result["warnings"])
    assert lab.backups() == ["one", "two"]
    assert content(manifest.parent / "disk-0-flat.vmdk") == b"first content"
    result = lab.backup(backup_name="one")
    assert result["failed"]
    assert "is there already, and is no backup that can be read" in result["msg"]
    assert manifest.read_text() == text
    assert changed(lab.backup(state="absent", backup_name="one"))
    assert lab.backups() == ["two"]


def test_what_a_later_version_adds_to_a_manifest_is_no_harm(lab: Lab) -> None:
    lab.backup(backup_name="one")
    edit_manifest(lab, "one", colour="blue")
    assert lab.backup(backup_name="two")["backups"] == lab.backups() == ["one", "two"]


def test_the_name_of_somebody_elses_folder_is_refused(lab: Lab) -> None:
    mine = lab.disk(f"backup/{NAME}/mine", "backup")
    mine.mkdir(parents=True)
    (mine / "disk-0.vmdk").write_text("mine")
    for check in (True, False):
        result = lab.backup(check=check, backup_name="mine")
        assert result["failed"]
        assert "is there already" in result["msg"]
    assert not changed(lab.backup(state="absent", backup_name="mine"))
    assert (mine / "disk-0.vmdk").read_text() == "mine"


def test_disks_that_were_copied_without_their_snapshot_are_no_backup(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.vm(state="poweredon")
    copy_disks = esxi_vm_backup._copy_disks

    def disturbed(backups: Any, *more: Any) -> None:
        copy_disks(backups, *more)
        esxi_vm_backup._remove_snapshots(backups.way, backups.way.vms.find(NAME))

    with monkeypatch.context() as other_run:
        other_run.setattr(esxi_vm_backup, "_copy_disks", disturbed)
        result = lab.backup(backup_name="one")
    assert result["failed"]
    assert "somebody removed its snapshot meanwhile" in result["msg"]
    assert lab.backups() == []


def test_what_a_crash_left_is_known(lab: Lab) -> None:
    """A manifest that is not complete, an empty folder; a folder of somebody else's stays."""
    lab.backup(backup_name="one")
    manifest = lab.disk(f"backup/{NAME}/one/backup.json", "backup")
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    lab.disk(f"backup/{NAME}/empty", "backup").mkdir()
    lab.disk(f"backup/{NAME}/empty/backup.json.partial", "backup").write_text("half")
    lab.disk(f"backup/{NAME}/mine", "backup").mkdir()
    lab.disk(f"backup/{NAME}/mine/notes.txt", "backup").write_text("mine")
    checked = lab.backup(check=True, backup_name="two")
    assert checked["removed"] == ["empty", "one"]
    assert lab.backups() == ["empty", "mine", "one"]
    assert lab.backup(backup_name="two")["removed"] == ["empty", "one"]
    assert lab.backups() == ["mine", "two"]


def test_the_snapshot_that_a_crash_left_goes_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.vm(state="poweredon")
    with monkeypatch.context() as crash:
        crash.setattr(esxi_vm_backup, "_remove_snapshots", lambda way, state: False)
        lab.backup(backup_name="one")
    assert len(lab.snapshots()) == 2
    result = lab.backup(backup_name="two")
    assert changed(result)
    assert lab.snapshots() == []
    assert result["backup"]["disks"][0]["source"] == f"[datastore1] {NAME}/{NAME}.vmdk"
    assert content(lab.disk(f"backup/{NAME}/two/disk-0-flat.vmdk", "backup")) == b"first content"


def test_other_peoples_snapshots_stay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.vm(state="poweredon")
    with monkeypatch.context() as people:
        people.setattr(esxi_vm_backup, "SNAPSHOT", "before the upgrade")
        people.setattr(esxi_vm_backup, "_remove_snapshots", lambda way, state: False)
        lab.backup(backup_name="one")
    assert changed(lab.backup(backup_name="two"))
    assert len(lab.snapshots()) == 2
    assert content(lab.disk(f"backup/{NAME}/two/disk-0-flat.vmdk", "backup")) == b"first content"
    lab.vm()
    assert changed(lab.backup(backup_name="three"))
    assert content(lab.disk(f"backup/{NAME}/three/disk-0-flat.vmdk", "backup")) == b"first content"


def test_what_half_a_backup_takes_up_is_free_for_the_next(lab: Lab) -> None:
    with lab.disk(f"{NAME}/{NAME}-flat.vmdk").open("r+b") as disk:
        disk.write(b"x" * 2**22)
    lab.backup(backup_name="one")
    edit_manifest(lab, "one", complete=False)
    lab.simulator.capacity("backup", 6 / 1024)
    assert changed(lab.backup(check=True, backup_name="two"))
    assert changed(lab.backup(backup_name="two"))
    assert lab.backups() == ["two"]


def test_half_a_backup_is_made_anew_under_its_name(lab: Lab) -> None:
    lab.backup(backup_name="one")
    edit_manifest(lab, "one", complete=False)
    result = lab.backup(backup_name="one")
    assert changed(result)
    assert result["backups"] == lab.backups() == ["one"]
    assert not changed(lab.backup(backup_name="one"))


def test_space_is_compared_before_the_start(lab: Lab) -> None:
    with lab.disk(f"{NAME}/{NAME}-flat.vmdk").open("r+b") as disk:
        disk.write(b"x" * 2**22)
    lab.simulator.capacity("backup", 0.001)
    for check in (True, False):
        result = lab.backup(check=check, backup_name="one")
        assert result["failed"]
        assert "it takes up to 4.0 MiB, and backup has 1.0 MiB free" in result["msg"]
    assert lab.backups() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "nobody"}, "VM nobody: backing it up: the host has no such VM"),
        ({"datastore": "nowhere"}, "it has backup, datastore1"),
        ({"backup_name": "../x"}, "`backup_name`"),
        ({"name": "../x"}, "`name`"),
        ({"folder": "x/../.."}, "`folder`"),
        ({"keep": 0}, "`keep`"),
        ({"state": "restored"}, "has no complete backup"),
        ({"state": "restored", "backup_name": "x"}, "looking for the backup x"),
    ],
)
def test_what_cannot_be_is_named(lab: Lab, options: dict[str, Any], message: str) -> None:
    result = lab.backup(**options)
    assert result["failed"]
    assert message in result["msg"]


# -- Restoring


def test_restored_beside_the_old_one_it_is_a_new_machine(lab: Lab) -> None:
    lab.backup(backup_name="one")
    checked = lab.backup(check=True, state="restored", new_name="copy")
    assert changed(checked)
    assert "copy" not in lab.vms()
    assert not lab.disk("copy").exists()
    made = lab.backup(state="restored", new_name="copy")
    assert changed(made)
    assert made["vm"]["path"] == "[datastore1] copy/copy.vmx"
    again = lab.backup(state="restored", new_name="copy")
    assert not changed(again)
    assert again["vm"] == made["vm"]
    old, new = lab.vm(state="poweredon"), lab.vm("copy", state="poweredon")
    assert new["uuid"] != old["uuid"]
    assert new["networks"][0]["mac"] != old["networks"][0]["mac"]
    assert new["cpus"] == 2
    assert [disk["size_gib"] for disk in new["disks"]] == [1, 2]
    assert content(lab.disk("copy/disk-0-flat.vmdk")) == b"first content"
    assert not lab.disk("copy/restoring.json").exists()


def test_restored_in_place_it_is_the_same_machine(lab: Lab) -> None:
    old = lab.vm(state="poweredon")
    lab.vm()
    lab.backup(backup_name="one")
    lab.fill(b"later content")
    for options, message in (({}, "`allow_overwrite: true`"), ({"check": True}, "`allow_overwrite: true`")):
        assert message in lab.backup(state="restored", **options)["msg"]
    made = lab.backup(state="restored", allow_overwrite=True)
    assert changed(made)
    assert list(lab.vms()) == [NAME]
    assert not lab.disk(NAME).exists()
    folder = f"{NAME}-one"
    assert made["vm"]["path"] == f"[datastore1] {folder}/{NAME}.vmx"
    assert content(lab.disk(f"{folder}/disk-0-flat.vmdk")) == b"first content"
    assert not changed(lab.backup(state="restored", allow_overwrite=True))
    new = lab.vm(state="poweredon")
    assert new["uuid"] == old["uuid"]
    assert new["networks"][0]["mac"] == old["networks"][0]["mac"] == "00:50:56:00:00:01"
    # and it can be backed up and restored again
    lab.vm()
    assert changed(lab.backup(backup_name="two"))
    assert changed(lab.backup(state="restored", backup_name="two", allow_overwrite=True))
    assert list(lab.vms()) == [NAME]


def test_a_running_machine_is_not_replaced(lab: Lab) -> None:
    lab.backup(backup_name="one")
    lab.vm(state="poweredon")
    result = lab.backup(state="restored", allow_overwrite=True)
    assert result["failed"]
    assert "is poweredon" in result["msg"]


def test_a_lost_machine_comes_back(lab: Lab) -> None:
    lab.backup(backup_name="one")
    lab.vm(state="absent")
    assert NAME not in lab.vms()
    made = lab.backup(state="restored")
    assert changed(made)
    assert made["vm"]["path"] == f"[datastore1] {NAME}/{NAME}.vmx"
    vmx = Vmx.parse(lab.disk(f"{NAME}/{NAME}.vmx").read_text())
    assert vmx.get("guestinfo.userdata")


def test_the_old_machine_is_kept_when_the_restoring_fails(lab: Lab) -> None:
    lab.backup(backup_name="one")
    break_the_copy(lab)
    result = lab.backup(state="restored", allow_overwrite=True)
    assert result["failed"]
    assert list(lab.vms()) == [NAME]
    assert not lab.disk(f"{NAME}-one").exists()
    if lab.way.transport == "api":
        lab.simulator.fault(method="RegisterVM_Task", fault="InvalidState", when="start")
    else:
        text = '(vim.fault.InvalidState) {\n   msg = "no"\n}'
        lab.simulator.fault(command="vim-cmd solo/registervm", output=text, code=1, when="start")
    result = lab.backup(state="restored", allow_overwrite=True)
    assert result["failed"]
    assert list(lab.vms()) == [NAME]
    assert not lab.disk(f"{NAME}-one").exists()
    assert lab.vm(state="poweredon")["power_state"] == "poweredon"


def test_half_a_restored_machine_of_a_crash_is_made_anew(lab: Lab) -> None:
    lab.backup(backup_name="one")
    lab.disk("copy").mkdir()
    manifest = json.loads(lab.disk(f"backup/{NAME}/one/backup.json", "backup").read_text())
    lab.disk("copy/restoring.json").write_text(json.dumps({**manifest, "until": 2**31}))
    lab.disk("copy/disk-0.vmdk").write_text("half")
    result = lab.backup(state="restored", new_name="copy")
    assert result["failed"]
    assert "another run is at it, until" in result["msg"]
    lab.disk("copy/restoring.json").write_text(json.dumps({**manifest, "until": 1}))
    assert changed(lab.backup(state="restored", new_name="copy"))
    assert "copy" in lab.vms()
    for folder in ("other", "other-one"):
        lab.disk(folder).mkdir()
    result = lab.backup(state="restored", new_name="other")
    assert result["failed"]
    assert "are there already" in result["msg"]


def test_a_changed_configuration_is_not_restored(lab: Lab) -> None:
    lab.backup(backup_name="one")
    with lab.disk(f"backup/{NAME}/one/machine.vmx", "backup").open("a") as vmx:
        vmx.write('numvcpus = "64"\n')
    result = lab.backup(state="restored", new_name="copy")
    assert result["failed"]
    assert "not the one that was saved" in result["msg"]
    assert not lab.disk("copy").exists()


def test_space_is_compared_before_restoring(lab: Lab) -> None:
    with lab.disk(f"{NAME}/{NAME}-flat.vmdk").open("r+b") as disk:
        disk.write(b"x" * 2**22)
    lab.backup(backup_name="one")
    lab.vm(state="absent")
    lab.simulator.capacity("datastore1", 0.001)
    result = lab.backup(state="restored")
    assert result["failed"]
    assert "datastore1 has 1.0 MiB free" in result["msg"]


@pytest.mark.parametrize("new_name", ["backup/x", "../backup/backup", "..", "../x", "x ", "a\\b"])
def test_a_name_never_leads_elsewhere(lab: Lab, new_name: str) -> None:
    lab.backup(backup_name="one")
    for target in (new_name.replace("x", NAME), new_name):
        result = lab.backup(state="restored", new_name=target, restore_datastore="backup")
        assert result["failed"]
        assert "Reading `new_name`" in result["msg"]
    assert lab.backups() == ["one"]
    assert content(lab.disk(f"backup/{NAME}/one/disk-0-flat.vmdk", "backup")) == b"first content"


def test_what_comes_into_the_place_meanwhile_stays(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.backup(backup_name="one")
    lab.disk("copy").mkdir()
    lab.disk("copy/mine.txt").write_text("mine")
    monkeypatch.setattr(esxi_vm_backup, "_free_folder", lambda way, store, name, manifest, asked: name)
    result = lab.backup(state="restored", new_name="copy")
    assert result["failed"]
    assert lab.disk("copy/mine.txt").read_text() == "mine"


def test_what_was_on_since_is_restored_again(lab: Lab) -> None:
    lab.backup(backup_name="one")
    assert changed(lab.backup(state="restored", allow_overwrite=True))
    folder = lab.disk(f"{NAME}-one")
    # A host begins it at the start.
    (folder / "vmware.log").write_text("")
    with (folder / "disk-0-flat.vmdk").open("r+b") as disk:
        disk.write(b"broken content")
    assert not changed(lab.backup(state="restored"))
    again = lab.backup(state="restored", allow_overwrite=True)
    assert changed(again)
    assert again["vm"]["path"] == f"[datastore1] {NAME}/{NAME}.vmx"
    assert list(lab.vms()) == [NAME]
    assert content(lab.disk(f"{NAME}/disk-0-flat.vmdk")) == b"first content"


def test_a_registered_machine_is_never_taken_for_half_a_one(lab: Lab) -> None:
    lab.backup(backup_name="one")
    assert changed(lab.backup(state="restored", new_name="copy"))
    manifest = json.loads(lab.disk(f"backup/{NAME}/one/backup.json", "backup").read_text())
    forgotten = lab.disk("copy/restoring.json")
    forgotten.write_text(json.dumps({**manifest, "until": 1}))
    (lab.disk("copy") / "vmware.log").write_text("")
    again = lab.backup(state="restored", new_name="copy", allow_overwrite=True)
    assert changed(again)
    assert again["vm"]["path"] == "[datastore1] copy-one/copy.vmx"
    lab.disk("copy-one/restoring.json").write_text(json.dumps({**manifest, "until": 1}))
    assert changed(lab.backup(state="restored", new_name="copy"))
    assert not lab.disk("copy-one/restoring.json").exists()
    assert not changed(lab.backup(state="restored", new_name="copy"))


def test_a_machine_that_the_host_registered_without_saying_so_is_taken_back(lab: Lab) -> None:
    lab.backup(backup_name="one")
    if lab.way.transport == "api":
        lab.simulator.fault(method="RegisterVM_Task", fault="InvalidState", when="middle")
    else:
        text = '(vim.fault.InvalidState) {\n   msg = "no"\n}'
        lab.simulator.fault(command="vim-cmd solo/registervm", output=text, code=1, when="middle")
    assert lab.backup(state="restored", allow_overwrite=True)["failed"]
    assert list(lab.vms()) == [NAME]
    assert not lab.disk(f"{NAME}-one").exists()
    assert content(lab.disk(f"{NAME}/{NAME}-flat.vmdk")) == b"first content"


def test_a_name_that_becomes_too_long_is_refused_first(lab: Lab) -> None:
    lab.backup(backup_name="one" * 20)
    result = lab.backup(state="restored", allow_overwrite=True)
    assert result["failed"]
    assert "takes names of 80 letters" in result["msg"]
    assert not lab.disk(f"{NAME}-{'one' * 20}").exists()


def test_the_restored_machine_starts_with_the_host_as_the_old_one_did(lab: Lab) -> None:
    autostart = {"enabled": True, "order": 1, "start_delay_seconds": 40}
    old = lab.vm(autostart=autostart)
    lab.backup(backup_name="one")
    assert changed(lab.backup(state="restored", allow_overwrite=True))
    new = lab.vm()
    assert new["id"] != old["id"]
    assert {key: new["autostart"][key] for key in autostart} == autostart


# -- Removing


def test_one_backup_is_removed(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.backup(backup_name=name)
    assert changed(lab.backup(check=True, state="absent", backup_name="one"))
    result = lab.backup(state="absent", backup_name="one")
    assert changed(result)
    assert result["backups"] == lab.backups() == ["two"]
    assert not changed(lab.backup(state="absent", backup_name="one"))


def test_no_change_costs_little(lab: Lab) -> None:
    lab.backup(backup_name="one")
    lab.simulator.reset_counts()
    assert not changed(lab.backup(backup_name="one"))
    assert len(lab.way.asked()) == (13 if lab.way.transport == "api" else 5)
