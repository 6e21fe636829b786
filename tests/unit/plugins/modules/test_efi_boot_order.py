# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import efi_boot_order

# As Intel's NUCs with Aptio firmware show themselves to efibootmgr 15 and later: names with colons and brackets, a path
# behind a tab, data of the firmware behind the path, both protocols for each interface, HTTP boot beside PXE.
NUC = """\
BootCurrent: 0000
Timeout: 1 seconds
BootOrder: 0000,0003,0005,0004,0002,0009
Boot0000* debian\tHD(1,GPT,11111111-2222-3333-4444-555555555555,0x800,0x80000)/File(\\EFI\\debian\\shimx64.efi)
Boot0002* UEFI: HTTP IPv4 Intel(R) Ethernet Connection (5) I219-V\tPciRoot(0x0)/Pci(0x1f,0x6)/MAC(94c691aabb01,0)/\
IPv4(0.0.0.0,0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)/Uri()..BO
Boot0003* UEFI: PXE IPv6 Intel(R) Ethernet Connection (5) I219-V\tPciRoot(0x0)/Pci(0x1f,0x6)/MAC(94c691aabb01,0)/\
IPv6([::]:<->[::]:,0,0)..BO
Boot0004* UEFI: PXE IPv4 Intel(R) Ethernet Connection (5) I219-V\tPciRoot(0x0)/Pci(0x1f,0x6)/MAC(94c691aabb01,0)/\
IPv4(0.0.0.0,0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)..BO
Boot0005  UEFI: PXE IPv4 Realtek USB FE Family Controller\tPciRoot(0x0)/Pci(0x14,0x0)/USB(3,0)/MAC(00e04c680002,0)/\
IPv4(0.0.0.0,0,DHCP,0.0.0.0,0.0.0.0,0.0.0.0)..BO
"""
# QEMU's firmware as efibootmgr 17 shows it, with a boot entry as GRUB's installation makes it.
OVMF = """\
BootCurrent: 0003
Timeout: 0 seconds
BootOrder: 0004,0001,0003,0002
Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)
Boot0001* UEFI Misc Device\tPciRoot(0x0)/Pci(0x1,0x0)N.....YM....R,Y.
Boot0002* EFI Internal Shell\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(7c04a583-9e3e-4f1c-ad65-e05268d0b4d1)
Boot0003* UEFI PXEv4 (MAC:525400ED9E01)\tPciRoot(0x0)/Pci(0x2,0x0)/MAC(525400ed9e01,1)/\
IPv4(0.0.0.00.0.0.0,0,0)N.....YM....R,Y.
Boot0004* debian\tHD(1,GPT,11111111-2222-3333-4444-555555555555,0x800,0x80000)/File(\\EFI\\debian\\shimx64.efi)
Boot0005* UEFI HTTPv4 (MAC:525400ED9E01)\tPciRoot(0x0)/Pci(0x2,0x0)/MAC(525400ed9e01,1)/\
IPv4(0.0.0.00.0.0.0,0,0)/Uri()N.....YM....R,Y.
"""
NO_NETWORK = """\
BootOrder: 0001
Boot0001* Windows Boot Manager\tHD(1,GPT,11111111-2222-3333-4444-555555555555,0x800,0x32000)/File(\\EFI\\M\\boot.efi)
Boot0007* IBA GE Slot 00C8 v1550\tBBS(Network,,0x0)
"""
I219, USB = "94:c6:91:aa:bb:01", "00:E0:4C:68:00:02"

EFIBOOTMGR = """\
#!{python}
import pathlib, re, sys
state, calls = pathlib.Path({state!r}), pathlib.Path({calls!r})
text, arguments = state.read_text(), sys.argv[1:]
if arguments == ["-v"]:
    print(text, end="")
    sys.exit()
with calls.open("a") as file:
    print(*arguments, file=file)
if {broken}:
    sys.exit("Could not set BootOrder: Operation not permitted")
if arguments[0] == "--bootorder" and not {stubborn}:
    text = re.sub("(?m)^BootOrder: .*", "BootOrder: " + arguments[1], text)
elif arguments[0] == "--bootnum":
    marks = ("  ", "* ") if arguments[2] == "--active" else ("* ", "  ")
    text = text.replace("Boot" + arguments[1] + marks[0], "Boot" + arguments[1] + marks[1])
state.write_text(text)
"""


class Device:
    """A machine whose efibootmgr works on a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.firmware, self.calls, self.kept = folder / "firmware", folder / "calls", folder / "state" / "order.json"
        (folder / "efi" / "efivars").mkdir(parents=True)
        (folder / "bin").mkdir()
        monkeypatch.setattr(efi_boot_order, "EFIVARS", str(folder / "efi" / "efivars"))
        monkeypatch.setattr(efi_boot_order, "MOUNTS", str(folder / "mounts"))
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        self.mount("rw")

    def mount(self, options: str) -> None:
        place = self.folder / "efi" / "efivars"
        (self.folder / "mounts").write_text(f"efivarfs {place} efivarfs {options},nosuid 0 0\n")

    def shows(self, text: str, broken: bool = False, stubborn: bool = False) -> None:
        self.firmware.write_text(text)
        program = self.folder / "bin" / "efibootmgr"
        settings = {"state": str(self.firmware), "calls": str(self.calls), "broken": broken, "stubborn": stubborn}
        program.write_text(EFIBOOTMGR.format(python=sys.executable, **settings))
        program.chmod(0o755)

    @property
    def changes(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tmp_path, monkeypatch)


@pytest.fixture
def run(device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    from ansible.module_utils import basic

    def call(check: bool = False, **options: Any) -> dict[str, Any]:
        options = {"state_file": str(device.kept), **options}
        options.update(_ansible_check_mode=check, _ansible_diff=True, _ansible_remote_tmp=str(device.folder))
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            efi_boot_order.main()
        return dict(json.loads(capsys.readouterr().out))

    return call


def test_network_boot_comes_first_and_goes_back(device: Device, run: Any) -> None:
    device.shows(OVMF)
    predicted = run(check=True)
    assert predicted["changed"]
    assert (device.changes, device.kept.exists()) == ([], False)

    done = run()
    assert done["diff"] == predicted["diff"]
    assert done["diff"]["after"].splitlines()[:2] == ["0003 UEFI PXEv4 (MAC:525400ED9E01)", "0004 debian"]
    assert done["order"] == predicted["order"] == ["0003", "0004", "0001", "0002"]
    assert done["network_entries"] == ["0003"]
    assert device.changes == ["--bootorder 0003,0004,0001,0002"]

    assert not run()["changed"]
    assert len(device.changes) == 1

    back = run(state="restored")
    assert (back["changed"], back["order"]) == (True, ["0004", "0001", "0003", "0002"])
    assert not device.kept.exists()
    assert not run(state="restored")["changed"]


def test_the_interface_decides_between_several_network_entries(device: Device, run: Any) -> None:
    device.shows(NUC)
    assert run(check=True, macs=[I219])["order"] == ["0004", "0000", "0003", "0005", "0002"]
    assert run(check=True, macs=[USB, I219])["network_entries"] == ["0005", "0004"]
    # Neither IPv6 nor HTTP boot; without an interface as the firmware has them.
    assert run(check=True)["network_entries"] == ["0005", "0004"]
    assert device.changes == []


def test_an_inactive_network_entry_is_switched_on(device: Device, run: Any) -> None:
    device.shows(NUC)
    done = run(macs=[USB])
    assert device.changes == ["--bootnum 0005 --active", "--bootorder 0005,0000,0003,0004,0002"]
    assert "(inactive)" in done["diff"]["before"]
    assert "(inactive)" not in done["diff"]["after"]
    assert not run(macs=[USB])["changed"]

    # And off again on the way back.
    predicted = run(check=True, state="restored")
    assert "0005 UEFI: PXE IPv4 Realtek USB FE Family Controller (inactive)" in predicted["diff"]["after"]
    assert run(state="restored")["diff"] == predicted["diff"]
    assert device.changes[2:] == ["--bootnum 0005 --inactive", "--bootorder 0000,0003,0005,0004,0002"]
    assert device.firmware.read_text().replace(",0009", "") == NUC.replace(",0009", "")


def test_last_puts_the_disk_before_the_network(device: Device, run: Any) -> None:
    device.shows(OVMF)
    assert run(state="last")["order"] == ["0004", "0001", "0002", "0003"]
    assert not run(state="last")["changed"]


def test_the_first_order_is_the_one_that_is_kept(device: Device, run: Any) -> None:
    device.shows(OVMF)
    run(state="first")
    run(state="last")
    assert json.loads(device.kept.read_text()) == {"order": ["0004", "0001", "0003", "0002"], "inactive": []}


def test_entries_that_came_and_went_do_not_stop_the_way_back(device: Device, run: Any) -> None:
    device.shows(OVMF)
    run()
    text = device.firmware.read_text().replace("Boot0001* UEFI Misc Device", "Boot0006* USB stick")
    device.firmware.write_text(text.replace("0003,0004,0001,0002", "0006,0003,0004,0002"))
    assert run(state="restored")["order"] == ["0004", "0003", "0002", "0006"]


@pytest.mark.parametrize(
    ("text", "macs", "message"),
    [
        (
            NO_NETWORK,
            [],
            "no entry for network boot (PXE over IPv4). Its entries: 0001 Windows Boot Manager; 0007 IBA GE",
        ),
        (NUC, ["52:54:00:00:00:99"], "no entry for network boot (PXE over IPv4) of 52:54:00:00:00:99"),
        ("BootCurrent: 0000\n", [], "efibootmgr shows no boot entries"),
    ],
)
def test_a_firmware_without_a_network_entry_is_refused(
    device: Device, run: Any, text: str, macs: list[str], message: str
) -> None:
    device.shows(text)
    failed = run(macs=macs)
    assert failed["failed"]
    assert message in failed["msg"]
    assert device.changes == []


def test_bios_boot_and_read_only_variables_are_refused(device: Device, run: Any, monkeypatch: Any) -> None:
    device.shows(OVMF)
    device.mount("ro")
    assert "read-only; mount it anew: mount -o remount,rw" in run()["msg"]
    (device.folder / "mounts").write_text("")
    assert "is not mounted; mount it" in run()["msg"]
    monkeypatch.setattr(efi_boot_order, "EFIVARS", str(device.folder / "none" / "efivars"))
    assert "did not boot in UEFI mode" in run()["msg"]


def test_a_firmware_that_refuses_or_forgets_is_named(device: Device, run: Any) -> None:
    device.shows(OVMF, broken=True)
    assert "--bootorder 0003,0004,0001,0002 ended with 1: Could not set BootOrder" in run()["msg"]
    device.shows(OVMF, stubborn=True)
    assert "does not let an operating system decide" in run()["msg"]


def test_a_broken_record_is_not_guessed_at(device: Device, run: Any) -> None:
    device.shows(OVMF)
    device.kept.parent.mkdir()
    device.kept.write_text("{}")
    assert "order.json cannot be read" in run(state="restored")["msg"]
    device.kept.unlink()
    device.kept.mkdir()
    assert "order.json, which keeps the earlier order, cannot be used" in run(state="restored")["msg"]
    device.kept.rmdir()
    device.kept.parent.rmdir()
    device.kept.parent.write_text("")
    assert "cannot be used" in run()["msg"]
    assert device.changes == []
