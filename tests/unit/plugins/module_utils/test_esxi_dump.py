# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import (
    number_of_cell,
    parse_dump,
    rows_of_csv,
    words_of_cell,
)

SUMMARY = """Listsummary:

(vim.vm.Summary) {
   vm = 'vim.VirtualMachine:11',
   runtime = (vim.vm.RuntimeInfo) {
      device = <unset>,
      powerState = "poweredOn",
      bootTime = <unset>,
      dasVmProtection = (vim.vm.RuntimeInfo.DasProtectionState) null,
      toolsInstallerMounted = false,
      maxCpuUsage = 4800,
      featureRequirement = (vim.vm.FeatureRequirement) [
         (vim.vm.FeatureRequirement) {
            key = "cpuid.SSE3",
            value = "Bool:Min:1"
         },
         (vim.vm.FeatureRequirement) {
            key = "cpuid.PCLMULQDQ"
         }
      ],
   },
   guest = (vim.vm.Summary.GuestSummary) {
      ipAddress = "10.77.0.10",
      hostName = <unset>
   },
   config = (vim.vm.Summary.ConfigSummary) {
      name = "the "old" maas, 1 = 2",
      annotation = "first line
  second = (line) {
last",
      vmPathName = "[datastore1] maas/maas.vmx",
      networks = (string) [
         "VM Network",
         "lab"
      ],
      empty = (vim.Task) [],
      guestFullName = "Debian(R) Linux (64-bit)",
      memorySizeMB = 2048
   },
   alarmActionsEnabled = <unset>
}
""".replace(",\n", ", \n")  # vim-cmd leaves a space there


def test_a_summary_becomes_a_dict() -> None:
    summary = parse_dump(SUMMARY)
    assert summary["vm"] == "vim.VirtualMachine:11"
    assert summary["runtime"]["powerState"] == "poweredOn"
    assert summary["runtime"]["dasVmProtection"] is None
    assert summary["runtime"]["toolsInstallerMounted"] is False
    assert [f["key"] for f in summary["runtime"]["featureRequirement"]] == ["cpuid.SSE3", "cpuid.PCLMULQDQ"]
    assert summary["guest"] == {"ipAddress": "10.77.0.10", "hostName": None}
    assert summary["config"]["networks"] == ["VM Network", "lab"]
    assert summary["config"]["empty"] == []
    assert summary["config"]["memorySizeMB"] == 2048


def test_free_text_keeps_its_quotes_and_lines() -> None:
    config = parse_dump(SUMMARY)["config"]
    assert config["name"] == 'the "old" maas, 1 = 2'
    assert config["annotation"] == "first line\n  second = (line) {\nlast"
    assert config["guestFullName"] == "Debian(R) Linux (64-bit)"
    assert config["vmPathName"] == "[datastore1] maas/maas.vmx"


def test_a_list_at_the_top() -> None:
    text = """(vim.host.AutoStartManager.AutoPowerInfo) [
   (vim.host.AutoStartManager.AutoPowerInfo) {
      key = 'vim.VirtualMachine:11',
      startOrder = 3
   }
]"""
    assert parse_dump(text) == [{"key": "vim.VirtualMachine:11", "startOrder": 3}]
    assert parse_dump("(vim.host.AutoStartManager.AutoPowerInfo) [\n]") == []


def test_nothing_where_no_object_was_printed() -> None:
    assert parse_dump("") is None
    assert parse_dump("No message.\n") is None


def test_a_text_that_breaks_off_gives_what_there_is() -> None:
    assert parse_dump('(a) {\n  b = "c",\n  d = "e') == {"b": "c", "d": "e"}


def test_tables_of_esxcli() -> None:
    text = (
        "ConfiguredPorts,MTU,Name,Portgroups,Uplinks,\n"
        '128,1500,vSwitch0,"VM Network,Management Network,","vmnic0,vmnic1,",\n'
        '1024,9000,"a, b",,,\n'
    )
    rows = rows_of_csv(text)
    assert [row["Name"] for row in rows] == ["vSwitch0", "a, b"]
    assert words_of_cell(rows[0]["Uplinks"]) == ["vmnic0", "vmnic1"]
    assert words_of_cell(rows[1]["Uplinks"]) == []
    assert words_of_cell("string=vmnic0,string=vmnic1") == ["vmnic0", "vmnic1"]
    assert rows_of_csv("Mount Point,Volume Name,\n/vmfs/volumes/1,ds,\n") == [
        {"MountPoint": "/vmfs/volumes/1", "VolumeName": "ds"}
    ]
    assert rows_of_csv("") == []
    assert number_of_cell("137322913792 Bytes") == 137322913792
    assert number_of_cell("") == number_of_cell(None) == number_of_cell("many") == 0
