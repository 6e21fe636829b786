#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: efi_boot_order
short_description: Put network boot first or last in the firmware's boot order
version_added: "0.1.0"
description:
  - Reads the boot entries of the UEFI firmware on the target with C(efibootmgr), moves those that boot from the
    network by PXE over IPv4, and reads them back.
  - The order it found is kept on the target before the first change, so that O(state=restored) can put it back.
author:
  - The edge.rack engineers (@edge-rack)
requirements:
  - C(efibootmgr) on the target, which has booted in UEFI mode
extends_documentation_fragment:
  - edge.rack.attributes
options:
  state:
    description:
      - V(first) and V(last) put the network entries at that end of the order; the others keep theirs.
      - V(restored) puts the order back that was found before the first change; entries that are new since then come
        last. Without a kept order nothing is changed.
    type: str
    choices: [first, last, restored]
    default: first
  macs:
    description:
      - MAC addresses of the interfaces to boot from, the best one first. Network entries of other interfaces stay where
        they are.
      - Without any, all network entries are moved, in the firmware's order.
    type: list
    elements: str
    default: []
  state_file:
    description: Where the order that was found is kept.
    type: path
    default: /var/lib/edge/state/efi_boot_order.json
seealso:
  - module: community.general.ipmi_boot
    description: The next boot, through a BMC.
"""

EXAMPLES = r"""
- name: Device boots from the network first
  edge.rack.efi_boot_order:
    macs: ["{{ ansible_facts['default_ipv4']['macaddress'] }}"]

- name: Device boots as it did before
  edge.rack.efi_boot_order:
    state: restored
"""

RETURN = r"""
order:
  description: Numbers of the boot entries, in the order they are tried.
  type: list
  elements: str
  returned: success
  sample: ["0003", "0001", "0000"]
network_entries:
  description: Numbers of the network entries that O(state) is about.
  type: list
  elements: str
  returned: success
  sample: ["0003"]
entries:
  description: Names of all boot entries.
  type: dict
  returned: success
  sample: {"0001": "debian", "0003": "UEFI PXEv4 (MAC:525400ED9E01)"}
"""

import contextlib
import json
import os
import re
import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule

EFIVARS = "/sys/firmware/efi/efivars"
MOUNTS = "/proc/mounts"
# A name may hold anything but a tab: with a path efibootmgr puts one between the two, before version 18 only with -v.
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})([* ]) ([^\t\n]*)(?:\t(.*))?$", re.MULTILINE)
_ORDER = re.compile(r"^BootOrder: ([0-9A-Fa-f,]+)$", re.MULTILINE)
_MAC = re.compile(r"\bMAC\(([0-9A-Fa-f]{12})", re.IGNORECASE)


class BootOrderError(Exception):
    """What stands in the way; the message says what to do about it."""


@dataclass(frozen=True)
class Entry:
    """One boot entry of the firmware."""

    number: str
    active: bool
    name: str
    path: str

    @property
    def mac(self) -> str:
        """The interface's address, as twelve small hexadecimal digits; empty for what is no interface."""
        found = _MAC.search(self.path)
        return found.group(1).lower() if found else ""

    @property
    def is_pxe(self) -> bool:
        """PXE over IPv4. An entry with a URI is HTTP boot, which MAAS's DHCP server answers otherwise."""
        return bool(self.mac) and "IPv4(" in self.path and "Uri(" not in self.path


@dataclass(frozen=True)
class Firmware:
    """What efibootmgr shows."""

    order: list[str]
    entries: dict[str, Entry] = field(default_factory=dict)


def parse(text: str) -> Firmware:
    """Read the output of `efibootmgr -v`."""
    entries = {
        number.upper(): Entry(number.upper(), mark == "*", name.strip(), path or "")
        for number, mark, name, path in _ENTRY.findall(text)
    }
    order = _ORDER.search(text)
    # A number without an entry is what a removed one left behind; the firmware skips it, and so do we.
    return Firmware(
        [number for number in (order.group(1).upper().split(",") if order else []) if number in entries], entries
    )


def network_entries(firmware: Firmware, macs: list[str]) -> list[str]:
    """Numbers of the entries to move, the best first."""
    known = firmware.order + [number for number in firmware.entries if number not in firmware.order]
    pxe = [firmware.entries[number] for number in known if firmware.entries[number].is_pxe]
    wanted = [re.sub(r"[^0-9a-f]", "", mac.lower()) for mac in macs]
    chosen = (
        [entry.number for mac in wanted for entry in pxe if entry.mac == mac] if wanted else [e.number for e in pxe]
    )
    if chosen:
        return chosen
    shown = "; ".join(f"{entry.number} {entry.name}" for entry in firmware.entries.values()) or "none at all"
    whose = f" of {', '.join(macs)}" if macs else ""
    raise BootOrderError(
        f"the firmware has no entry for network boot (PXE over IPv4){whose}. Its entries: {shown}. Switch network boot "
        "on in the firmware's setup (docs/nuc-bios.md says where on a NUC) and start the machine once"
    )


@dataclass(frozen=True)
class Kept:
    """What was found before the first change."""

    order: list[str]
    inactive: list[str] = field(default_factory=list)


def planned(firmware: Firmware, network: list[str], state: str, kept: Kept | None) -> list[str]:
    """The order that is wanted."""
    if state == "restored":
        if kept is None:
            return firmware.order
        there = [number for number in kept.order if number in firmware.entries]
        return there + [number for number in firmware.order if number not in there]
    others = [number for number in firmware.order if number not in network]
    return network + others if state == "first" else others + network


def require_efi() -> None:
    """Say why where boot entries can be neither read nor written."""
    if not os.path.isdir(os.path.dirname(EFIVARS)):
        raise BootOrderError(
            "this machine did not boot in UEFI mode, and in BIOS mode its boot order is in the setup only. Switch "
            "legacy boot off there (docs/nuc-bios.md says where on a NUC) and deploy the machine again"
        )
    with open(MOUNTS, encoding="utf-8") as mounts:
        options = [line.split()[3].split(",") for line in mounts if line.split()[1] == EFIVARS]
    if not options:
        raise BootOrderError(f"{EFIVARS} is not mounted; mount it: mount -t efivarfs efivarfs {EFIVARS}")
    if "ro" in options[-1]:
        raise BootOrderError(f"{EFIVARS} is mounted read-only; mount it anew: mount -o remount,rw {EFIVARS}")


class BootOrder:
    """The module's work."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.state_file = module.params["state_file"]

    def run(self) -> dict:
        """Read, compare, change, read back."""
        require_efi()
        state = self.module.params["state"]
        firmware = self.read()
        kept = self.kept()
        network = [] if state == "restored" else network_entries(firmware, self.module.params["macs"])
        wanted = planned(firmware, network, state, kept)
        active = {number for number, entry in firmware.entries.items() if entry.active}
        switched = {number: "--active" for number in network if state == "first" and number not in active}
        forget = state == "restored" and kept is not None
        if forget:
            switched = {number: "--inactive" for number in kept.inactive if number in active}
        changed = wanted != firmware.order or bool(switched) or forget
        after = firmware
        if changed and not self.module.check_mode:
            if kept is None:
                self.keep(firmware)
            for number, switch in switched.items():
                self.efibootmgr("--bootnum", number, switch)
            if wanted != firmware.order:
                self.efibootmgr("--bootorder", ",".join(wanted))
            after = self.read()
            if after.order != wanted:
                raise BootOrderError(
                    f"the firmware was told the order {','.join(wanted)} and says {','.join(after.order)}: it does not "
                    "let an operating system decide. Set the order in its setup"
                )
            if forget:
                with self.state_file_is_ours():
                    os.unlink(self.state_file)
        return {
            "changed": changed,
            "order": wanted,
            "network_entries": network,
            "entries": {number: entry.name for number, entry in sorted(after.entries.items())},
            "diff": {
                "before": self.shown(firmware, firmware.order, {}),
                "after": self.shown(firmware, wanted, switched),
            },
        }

    def shown(self, firmware: Firmware, order: list[str], switched: dict[str, str]) -> str:
        """The order as a person reads it."""
        lines = []
        for number in order:
            entry = firmware.entries[number]
            active = switched[number] == "--active" if number in switched else entry.active
            lines.append(f"{number} {entry.name}{'' if active else ' (inactive)'}\n")
        return "".join(lines)

    def read(self) -> Firmware:
        firmware = parse(self.efibootmgr("-v"))
        if not firmware.entries:
            raise BootOrderError("efibootmgr shows no boot entries. Look at it on the machine: efibootmgr -v")
        return firmware

    def efibootmgr(self, *arguments: str) -> str:
        program = self.module.get_bin_path("efibootmgr")
        if program is None:
            raise BootOrderError("efibootmgr is not on this machine; install the package efibootmgr")
        status, out, err = self.module.run_command([program, *arguments], environ_update={"LC_ALL": "C"})
        if status != 0:
            raise BootOrderError(f"efibootmgr {' '.join(arguments)} ended with {status}: {err.strip() or out.strip()}")
        return out

    @contextlib.contextmanager
    def state_file_is_ours(self) -> t.Iterator[None]:
        """What the system refuses of the file, said with its name."""
        try:
            yield
        except OSError as error:
            raise BootOrderError(
                f"{self.state_file}, which keeps the earlier order, cannot be used ({error}); run as root, or name "
                "another file as `state_file`"
            ) from error

    def kept(self) -> Kept | None:
        """What was found before the first change; None where nothing was changed."""
        try:
            with self.state_file_is_ours():
                if not os.path.exists(self.state_file):
                    return None
                with open(self.state_file, encoding="utf-8") as file:
                    found = json.load(file)
            # An earlier version kept the order alone.
            return Kept([str(number) for number in found["order"]], [str(n) for n in found.get("inactive", [])])
        except (ValueError, KeyError, TypeError) as error:
            raise BootOrderError(
                f"{self.state_file} cannot be read ({error}); remove it to forget the earlier order"
            ) from error

    def keep(self, firmware: Firmware) -> None:
        inactive = [number for number, entry in firmware.entries.items() if not entry.active]
        partial = self.state_file + ".partial"
        with self.state_file_is_ours():
            os.makedirs(os.path.dirname(self.state_file), mode=0o755, exist_ok=True)
            with open(partial, "w", encoding="utf-8") as file:
                json.dump({"order": firmware.order, "inactive": inactive}, file)
                file.write("\n")
            os.replace(partial, self.state_file)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["first", "last", "restored"], "default": "first"},
            "macs": {"type": "list", "elements": "str", "default": []},
            "state_file": {"type": "path", "default": "/var/lib/edge/state/efi_boot_order.json"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**BootOrder(module).run())
    except BootOrderError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
