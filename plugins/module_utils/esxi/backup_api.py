# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup needs of a host, by the API."""

from __future__ import annotations

import typing as t

from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.files import ApiFiles
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import VmState
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm_api import ApiVms


class ApiWay:
    def __init__(self, session: ApiSession, timeout_seconds: int) -> None:
        self.session = session
        self.timeout_seconds = timeout_seconds
        self.files = ApiFiles(session)
        self.vms = ApiVms(session, timeout_seconds)
        self.vms.host()

    def stored_bytes(self, state: VmState) -> t.Optional[int]:
        """What the files of its disks take up; None where the host does not tell."""
        vm, asked = self._vm(state), "the files of VM %s" % state.name
        # The host itself looks only now and then.
        self.session.call("Reading %s" % asked, vm.RefreshStorageInfo)
        layout = self.session.read(asked, {vm: ("layoutEx",)})
        files = getattr(next(iter(layout.values()), {}).get("layoutEx"), "file", None) or []
        sizes = [file.size for file in files if file.name.endswith(".vmdk")]
        return sum(sizes) if sizes else None

    def snapshots(self, state: VmState) -> t.List[t.Tuple[str, str]]:
        """Ids and names."""
        rows = self.session.read("the snapshots of VM %s" % state.name, {self._vm(state): ("snapshot",)})
        snapshot = next(iter(rows.values()), {}).get("snapshot")
        return _flat(snapshot.rootSnapshotList if snapshot is not None else [])

    def create_snapshot(self, state: VmState, name: str) -> None:
        asked = "VM %s: making the snapshot %s" % (state.name, name)
        # Without the memory: a backup is started from its disks.
        self.session.run(
            asked, self.timeout_seconds, self._vm(state).CreateSnapshot_Task, name, "for a backup", False, False
        )

    def remove_snapshot(self, state: VmState, snapshot_id: str) -> None:
        asked = "VM %s: removing the snapshot %s" % (state.name, snapshot_id)
        snapshot = vim.vm.Snapshot(snapshot_id, self.session.stub)
        self.session.run(asked, self.timeout_seconds, snapshot.RemoveSnapshot_Task, False, True)

    def registered(self) -> t.Dict[str, str]:
        """The .vmx of every machine, and its id."""
        rows = self.session.read_all("the machines", Objects(vim.VirtualMachine, ("summary.config.vmPathName",)))
        return {row.get("summary.config.vmPathName") or "": obj._GetMoId() for obj, row in rows.items()}

    def unregister(self, vm_id: str) -> None:
        """Its files stay."""
        vm = vim.VirtualMachine(vm_id, self.session.stub)
        self.session.call("Taking the VM %s from the inventory" % vm_id, vm.UnregisterVM)

    def register(self, name: str, path: str) -> None:
        rows = self.session.read_all(
            "the host",
            Objects(vim.Datacenter, ("vmFolder",)),
            Objects(vim.ComputeResource, ("resourcePool",)),
        )
        folder = next(row["vmFolder"] for row in rows.values() if "vmFolder" in row)
        pool = next(row["resourcePool"] for row in rows.values() if "resourcePool" in row)
        self.session.run(
            "VM %s: registering %s" % (name, path),
            self.timeout_seconds,
            folder.RegisterVM_Task,
            path=path,
            name=name,
            asTemplate=False,
            pool=pool,
        )

    def rename(self, state: VmState, name: str) -> None:
        """Only the name that people see; its files keep theirs."""
        asked = "VM %s: renaming it to %s" % (state.name, name)
        self.session.run(asked, self.timeout_seconds, self._vm(state).Rename_Task, name)

    def destroy(self, state: VmState) -> None:
        asked = "VM %s: removing it" % state.name
        self.session.run(asked, self.timeout_seconds, self._vm(state).Destroy_Task)

    def _vm(self, state: VmState) -> t.Any:
        return vim.VirtualMachine(state.id, self.session.stub)


def _flat(trees: t.Iterable[t.Any]) -> t.List[t.Tuple[str, str]]:
    found = []
    for tree in trees:
        found.append((tree.snapshot._GetMoId(), tree.name))
        found += _flat(tree.childSnapshotList or [])
    return found
