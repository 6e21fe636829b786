# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines by SSH: read, create, change, power, remove, with the host's own programs."""

from __future__ import annotations

import contextlib
import posixpath
import re
import typing as t
from dataclasses import replace

from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_vmx
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import Licence, licence_in_text
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    FILESYSTEMS,
    Datastore,
    datastores_from_csv,
    split_datastore_path,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import parse_dump, rows_of_csv
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiExists,
    EsxiNotFound,
    EsxiSettingsError,
    EsxiTimeout,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.guest_address import usable_address
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image
from ansible_collections.edge.rack.plugins.module_utils.esxi.inventory import (
    GET_ALL_VMS,
    RegisteredVm,
    invalid_vms,
    parse_vms,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.network import INTERFACES, PORT_GROUPS
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import Output, ShellSession, quote
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import (
    GIB,
    MOST_DISKS,
    Autostart,
    Change,
    Disk,
    Host,
    VmState,
    Wanted,
    autostart_of,
    changed_keys,
    tools_word,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx

MARKER = ".edge-rack-creating"
"""A file that lies in a machine's folder from the first moment of its creation to the last."""
UPLOAD = ".edge-rack-upload.vmdk"
POLL_SECONDS = 2.0
DESCRIPTOR_BYTES = "4096"
DISK_FORMATS = {"thin": "thin", "thick": "zeroedthick", "eagerzeroedthick": "eagerzeroedthick"}
POWER_STATES = {"Powered on": "poweredon", "Powered off": "poweredoff", "Suspended": "suspended"}
AUTOSTART = "hostsvc/autostartmanager/"


class ShellVms:
    def __init__(self, session: ShellSession, timeout_seconds: int) -> None:
        self.session = session
        self.timeout_seconds = timeout_seconds
        self.poll_seconds = POLL_SECONDS
        self.licence = Licence("unknown", "")
        self.autostart_enabled = False
        self._vms = []  # type: t.List[RegisteredVm]
        self._invalid = []  # type: t.List[str]
        self._autostart = {}  # type: t.Dict[str, Autostart]
        self._datastores: t.Mapping[str, Datastore] = {}
        self._vmx = Vmx()
        self._vm = None  # type: t.Optional[RegisteredVm]
        self._folders = {}  # type: t.Dict[str, bool]

    # -- Reading

    def host(self) -> Host:
        """The places of the host and the list of its machines: one command, however many there are."""
        outputs = self.session.run_all(
            GET_ALL_VMS,
            FILESYSTEMS,
            PORT_GROUPS,
            INTERFACES,
            ("vim-cmd", "vimsvc/license", "--show"),
            ("vim-cmd", AUTOSTART + "get_defaults"),
            ("vim-cmd", AUTOSTART + "get_autostartseq"),
            timeout_seconds=self.timeout_seconds,
        )
        # A list with its heading is whole; people's notes in it may read like errors.
        vms = outputs[0].text if "Vmid" in outputs[0].text else outputs[0].checked()
        filesystems, port_groups, interfaces, licence, defaults, sequence = (o.checked() for o in outputs[1:])
        self._vms, self._invalid = parse_vms(vms), invalid_vms(vms)
        self._datastores = datastores_from_csv(filesystems)
        self._autostart = _autostarts(parse_dump(sequence))
        self.autostart_enabled = bool((parse_dump(defaults) or {}).get("enabled"))
        self.licence = licence_in_text(licence)
        # A port group with an adapter of the host itself is no network for machines; the API leaves it out.
        own = {row.get("Portgroup") for row in rows_of_csv(interfaces)}
        return Host(
            networks=tuple(row["Name"] for row in rows_of_csv(port_groups) if row["Name"] not in own),
            datastores=self._datastores,
        )

    def find(self, name: str) -> t.Optional[VmState]:
        """A machine among those that `host` read; two commands. None without it.

        Raises EsxiWrongState where the name is not its alone.
        """
        found = [vm for vm in self._vms if vm.name == name]
        if len(found) > 1:
            raise EsxiWrongState(
                "VM %s: looking for it" % name,
                "%d machines have this name (ids %s)" % (len(found), ", ".join(vm.id for vm in found)),
                remedy="Rename or unregister all but one.",
            )
        return self._read(found[0]) if found else None

    def again(self, name: str) -> t.Optional[VmState]:
        """Read after a change."""
        self.host()
        return self.find(name)

    def remains(self, name: str) -> bool:
        """Whether a creation that was cut off left folders; one command. Other folders of the name are noted."""
        stores = list(self._datastores.values())
        listings = self.session.run_all(*(("ls", "-a", store.host_path(name)) for store in stores))
        self._folders = {
            store.host_path(name): MARKER in listing.text.splitlines()
            for store, listing in zip(stores, listings, strict=True)
            if listing.code == 0
        }
        return any(self._folders.values())

    def require_place(self, wanted: Wanted) -> None:
        """Raises EsxiExists for a folder that is in the way of a new machine, and not ours."""
        folder = self._folder(wanted)
        if self._folders.get(folder) is False:
            invalid = " (the host cannot read the machines %s)" % ", ".join(self._invalid) if self._invalid else ""
            raise EsxiExists(
                "VM %s: creating it" % wanted.name,
                "the folder [%s] %s is there already, without a registered VM%s"
                % (wanted.datastore, wanted.name, invalid),
                remedy="Register what is in it, or remove it, or choose another name.",
            )

    def require_file(self, path: str, asked: str) -> None:
        """Raises EsxiNotFound for a file that is not on its datastore."""
        name, file = split_datastore_path(path)
        store = self._datastores.get(name)
        if store is None or self.session.run("test", "-f", store.host_path(file)).code != 0:
            raise EsxiNotFound(asked, "there is no %s on the host" % path, remedy="Upload it with esxi_datastore_file.")

    def _folder(self, wanted: Wanted) -> str:
        return self._datastores[wanted.datastore or ""].host_path(wanted.name)

    def _host_path(self, path: str) -> str:
        name, file = split_datastore_path(path)
        return self._datastores[name].host_path(file)

    def _read(self, vm: RegisteredVm) -> VmState:
        path = self._host_path(vm.path)
        text, power, guest, listing = self.session.run_all(
            ("cat", path),
            ("vim-cmd", "vmsvc/power.getstate", vm.id),
            ("vim-cmd", "vmsvc/get.guest", vm.id),
            ("ls", "-a", posixpath.dirname(path)),
            timeout_seconds=self.timeout_seconds,
        )
        if text.code != 0:
            raise EsxiWrongState(
                "VM %s: reading it" % vm.name,
                "the host knows it but cannot read %s" % vm.path,
                remedy="If it is gone for good: `vim-cmd vmsvc/unregister %s` on the host." % vm.id,
            )
        self._vm, self._vmx = vm, Vmx.parse(text.text)
        state = VmState(
            name=vm.name,
            id=vm.id,
            path=vm.path,
            power_state=_power_state(power),
            uuid=vm_vmx.uuid_of(self._vmx),
            cpus=self._vmx.number("numvcpus", 1),
            memory_mib=self._vmx.number("memSize", 32),
            firmware=self._vmx.get("firmware", "bios"),
            guest_id=vm.guest_id,
            annotation=self._vmx.get("annotation"),
            disks=self._disks(posixpath.dirname(path)),
            nics=vm_vmx.nics_of(self._vmx),
            iso=vm_vmx.iso_of(self._vmx, self._datastores),
            has_drive=vm_vmx.drive_slot(self._vmx) is not None,
            boot_order=vm_vmx.boot_order_of(self._vmx),
            guestinfo=self._vmx.below("guestinfo."),
            autostart=self._autostart.get(vm.id, Autostart()),
            unfinished=MARKER in listing.text.splitlines(),
        )
        return _with_guest(state, guest)

    def _disks(self, folder: str) -> t.Tuple[Disk, ...]:
        slots = vm_vmx.disk_slots(self._vmx)
        paths = [posixpath.join(folder, self._vmx.get(slot + ".fileName")) for slot in slots]
        if not paths:
            return ()
        outputs = self.session.run_all(*(("head", "-c", DESCRIPTOR_BYTES, path) for path in paths))
        return tuple(
            vm_vmx.disk_of(output.checked(), vm_vmx.datastore_path(path, self._datastores), slot)
            for slot, path, output in zip(slots, paths, outputs, strict=True)
        )

    # -- Creating and removing

    def create(self, wanted: Wanted, image: t.Optional[Image], actions: t.List[str]) -> VmState:
        """Make a machine, whole or not at all.

        A marker lies in its folder until it is registered: should this process be killed meanwhile, the next run knows
        what it may take away.
        """
        asked = "VM %s: creating it" % wanted.name
        folder = self._folder(wanted)
        begin = "mkdir %s && : > %s" % (quote(folder), quote(posixpath.join(folder, MARKER)))
        output = self.session.script(begin, asked)
        if "File exists" in output.text:
            raise EsxiExists(asked, "the folder [%s] %s is there already" % (wanted.datastore, wanted.name))
        output.checked()
        path = posixpath.join(folder, wanted.name + ".vmx")
        try:
            disks = self._create_disks(wanted, folder, image, actions)
            hardware = vm_vmx.hardware_version(self._release())
            vmx = vm_vmx.new_vmx(wanted, changed_keys(None, wanted), disks, self._datastores, hardware)
            self.session.write(path, [vmx.text().encode("utf-8")])
            vmid = self._register(asked, path)
            state = self._whole(asked, wanted, vmid)
            self.session.run("rm", posixpath.join(folder, MARKER), asked=asked).checked()
        except BaseException:
            # The error that is on its way is the one to see; what cannot be removed now, the next run removes.
            with contextlib.suppress(EsxiError):
                self._take_away(wanted.name, self._ids_at(path), folder)
            raise
        actions.append("create")
        return replace(state, unfinished=False)

    def _release(self) -> str:
        rows = rows_of_csv(self.session.run("esxcli", "--formatter=csv", "system", "version", "get").checked())
        return rows[0].get("Version", "") if rows else ""

    def _create_disks(self, wanted: Wanted, folder: str, image: t.Optional[Image], actions: t.List[str]) -> t.List[str]:
        names = [wanted.name + ("_%d" % i if i else "") + ".vmdk" for i in range(len(wanted.disks or ()))]
        for i, (name, disk) in enumerate(zip(names, wanted.disks or (), strict=True)):
            path = posixpath.join(folder, name)
            asked = "VM %s: making `disks[%d]`" % (wanted.name, i)
            if i == 0 and image is not None:
                upload = posixpath.join(folder, UPLOAD)
                self.session.write(upload, image.chunks(), timeout_seconds=self.timeout_seconds)
                actions.append("upload")
                self._disk_tool(asked, "-i", upload, "-d", DISK_FORMATS[disk.type], path)
                self.session.run("rm", upload, asked=asked).checked()
                if disk.size_bytes > image.capacity_bytes:
                    self._disk_tool(asked, "-X", _size(disk), path)
            else:
                self._disk_tool(asked, "-c", _size(disk), "-d", DISK_FORMATS[disk.type], path)
        return names

    def _disk_tool(self, asked: str, *words: str) -> None:
        output = self.session.run("vmkfstools", *words, asked=asked, timeout_seconds=self.timeout_seconds)
        text = output.checked()
        if "Failed to" in text:
            raise EsxiError(asked, " ".join(text.split()))

    def _register(self, asked: str, path: str) -> str:
        text = self.session.run("vim-cmd", "solo/registervm", path, asked=asked).checked()
        found = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE)
        if found is None:
            raise EsxiError(asked, "the host gave it no id: %s" % " ".join(text.split()))
        return found.group(1)

    def _whole(self, asked: str, wanted: Wanted, vmid: str) -> VmState:
        """A .vmx is never refused as a whole; what the host made of it tells."""
        state = self.again(wanted.name)
        if state is None or state.id != vmid:
            raise EsxiError(asked, "the host does not read its .vmx")
        if state.guest_id != wanted.guest_id:
            raise EsxiSettingsError(
                "VM %s: reading `guest_id`" % wanted.name,
                "the host does not know %s" % wanted.guest_id,
                remedy="Use one that its release has, such as otherLinux64Guest.",
            )
        return state

    def _ids_at(self, path: str) -> t.List[str]:
        """What the host has registered there, whatever it said when it was asked to."""
        vms = parse_vms(self.session.run(*GET_ALL_VMS).checked())
        return [vm.id for vm in vms if self._host_path(vm.path) == path]

    def _take_away(self, name: str, vmids: t.Sequence[str], folder: str) -> None:
        """A machine whose folder has the marker: its name in the inventory, and all of the folder."""
        asked = "VM %s: removing what was begun" % name
        for vmid in vmids:
            self.session.run("vim-cmd", "vmsvc/unregister", vmid, asked=asked).checked()
        self.session.run("rm", "-rf", folder, asked=asked, timeout_seconds=self.timeout_seconds).checked()

    def remove_remains(self, state: t.Optional[VmState], name: str) -> None:
        """Remove a machine, or folders of one, whose creation was cut off: they have the marker."""
        if state is not None:
            if not state.is_off:
                self.power_off(state)
            self._take_away(name, [state.id], posixpath.dirname(self._host_path(state.path)))
        for folder, marked in self._folders.items():
            if marked:
                self._take_away(name, [], folder)
        self._folders = {folder: False for folder, marked in self._folders.items() if not marked}

    def destroy(self, name: str) -> None:
        asked = "VM %s: removing it" % name
        self._vim_cmd(asked, "vmsvc/destroy")

    # -- Changing

    def reconfigure(self, state: VmState, wanted: Wanted, changes: t.Sequence[Change]) -> None:
        """Disks first, then the .vmx with all the rest; the host reads it anew."""
        asked = "VM %s: changing it" % wanted.name
        path = self._host_path(state.path)
        before = self._vmx.text()
        made = []  # type: t.List[str]
        try:
            self._change_disks(state, wanted, posixpath.dirname(path), made)
            vm_vmx.change(self._vmx, state, wanted, changes, changed_keys(state, wanted), self._datastores)
            self.session.write(path, [self._vmx.text().encode("utf-8")])
            self._vim_cmd(asked, "vmsvc/reload")
        except BaseException:
            with contextlib.suppress(EsxiError):
                self.session.write(path, [before.encode("utf-8")])
                self._vim_cmd(asked, "vmsvc/reload")
                for disk in made:
                    self._disk_tool(asked, "-U", disk)
            raise

    def _change_disks(self, state: VmState, wanted: Wanted, folder: str, made: t.List[str]) -> None:
        for i, disk in enumerate(wanted.disks or ()):
            asked = "VM %s: making `disks[%d]`" % (wanted.name, i)
            if i >= len(state.disks):
                name = self._free_name(folder, wanted.name)
                path = posixpath.join(folder, name)
                self._disk_tool(asked, "-c", _size(disk), "-d", DISK_FORMATS[disk.type], path)
                made.append(path)
                vm_vmx.add_disk(self._vmx, name)
            elif disk.size_bytes > state.disks[i].size_bytes:
                asked = "VM %s: growing `disks[%d]`" % (wanted.name, i)
                self._disk_tool(asked, "-X", _size(disk), self._host_path(state.disks[i].path))

    def _free_name(self, folder: str, name: str) -> str:
        """What no file of the folder is called; `ls` does not print every name as it is."""
        names = [name + ".vmdk", *("%s_%d.vmdk" % (name, i) for i in range(1, 2 * MOST_DISKS))]
        tests = self.session.run_all(*(("test", "-e", posixpath.join(folder, name)) for name in names))
        return next(name for name, output in zip(names, tests, strict=True) if output.code != 0)

    def set_autostart(self, state: VmState, wanted: Wanted) -> None:
        asked = "VM %s: setting its autostart" % wanted.name
        autostart = autostart_of(state, wanted)
        if autostart.enabled and not self.autostart_enabled:
            self.session.run("vim-cmd", AUTOSTART + "enable_autostart", "true", asked=asked).checked()
        self._vim_cmd(
            asked,
            AUTOSTART + "update_autostartentry",
            "PowerOn" if autostart.enabled else "None",
            str(autostart.start_delay_seconds),
            str(autostart.order if autostart.enabled else -1),
            autostart.stop_action,
            str(autostart.stop_delay_seconds),
            "systemDefault",
        )

    def _vim_cmd(self, asked: str, command: str, *words: str) -> str:
        """A command of vim-cmd on the machine which was read last."""
        if self._vm is None:
            raise EsxiNotFound(asked, "no machine was read")
        output = self.session.run(
            "vim-cmd", command, self._vm.id, *words, asked=asked, timeout_seconds=self.timeout_seconds
        )
        return output.checked()

    # -- Power

    def power_on(self, state: VmState) -> None:
        asked = "VM %s: powering it on" % state.name
        try:
            text = self._vim_cmd(asked, "vmsvc/power.on")
        except EsxiTimeout as error:
            question = " ".join(self._vim_cmd(asked, "vmsvc/message").split())
            if question.startswith("No message"):
                raise
            raise EsxiWrongState(
                asked,
                "the host waits for an answer: %s" % question,
                remedy="Answer it: `vim-cmd vmsvc/message %s QUESTION ANSWER` on the host." % state.id,
            ) from error
        _require_no_failure(asked, text)

    def power_off(self, state: VmState) -> None:
        asked = "VM %s: powering it off" % state.name
        _require_no_failure(asked, self._vim_cmd(asked, "vmsvc/power.off"))

    def ask_to_shut_down(self, state: VmState) -> None:
        self._vim_cmd("VM %s: shutting its guest down" % state.name, "vmsvc/power.shutdown")

    def is_off(self, state: VmState) -> bool:
        return _power_state(self.session.run("vim-cmd", "vmsvc/power.getstate", state.id)) == "poweredoff"

    def addresses(self, state: VmState) -> VmState:
        """Read again what the guest tells."""
        power, guest = self.session.run_all(
            ("vim-cmd", "vmsvc/power.getstate", state.id), ("vim-cmd", "vmsvc/get.guest", state.id)
        )
        return _with_guest(replace(state, power_state=_power_state(power)), guest)


def _power_state(output: Output) -> str:
    text = output.checked()
    found = next((state for words, state in POWER_STATES.items() if words in text), None)
    if found is None:
        raise EsxiError(output.asked, "the host prints no power state: %s" % " ".join(text.split()))
    return found


def _require_no_failure(asked: str, text: str) -> None:
    """A power operation that fails without naming a fault says so, and ends with 0 all the same."""
    if re.search(r"\bfailed\b", text, re.IGNORECASE):
        raise EsxiError(asked, " ".join(text.split()))


def _with_guest(state: VmState, output: Output) -> VmState:
    guest = parse_dump(output.checked()) or {}
    nets = [address for net in guest.get("net") or [] for address in net.get("ipAddress") or []]
    return replace(
        state,
        tools=tools_word(guest.get("toolsRunningStatus")),
        address=usable_address([guest.get("ipAddress") or "", *nets]),
        hostname=guest.get("hostName") or "",
    )


def _autostarts(entries: t.Any) -> t.Dict[str, Autostart]:
    """By the id of the machine: ``key = 'vim.VirtualMachine:11'``."""
    return {
        entry["key"].rsplit(":", 1)[-1]: Autostart.from_entry(
            entry.get("startAction") or "",
            entry.get("startOrder", -1),
            entry.get("startDelay", -1),
            entry.get("stopDelay", -1),
            entry.get("stopAction") or "",
        )
        for entry in entries or []
    }


def _size(disk: Disk) -> str:
    """As vmkfstools takes it."""
    return "%dG" % (disk.size_bytes // GIB) if disk.size_bytes % GIB == 0 else "%dk" % (disk.size_bytes // 1024)
