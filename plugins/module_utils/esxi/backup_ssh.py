# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup needs of a host, by SSH."""

from __future__ import annotations

import posixpath
import time
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.esxi.backup import snapshots_in
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import split_datastore_path
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import number_of_cell
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiTimeout
from ansible_collections.edge.rack.plugins.module_utils.esxi.files import ShellFiles
from ansible_collections.edge.rack.plugins.module_utils.esxi.inventory import GET_ALL_VMS, vms_in
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import ShellSession, quote
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import VmState
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm_ssh import ShellVms
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx, require_utf8

POLL_SECONDS = 0.5


class ShellWay:
    def __init__(self, session: ShellSession, timeout_seconds: int) -> None:
        self.session = session
        self.timeout_seconds = timeout_seconds
        self.files = ShellFiles(session)
        self.vms = ShellVms(session, timeout_seconds)
        self.vms.host()

    def stored_bytes(self, state: VmState) -> t.Optional[int]:
        """What the disks in its folders take up; None where the host does not tell."""
        folders = sorted({posixpath.dirname(self._host_path(disk.path)) for disk in state.disks})
        if not folders:
            return 0
        script = "du -ck %s 2>/dev/null | tail -n 1" % " ".join("%s/*.vmdk" % quote(folder) for folder in folders)
        kib = number_of_cell(self.session.script(script, "Measuring the disks of VM %s" % state.name).text)
        return kib * 1024 or None

    def snapshots(self, state: VmState) -> t.List[t.Tuple[str, str]]:
        """Ids and names."""
        return snapshots_in(self._vim_cmd("looking for snapshots", "vmsvc/snapshot.get", state))

    def create_snapshot(self, state: VmState, name: str) -> None:
        # The last words: without the memory, for a backup is started from its disks, and without asking the guest.
        doing = "making the snapshot %s" % name
        self._vim_cmd(doing, "vmsvc/snapshot.create", state, name, "for a backup", "0", "0")
        self._wait(state, doing, lambda: any(there == name for _id, there in self.snapshots(state)))

    def remove_snapshot(self, state: VmState, snapshot_id: str) -> None:
        doing = "removing the snapshot %s" % snapshot_id
        self._vim_cmd(doing, "vmsvc/snapshot.remove", state, snapshot_id)
        self._wait(state, doing, lambda: all(there != snapshot_id for there, _name in self.snapshots(state)))

    def _wait(self, state: VmState, doing: str, done: t.Callable[[], bool]) -> None:
        """The command may come back before the host is through (ghettoVCB waits so, too)."""
        deadline = time.monotonic() + self.timeout_seconds
        while not done():
            if time.monotonic() > deadline:
                raise EsxiTimeout("VM %s: %s" % (state.name, doing), "not done within %d s" % self.timeout_seconds)
            time.sleep(POLL_SECONDS)

    def registered(self) -> t.Dict[str, str]:
        """The .vmx of every machine, and its id."""
        return {vm.path: vm.id for vm in vms_in(self.session.run(*GET_ALL_VMS))}

    def unregister(self, vm_id: str) -> None:
        """Its files stay."""
        asked = "Taking the VM %s from the inventory" % vm_id
        self.session.run("vim-cmd", "vmsvc/unregister", vm_id, asked=asked).checked()

    def register(self, name: str, path: str) -> None:
        asked = "VM %s: registering %s" % (name, path)
        self.session.run("vim-cmd", "solo/registervm", self._host_path(path), name, asked=asked).checked()

    def rename(self, state: VmState, name: str) -> None:
        """Only the name that people see; its files keep theirs."""
        path = self._host_path(state.path)
        vmx = Vmx.parse(self.session.run("cat", path, asked="VM %s: reading its .vmx" % state.name).checked())
        require_utf8(vmx, "VM %s: renaming it to %s" % (state.name, name))
        vmx.set("displayName", name)
        self.session.write(path, [vmx.text().encode("utf-8")])
        self._vim_cmd("renaming it to %s" % name, "vmsvc/reload", state)

    def destroy(self, state: VmState) -> None:
        self._vim_cmd("removing it", "vmsvc/destroy", state)

    def _vim_cmd(self, doing: str, command: str, state: VmState, *words: str) -> str:
        return self.session.run(
            "vim-cmd",
            command,
            state.id,
            *words,
            asked="VM %s: %s" % (state.name, doing),
            timeout_seconds=self.timeout_seconds,
        ).checked()

    def _host_path(self, path: str) -> str:
        datastore, file = split_datastore_path(path)
        return self.files.datastores[datastore].host_path(file)
