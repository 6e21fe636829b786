# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines by SSH: read, create, change, power, remove, with the host's own programs."""

from __future__ import annotations

import contextlib
import posixpath
import re
import secrets
import time
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
    vms_in,
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
    require_no_snapshot,
    require_remains,
    tools_word,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx, require_utf8

MARKER = ".edge-rack-creating"
"""A file in a machine's folder from the first moment of its creation until it is registered: `TOKEN UNTIL`, who creates
it, and until which second of the host's clock that may last."""
LOG = "vmware.log"
"""It lies in the folder of a machine that was on."""
UPLOAD = ".edge-rack-upload.vmdk"
POLL_SECONDS = 2.0
QUESTION_SECONDS = 30
"""So long a power on is left alone before it is looked whether the host waits for an answer."""
SLOW_BYTES_PER_SECOND = 1 << 20
"""An upload may be as slow."""
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
        self._folders = {}  # type: t.Dict[str, t.Optional[str]]

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
        filesystems, port_groups, interfaces, licence, defaults, sequence = (o.checked() for o in outputs[1:])
        self._vms, self._invalid = vms_in(outputs[0]), invalid_vms(outputs[0].text)
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
        folders = [store.host_path(name) for store in self._datastores.values()]
        outputs = self.session.run_all(
            *(("test", "-e", folder) for folder in folders),
            *(("cat", posixpath.join(folder, MARKER)) for folder in folders),
        )
        there, markers = outputs[: len(folders)], outputs[len(folders) :]
        self._folders = {
            folder: marker.text.strip() if marker.code == 0 else None
            for folder, found, marker in zip(folders, there, markers, strict=True)
            if found.code == 0
        }
        return any(marker is not None for marker in self._folders.values())

    def require_remains(self, state: t.Optional[VmState], name: str) -> None:
        """The marker alone does not tell that something may be removed.

        Raises EsxiWrongState.
        """
        for folder, marker in self._marked(state).items():
            now, log = self.session.run_all(("date", "+%s"), ("test", "-e", posixpath.join(folder, LOG)))
            vmid = state.id if state is not None else ""
            others = [vm.name for vm in self._vms if vm.id != vmid and self._folder_of(vm) == folder]
            wrong = ""
            if state is not None and not state.is_off:
                wrong = "it is %s" % state.power_state
            elif others:
                wrong = "the VM %s lies in its folder" % ", ".join(others)
            elif log.code == 0:
                wrong = "it was on already"
            remedy = "remove the file %s on the host" % posixpath.join(folder, MARKER)
            require_remains(name, marker, int(now.checked()), wrong, remedy)

    def _marked(self, state: t.Optional[VmState]) -> t.Dict[str, str]:
        """The folders with the marker, and what it says."""
        if state is not None:
            return {posixpath.dirname(self._host_path(state.path)): state.marker}
        return {folder: marker for folder, marker in self._folders.items() if marker is not None}

    def _folder_of(self, vm: RegisteredVm) -> str:
        name, file = split_datastore_path(vm.path)
        return posixpath.dirname(self._datastores[name].host_path(file)) if name in self._datastores else ""

    def require_place(self, wanted: Wanted) -> None:
        """Raises EsxiExists for a folder that is in the way of a new machine, and not ours."""
        folder = self._folder(wanted)
        if folder in self._folders and self._folders[folder] is None:
            invalid = " (the host cannot read the machines %s)" % ", ".join(self._invalid) if self._invalid else ""
            raise EsxiExists(
                "VM %s: creating it" % wanted.name,
                "the folder [%s] %s is there already, without a registered VM%s"
                % (wanted.datastore, wanted.name, invalid),
                remedy="Register what is in it, or remove it, or choose another name.",
            )

    def require_changeable(self, state: VmState, changes: t.Sequence[Change]) -> None:
        """What a change would break: a .vmx that is not UTF-8, a disk below a snapshot.

        Raises EsxiWrongState.
        """
        if any(change.kind != "autostart" for change in changes):
            require_utf8(self._vmx, "VM %s: changing it" % state.name)
        if any(change.kind == "disk_size" for change in changes):
            text = self._vim_cmd("VM %s: looking for snapshots" % state.name, "vmsvc/snapshot.get")
            require_no_snapshot(state.name, re.findall(r"-Snapshot Name\s*: (.*?)\s*$", text, re.MULTILINE))

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
        text, power, guest, marker = self.session.run_all(
            ("cat", path),
            ("vim-cmd", "vmsvc/power.getstate", vm.id),
            ("vim-cmd", "vmsvc/get.guest", vm.id),
            ("cat", posixpath.join(posixpath.dirname(path), MARKER)),
            timeout_seconds=self.timeout_seconds,
        )
        if text.code != 0:
            raise EsxiWrongState(
                "VM %s: reading it" % vm.name,
                "the host knows it but cannot read %s" % vm.path,
                remedy="If it is gone for good: `vim-cmd vmsvc/unregister %s` on the host." % vm.id,
            )
        vmx = Vmx.parse(text.text)
        if vmx.get("displayName", vm.name) != vm.name:
            raise EsxiWrongState(
                "VM %s: reading it" % vm.name,
                "the host lists it with %s, which belongs to the VM %s" % (vm.path, vmx.get("displayName")),
                remedy="See `vim-cmd %s` on the host: a VM's notes may look like another VM." % GET_ALL_VMS[1],
            )
        self._vm, self._vmx = vm, vmx
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
            unfinished=marker.code == 0,
            marker=marker.text.strip() if marker.code == 0 else "",
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
        what it may take away. Who makes the folder has it alone, and goes on only while the marker has its token.
        """
        asked = "VM %s: creating it" % wanted.name
        folder, token, vmid = self._folder(wanted), secrets.token_hex(8), ""
        # What `mkdir` says tells that the folder is there; what a full datastore did not take goes again.
        begin = "mkdir %s || exit 1\n%s || { rm -f %s*; rmdir %s; exit 1; }"
        words = (quote(folder), self._mark(folder, token), quote(posixpath.join(folder, MARKER)), quote(folder))
        output = self.session.script(begin % words, asked)
        if "File exists" in output.text:
            raise EsxiExists(asked, "the folder [%s] %s is there already" % (wanted.datastore, wanted.name))
        output.checked()
        path = posixpath.join(folder, wanted.name + ".vmx")
        try:
            disks = self._create_disks(wanted, folder, token, image, actions)
            self._hold(asked, folder, token)
            hardware = vm_vmx.hardware_version(self._release())
            vmx = vm_vmx.new_vmx(wanted, changed_keys(None, wanted), disks, self._datastores, hardware)
            self.session.write(path, [vmx.text().encode("utf-8")])
            vmid = self._register(asked, path, token)
            state = self._whole(asked, wanted, vmid)
        except BaseException:
            # The error that is on its way is the one to see; what cannot be removed now, the next run removes.
            with contextlib.suppress(EsxiError):
                if vmid:
                    self._take_away(wanted.name, [vmid], folder, _unmarked(folder))
                else:
                    self._take_away(wanted.name, self._ids_at(path), folder, _ours(folder, quote(token) + "*"))
            raise
        actions.append("create")
        return state

    def _mark(self, folder: str, token: str, more_seconds: int = 0) -> str:
        """Shell that writes the marker: by its name it is whole or not there."""
        marker = posixpath.join(folder, MARKER)
        words = (quote(token), self.timeout_seconds + more_seconds, quote(marker + ".new"))
        return "echo %s $(($(date +%%s) + %d)) > %s && mv %s %s" % (*words, quote(marker + ".new"), quote(marker))

    def _hold(self, asked: str, folder: str, token: str, more_seconds: int = 0) -> None:
        """Before each long step: the folder is still this run's, and is so until the step's deadline."""
        self.session.script(
            _ours(folder, quote(token) + "*") + self._mark(folder, token, more_seconds), asked
        ).checked()

    def _release(self) -> str:
        rows = rows_of_csv(self.session.run("esxcli", "--formatter=csv", "system", "version", "get").checked())
        return rows[0].get("Version", "") if rows else ""

    def _create_disks(
        self, wanted: Wanted, folder: str, token: str, image: t.Optional[Image], actions: t.List[str]
    ) -> t.List[str]:
        names = [wanted.name + ("_%d" % i if i else "") + ".vmdk" for i in range(len(wanted.disks or ()))]
        for i, (name, disk) in enumerate(zip(names, wanted.disks or (), strict=True)):
            path = posixpath.join(folder, name)
            asked = "VM %s: making `disks[%d]`" % (wanted.name, i)
            if i == 0 and image is not None:
                upload = posixpath.join(folder, UPLOAD)
                self._hold(asked, folder, token, image.length // SLOW_BYTES_PER_SECOND)
                self.session.write(upload, image.chunks(), timeout_seconds=self.timeout_seconds)
                actions.append("upload")
                self._hold(asked, folder, token)
                self._disk_tool(asked, "-i", upload, "-d", DISK_FORMATS[disk.type], path)
                self.session.run("rm", upload, asked=asked).checked()
                if disk.size_bytes > image.capacity_bytes:
                    self._hold(asked, folder, token)
                    self._disk_tool(asked, "-X", _size(disk), path)
            else:
                self._hold(asked, folder, token)
                self._disk_tool(asked, "-c", _size(disk), "-d", DISK_FORMATS[disk.type], path)
        return names

    def _disk_tool(self, asked: str, *words: str) -> None:
        self.session.run_disk_tool(*words, asked=asked, timeout_seconds=self.timeout_seconds)

    def _register(self, asked: str, path: str, token: str) -> str:
        """The marker goes with it: from here on the machine is anybody's, to start and to keep."""
        folder = posixpath.dirname(path)
        script = '%ssaid=$(vim-cmd solo/registervm %s 2>&1)\necho "$said"\n%s && rm %s' % (
            _ours(folder, quote(token) + "*"),
            quote(path),
            'echo "$said" | grep -q "^ *[0-9][0-9]* *$"',
            quote(posixpath.join(folder, MARKER)),
        )
        text = self.session.script(script, asked).checked()
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
        vms = vms_in(self.session.run(*GET_ALL_VMS))
        wanted = (posixpath.dirname(path), posixpath.basename(path))
        return [vm.id for vm in vms if (self._folder_of(vm), posixpath.basename(vm.path)) == wanted]

    def _take_away(self, name: str, vmids: t.Sequence[str], folder: str, check: str) -> None:
        """The machine's name in the inventory and all of the folder, if the `check` of the folder still passes."""
        asked = "VM %s: removing what was begun" % name
        for vmid in vmids:
            off = "vim-cmd vmsvc/power.getstate %s | grep -q 'Powered off'" % quote(vmid)
            self.session.script("%s%s && vim-cmd vmsvc/unregister %s" % (check, off, quote(vmid)), asked).checked()
        self.session.script(check + "rm -rf %s" % quote(folder), asked, self.timeout_seconds).checked()

    def remove_remains(self, state: t.Optional[VmState], name: str) -> None:
        """Remove a machine, or folders of one, whose creation was cut off: `require_remains` looked at them."""
        for folder, marker in self._marked(state).items():
            self._take_away(name, [state.id] if state is not None else [], folder, _ours(folder, quote(marker)))
        self._folders = {folder: marker for folder, marker in self._folders.items() if marker is None}

    def destroy(self, name: str) -> None:
        asked = "VM %s: removing it" % name
        if self._vm is not None:
            # Of a change that was killed: the host would leave it, and the folder with it.
            self.session.run("rm", "-f", self._host_path(self._vm.path) + ".partial", asked=asked).checked()
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
            if state.id not in self._ids_at(path):
                raise EsxiError(asked, "the host does not read its .vmx any more")
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
        deadline = time.monotonic() + self.timeout_seconds
        first = min(QUESTION_SECONDS, self.timeout_seconds)
        try:
            text = self.session.run("vim-cmd", "vmsvc/power.on", state.id, asked=asked, timeout_seconds=first).checked()
        except EsxiTimeout:
            # The host goes on with it, and says so by the state of the machine alone.
            while True:
                self._require_no_question(asked, state)
                power = self.session.run("vim-cmd", "vmsvc/power.getstate", state.id)
                if _power_state(power) == "poweredon":
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(self.poll_seconds)
        _require_no_failure(asked, text)

    def _require_no_question(self, asked: str, state: VmState) -> None:
        question = " ".join(self._vim_cmd(asked, "vmsvc/message").split())
        if not question.startswith("No message"):
            raise EsxiWrongState(
                asked,
                "the host waits for an answer: %s" % question,
                remedy="Answer it: `vim-cmd vmsvc/message %s QUESTION ANSWER` on the host." % state.id,
            )

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


def _ours(folder: str, pattern: str) -> str:
    """The begin of a script that goes on only where the folder's marker matches and its machine was never on."""
    marker, log = quote(posixpath.join(folder, MARKER)), quote(posixpath.join(folder, LOG))
    return (
        '{ test -f %s && test ! -e %s && case "$(cat %s)" in %s) ;; *) false ;; esac; } || '
        "{ echo 'its folder is not what this run left there: another run or a person has it'; exit 1; }\n"
    ) % (marker, log, marker, pattern)


def _unmarked(folder: str) -> str:
    """The same for a machine which this run has just registered: it has no marker any more."""
    marker, log = quote(posixpath.join(folder, MARKER)), quote(posixpath.join(folder, LOG))
    return "test ! -e %s && test ! -e %s || { echo 'it is in use'; exit 1; }\n" % (marker, log)


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
