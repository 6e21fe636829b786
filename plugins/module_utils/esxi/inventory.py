# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machines that a host has registered, as `vim-cmd vmsvc/getallvms` lists them."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import Output

GET_ALL_VMS = ("vim-cmd", "vmsvc/getallvms")

# `1      x8     [pve-esx] x8/x8.vmx   centos9_64Guest   vmx-20   annotation`. Names hold spaces, and annotations
# lines of their own: only a line with all of it is a machine. Three blanks or more are between two columns.
_ROW = re.compile(
    r"^(?P<id>\d+) {2,}(?P<name>\S.*?) {2,}(?P<path>\[[^\]]+\] \S.*?\.vmx) {2,}(?P<guest_id>\S+) {2,}"
    r"(?P<version>vmx-\d+)"
    r"(?:\s(?P<annotation>.*))?$",
    re.MULTILINE,
)
_INVALID = re.compile(r"Skipping invalid VM '(\d+)'")


@dataclass(frozen=True)
class RegisteredVm:
    id: str
    name: str
    path: str
    guest_id: str
    version: str
    annotation: str


def parse_vms(text: str) -> t.List[RegisteredVm]:
    return [
        RegisteredVm(
            row.group("id"),
            row.group("name"),
            row.group("path"),
            row.group("guest_id"),
            row.group("version"),
            (row.group("annotation") or "").strip(),
        )
        for row in _ROW.finditer(text)
    ]


def vms_in(output: Output) -> t.List[RegisteredVm]:
    """A list with its heading is whole: people's notes in it may read like errors."""
    return parse_vms(output.text if "Vmid" in output.text else output.checked())


def invalid_vms(text: str) -> t.List[str]:
    """The ids of machines whose .vmx the host cannot read."""
    return _INVALID.findall(text)
