#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_vm_backup
short_description: Back up and restore virtual machines of an ESXi host
version_added: "0.2.0"
description:
  - Copies the configuration and the disks of a virtual machine to a folder of a datastore, on the host itself; nothing
    passes through the controller but the configuration. This works on the free edition, which has no other backup.
  - A machine that is on is copied from a snapshot, which is made first and removed at the end, whatever happens. What
    comes of it is what a power cut would leave; power the machine off for more.
  - A backup is a folder C(FOLDER/VM/BACKUP_NAME) with thin copies of the disks and a C(backup.json), which says last of
    all that the backup is complete. What a crash left without that is removed by the next backup of that machine.
  - Backups of one machine are made one at a time.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.esxi
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_esxi
attributes:
  idempotent:
    support: partial
    details: With O(state=present) and without O(backup_name) each run makes a backup.
options:
  state:
    description:
      - V(present) makes the backup O(backup_name) unless it is there.
      - V(restored) makes a virtual machine from a backup and leaves it off. One that was restored from this backup
        already is left as it is.
      - V(absent) removes the backup O(backup_name).
    type: str
    choices: [present, restored, absent]
    default: present
  name:
    description: The name of the virtual machine that is, or was, backed up.
    type: str
    required: true
  datastore:
    description: The datastore with the backups. It should be on other disks than the machine's.
    type: str
    required: true
  folder:
    description: The folder of the backups on O(datastore).
    type: str
    default: backup
  backup_name:
    description:
      - The name of the backup. With O(state=present) it is the time (UTC) without it, such as V(20261123T180000Z);
        with O(state=restored) the newest complete backup.
      - Required with O(state=absent).
    type: str
  keep:
    description:
      - How many complete backups to keep, the new one among them. Older ones are removed when the new one is complete.
      - Without it all are kept.
    type: int
  new_name:
    description:
      - The name to restore under. With another name than O(name) it becomes a new machine with a new UUID and new
        MAC addresses, beside the old one.
    type: str
  restore_datastore:
    description: The datastore to restore to, that of the machine without it.
    type: str
  allow_overwrite:
    description:
      - Whether O(state=restored) may replace a machine of that name, which must be off. The old one is kept under
        another name until the restored one is registered, and is then removed with its disks.
    type: bool
    default: false
  timeout_seconds:
    description: How long the host may copy one disk, or take to make or remove a snapshot.
    type: int
    default: 14400
  progress_file:
    description:
      - A file on the machine where the module runs, to which it adds a line after each disk.
      - If not set, each line is shown while the task runs.
    type: path
notes:
  - The configuration of a machine holds its C(guestinfo), user data of cloud-init included. Who may read the backups
    may read those.
seealso:
  - module: edge.rack.esxi_vm
  - module: edge.rack.esxi_host_info
"""

EXAMPLES = r"""
- name: The region is backed up, and the last seven backups are kept
  edge.rack.esxi_vm_backup:
    hostname: esxi.example.com
    username: root
    password: "{{ esxi_password }}"
    name: maas
    datastore: backup
    keep: 7

- name: The region is as it was before the upgrade
  edge.rack.esxi_vm_backup:
    name: maas
    datastore: backup
    backup_name: before-3.6
    state: restored
    allow_overwrite: true

- name: Yesterday's region runs beside today's
  edge.rack.esxi_vm_backup:
    name: maas
    datastore: backup
    backup_name: 20261122T020000Z
    state: restored
    new_name: maas-yesterday
"""

RETURN = r"""
backup:
  description: The backup that was made, restored or found; in check mode the one that would be.
  type: dict
  returned: if O(state=present) or O(state=restored)
  contains:
    vm:
      description: The virtual machine.
      type: str
      sample: maas
    name:
      description: The name of the backup.
      type: str
      sample: 20261123T180000Z
    time:
      description: When it was begun, in UTC.
      type: str
      sample: 20261123T180000Z
    path:
      description: The configuration file of the machine.
      type: str
      sample: "[datastore1] maas/maas.vmx"
    vmx:
      description: The file with its configuration in the backup.
      type: str
      sample: machine.vmx
    vmx_sha256:
      description: SHA-256 of that file.
      type: str
    nvram:
      description: The file with its firmware settings in the backup, empty without.
      type: str
    nvram_source:
      description: The name of that file beside the machine's configuration.
      type: str
    disks:
      description: Its disks, each with C(slot), C(file), C(source) and C(capacity_bytes).
      type: list
      elements: dict
    stored_bytes:
      description: What the disks take up.
      type: int
    running:
      description: Whether the machine was on.
      type: bool
    complete:
      description: Whether all of it is there.
      type: bool
backups:
  description: The names of the complete backups of the machine, the oldest first.
  type: list
  elements: str
  returned: always
  sample: [20261122T020000Z, 20261123T020000Z]
removed:
  description: The names of backups that were removed, or would be in check mode; half ones of a crash among them.
  type: list
  elements: str
  returned: always
needed_bytes:
  description: What a new copy takes up at most.
  type: int
  returned: if something is copied
free_bytes:
  description: What was free on the datastore before.
  type: int
  returned: if something is copied
vm:
  description: The restored virtual machine.
  type: dict
  returned: if O(state=restored) and it is there
  contains:
    name:
      description: Its name.
      type: str
      sample: maas
    id:
      description: Its id on the host.
      type: str
      sample: "12"
    path:
      description: Its configuration file.
      type: str
      sample: "[datastore1] maas/maas.vmx"
transport:
  description: By which way the host was changed, V(api) or V(ssh).
  type: str
  returned: always
transport_reason:
  description: Why that way.
  type: str
  returned: always
"""

import contextlib
import dataclasses
import posixpath
import re
import time
import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_vmx
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession
from ansible_collections.edge.rack.plugins.module_utils.esxi.backup import (
    MANIFEST,
    RESTORED_FROM,
    RESTORING,
    SNAPSHOT,
    DiskCopy,
    Manifest,
    independent_disks,
    manifest_from,
    name_by_time,
    outdated,
    restored_mark,
    restored_vmx,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.backup_api import ApiWay
from ansible_collections.edge.rack.plugins.module_utils.esxi.backup_ssh import ShellWay
from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
    EsxiConnection,
    Session,
    connection_argument_spec,
    open_session,
    run_with_session,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    Datastore,
    clean_path,
    datastore_named,
    gib,
    split_datastore_path,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiExists,
    EsxiNoSpace,
    EsxiNotFound,
    EsxiSettingsError,
    EsxiUnreachable,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.files import Place
from ansible_collections.edge.rack.plugins.module_utils.esxi.progress import Progress
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import VmState
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx

Way = t.Union[ApiWay, ShellWay]
Result = t.Dict[str, t.Any]

VMX = "machine.vmx"
NVRAM = "machine.nvram"
AGAIN_SECONDS = 2.0


def way_of(session: Session, timeout_seconds: int) -> Way:
    return ApiWay(session, timeout_seconds) if isinstance(session, ApiSession) else ShellWay(session, timeout_seconds)


class Backups:
    """The backups of one virtual machine."""

    def __init__(self, way: Way, store: Datastore, folder: str) -> None:
        self.way = way
        self.store = store
        self.folder = folder
        self.complete = {}  # type: t.Dict[str, Manifest]
        self.half = []  # type: t.List[str]
        for name, entry in sorted(way.files.list(store, folder).items()):
            if entry.is_folder:
                self._look_at(name)

    def _look_at(self, name: str) -> None:
        there = self.way.files.list(self.store, self.path(name))
        if MANIFEST not in there:
            # A folder of somebody else's stays; an empty one is where a backup was begun.
            if not there:
                self.half.append(name)
            return
        manifest = manifest_from(self.way.files.read(self.store, self.path(name, MANIFEST)))
        if manifest is not None and manifest.complete:
            self.complete[name] = dataclasses.replace(manifest, name=name)
        else:
            self.half.append(name)

    def path(self, *parts: str) -> str:
        return posixpath.join(self.folder, *parts)

    def remove(self, name: str) -> None:
        """The manifest first: what is half removed must not look complete."""
        self.way.files.remove(self.store, self.path(name, MANIFEST))
        self.way.files.remove(self.store, self.path(name))

    def names(self) -> t.List[str]:
        return [m.name for m in sorted(self.complete.values(), key=lambda m: (m.time, m.name))]


def require_space(way: Way, store: Datastore, asked: str, needed: int) -> Result:
    """What is needed and what is free, for the result; raises EsxiNoSpace."""
    free = way.files.free_bytes(store)
    if needed > free:
        raise EsxiNoSpace(
            asked,
            "it takes up to %s, and %s has %s free" % (gib(needed), store.name, gib(free)),
            fault="NoDiskSpace",
        )
    return {"needed_bytes": needed, "free_bytes": free}


# -- Making one -------------------------------------------------------------------------------------


def present(module: AnsibleModule, way: Way, backups: Backups) -> Result:
    params = module.params
    if params["keep"] is not None and params["keep"] < 1:
        raise EsxiSettingsError("Reading `keep`", "%d keeps none" % params["keep"], remedy="Set it to 1 or more.")
    name = params["backup_name"] or name_by_time(datetime.now(timezone.utc))
    if name in backups.complete:
        return _result(backups, False, backup=backups.complete[name])
    state = way.vms.find(params["name"])
    if state is None:
        raise EsxiNotFound("VM %s: backing it up" % params["name"], "the host has no such VM")
    way.session.require_writes()
    if not module.check_mode:
        state = _clean_up(way, backups, state)
    manifest = _planned(way, state, name)
    asked = "VM %s: backing it up to %s" % (state.name, backups.store.name)
    space = require_space(way, backups.store, asked, manifest.stored_bytes)
    old = outdated([*backups.complete.values(), dataclasses.replace(manifest, complete=True)], params["keep"])
    result = _result(backups, True, backup=manifest, removed=[*backups.half, *(m.name for m in old)], **space)
    result["backups"] = [n for n in (*backups.names(), name) if n not in [m.name for m in old]]
    result["diff"]["after"] = {"backups": result["backups"]}
    if not module.check_mode:
        progress = Progress(params["progress_file"], "backup of %s" % state.name, _capacity(manifest))
        result["backup"] = make(module, backups, state, manifest, progress).as_result()
        for outdated_one in old:
            backups.remove(outdated_one.name)
    return result


def _clean_up(way: Way, backups: Backups, state: VmState) -> VmState:
    """Take away what an earlier crash left: it takes up space, and a snapshot changes the names of the disks."""
    for half in backups.half:
        backups.remove(half)
    if not _remove_snapshots(way, state):
        return state
    way.vms.host()
    return way.vms.find(state.name) or state


def _capacity(manifest: Manifest) -> int:
    return sum(disk.capacity_bytes for disk in manifest.disks)


def _planned(way: Way, state: VmState, name: str) -> Manifest:
    """The manifest of a backup that is to be made; refuses a machine that cannot be copied as it is now."""
    asked = "VM %s: backing it up" % state.name
    if state.power_state == "suspended":
        raise EsxiWrongState(asked, "it is suspended", remedy="Power it on or off first (esxi_vm).")
    if state.unfinished:
        raise EsxiWrongState(asked, "its creation was cut off", remedy="Make it or remove it with esxi_vm first.")
    datastore, path = split_datastore_path(state.path)
    vmx = Vmx.parse(way.files.read(way.files.datastores[datastore], path).decode("utf-8", "replace"))
    independent = independent_disks(vmx)
    if independent and not state.is_off:
        raise EsxiWrongState(
            asked,
            "its disk %s is independent, and no snapshot holds it still" % ", ".join(independent),
            remedy="Power it off first (esxi_vm, `state: poweredoff`).",
        )
    sizes = {disk.path: disk.size_bytes for disk in state.disks}
    disks = []  # type: t.List[DiskCopy]
    for slot in vm_vmx.disk_slots(vmx):
        place = posixpath.join(
            way.files.datastores[datastore].host_path(posixpath.dirname(path)), vmx.get(slot + ".fileName")
        )
        source = vm_vmx.datastore_path(place, way.files.datastores)
        disks.append(DiskCopy(slot, "disk-%d.vmdk" % len(disks), source, sizes.get(source, 0)))
    capacity, stored = sum(disk.capacity_bytes for disk in disks), way.stored_bytes(state)
    if stored is None or (stored > capacity and all(disk.capacity_bytes for disk in disks)):
        stored = capacity
    return Manifest(
        vm=state.name,
        name=name,
        time=name_by_time(datetime.now(timezone.utc)),
        path=state.path,
        vmx=VMX,
        disks=tuple(disks),
        stored_bytes=stored,
        nvram=NVRAM if vmx.get("nvram") else "",
        nvram_source=vmx.get("nvram"),
        running=not state.is_off,
    )


def make(module: AnsibleModule, backups: Backups, state: VmState, manifest: Manifest, progress: Progress) -> Manifest:
    """Copy everything, then say that it is complete. What fails leaves nothing, if the host can be reached."""
    way, files = backups.way, backups.way.files
    files.make_folder(backups.store, backups.path(manifest.name))
    try:
        _write_manifest(backups, manifest)
        # The configuration before the snapshot, for that one changes the names of the disks in it.
        manifest = _copy_settings(backups, state, manifest)
        if state.is_off:
            _copy_disks(backups, manifest, progress)
        else:
            with snapshot(module, way, state):
                _copy_disks(backups, manifest, progress)
        _verify(backups, manifest)
        manifest = dataclasses.replace(manifest, complete=True)
        _write_manifest(backups, manifest)
    except BaseException:
        # What cannot be removed now is half a backup, which the next run removes.
        with contextlib.suppress(EsxiError):
            backups.remove(manifest.name)
        raise
    return manifest


def _write_manifest(backups: Backups, manifest: Manifest) -> None:
    text = manifest.text()
    backups.way.files.write(backups.store, backups.path(manifest.name, MANIFEST), [text], len(text))


def _copy_settings(backups: Backups, state: VmState, manifest: Manifest) -> Manifest:
    files = backups.way.files
    datastore, path = split_datastore_path(state.path)
    source = files.datastores[datastore]
    files.copy((source, path), (backups.store, backups.path(manifest.name, VMX)))
    sha256 = files.sha256(backups.store, backups.path(manifest.name, VMX))
    if sha256 != files.sha256(source, path):
        raise EsxiError("VM %s: copying its configuration" % state.name, "it changed meanwhile", remedy="Run again.")
    manifest = dataclasses.replace(manifest, vmx_sha256=sha256)
    if manifest.nvram:
        nvram = posixpath.join(posixpath.dirname(path), manifest.nvram_source)
        try:
            files.copy((source, nvram), (backups.store, backups.path(manifest.name, NVRAM)))
        except EsxiUnreachable:
            raise
        except EsxiError:
            # There is none before the first start, and a running machine may hold it; the firmware makes a new one.
            manifest = dataclasses.replace(manifest, nvram="")
    return manifest


def _copy_disks(backups: Backups, manifest: Manifest, progress: Progress) -> None:
    files = backups.way.files
    for disk in manifest.disks:
        datastore, path = split_datastore_path(disk.source)
        target = (backups.store, backups.path(manifest.name, disk.file))
        files.copy_disk((files.datastores[datastore], path), target, backups.way.timeout_seconds)
        progress.reach(progress.done + disk.capacity_bytes)


def _verify(backups: Backups, manifest: Manifest) -> None:
    """All files are there; the configuration was compared when it was copied."""
    asked = "VM %s: checking the backup %s" % (manifest.vm, manifest.name)
    there = backups.way.files.list(backups.store, backups.path(manifest.name))
    missing = [file for file in (VMX, *(disk.file for disk in manifest.disks)) if file not in there]
    if missing:
        raise EsxiError(asked, "%s is not there" % ", ".join(missing))


@contextlib.contextmanager
def snapshot(module: AnsibleModule, way: Way, state: VmState) -> t.Iterator[None]:
    """Hold the disks of a running machine still. A forgotten snapshot grows until the datastore is full."""
    try:
        way.create_snapshot(state, SNAPSHOT)
        yield
    except BaseException as error:
        # The error that is on its way is the one to see.
        try:
            _remove_snapshots_again(module, way, state, lost=isinstance(error, EsxiUnreachable))
        except EsxiError as left:
            module.warn(
                "VM %s: its snapshot `%s` may be left (%s) The next backup of it removes it."
                % (state.name, SNAPSHOT, left)
            )
        raise
    _remove_snapshots(way, state)


def _remove_snapshots_again(module: AnsibleModule, way: Way, state: VmState, lost: bool) -> None:
    """Over a new connection where the old one is lost, should the host answer again."""
    if not lost:
        _remove_snapshots(way, state)
        return
    time.sleep(AGAIN_SECONDS)
    session = open_session(EsxiConnection.from_options(module.params))
    try:
        _remove_snapshots(way_of(session, way.timeout_seconds), state)
    finally:
        session.close()


def _remove_snapshots(way: Way, state: VmState) -> bool:
    """Those of backups, one of an earlier crash among them; other people's stay."""
    ours = [snapshot_id for snapshot_id, name in way.snapshots(state) if name == SNAPSHOT]
    for snapshot_id in ours:
        way.remove_snapshot(state, snapshot_id)
    return bool(ours)


# -- Restoring --------------------------------------------------------------------------------------


def restored(module: AnsibleModule, way: Way, backups: Backups) -> Result:
    params = module.params
    manifest = _chosen(backups, params["name"], params["backup_name"])
    name = params["new_name"] or manifest.vm
    mark, old_name = restored_mark(manifest), "%s (replaced by %s)" % (name, manifest.name)
    old, left = way.vms.find(name), way.vms.find(old_name)
    if old is not None and _mark_of(way, old) == mark:
        # It is done; but for what a crash in the last moment left.
        result = _result(backups, left is not None, backup=manifest, vm=_shown(old))
        if left is not None and not module.check_mode:
            way.session.require_writes()
            way.destroy(left)
        return result
    way.session.require_writes()
    asked = "VM %s: restoring it from %s" % (name, manifest.name)
    _require_replaceable(asked, old, params["allow_overwrite"])
    datastore, _path = split_datastore_path(manifest.path)
    store = datastore_named(way.files.datastores, params["restore_datastore"] or datastore, "restore_datastore")
    space = require_space(way, store, asked, manifest.stored_bytes)
    folder = _free_folder(way, store, name, manifest, asked)
    result = _result(
        backups,
        True,
        backup=manifest,
        **space,
    )
    result["diff"] = {
        "before": _shown(old) if old is not None else {},
        "after": {"name": name, "path": store.datastore_path("%s/%s.vmx" % (folder, name)), "restored_from": mark},
    }
    if not module.check_mode:
        progress = Progress(params["progress_file"], "restoring %s" % name, _capacity(manifest))
        _restore(way, backups, manifest, (store, folder), name, progress)
        _exchange(way, old, name, old_name, (store, folder))
        way.vms.host()
        new = way.vms.find(name)
        if new is None:
            raise EsxiError(asked, "the host registered it, but does not list it")
        result["vm"] = _shown(new)
    return result


def _chosen(backups: Backups, vm: str, name: t.Optional[str]) -> Manifest:
    names = backups.names()
    if name is None and names:
        name = names[-1]
    if name not in backups.complete:
        raise EsxiNotFound(
            "VM %s: looking for %s" % (vm, "the backup %s" % name if name else "a backup"),
            "[%s] %s has %s" % (backups.store.name, backups.folder, ", ".join(names) or "no complete backup"),
            remedy="Correct `backup_name`, `datastore` or `folder`.",
        )
    return backups.complete[name]


def _mark_of(way: Way, state: VmState) -> str:
    datastore, path = split_datastore_path(state.path)
    text = way.files.read(way.files.datastores[datastore], path).decode("utf-8", "replace")
    return Vmx.parse(text).get(RESTORED_FROM)


def _shown(state: VmState) -> Result:
    return {"name": state.name, "id": state.id, "path": state.path}


def _require_replaceable(asked: str, old: t.Optional[VmState], allow_overwrite: bool) -> None:
    if old is None:
        return
    if not allow_overwrite:
        raise EsxiExists(
            asked,
            "there is a VM of this name",
            remedy="Set `new_name` to restore beside it, or `allow_overwrite: true` to replace it with all it has.",
        )
    if not old.is_off:
        raise EsxiWrongState(
            asked, "the VM of this name is %s" % old.power_state, remedy="Power it off first (esxi_vm)."
        )


def _free_folder(way: Way, store: Datastore, name: str, manifest: Manifest, asked: str) -> str:
    """That of the name, or, where the old machine lies in it, one beside it."""
    top = way.files.list(store, "")
    for folder in (name, "%s-%s" % (name, manifest.name)):
        if folder not in top or RESTORING in way.files.list(store, folder):
            return folder
    raise EsxiExists(
        asked,
        "the folders %s and %s-%s are there already" % (store.datastore_path(name), name, manifest.name),
        remedy="Set `new_name` or `restore_datastore`, or remove what is there.",
    )


def _restore(way: Way, backups: Backups, manifest: Manifest, target: Place, name: str, progress: Progress) -> None:
    """Copy a backup into a folder, with a mark until the machine is registered; what fails leaves nothing."""
    files, (store, folder) = way.files, target
    source = backups.path(manifest.name)
    content = files.read(backups.store, posixpath.join(source, manifest.vmx))
    if files.sha256(backups.store, posixpath.join(source, manifest.vmx)) != manifest.vmx_sha256:
        raise EsxiError(
            "VM %s: reading the backup %s" % (manifest.vm, manifest.name),
            "its configuration is not the one that was saved",
            remedy="Restore another backup; somebody changed this one.",
        )
    files.remove(store, folder)
    files.make_folder(store, folder)
    try:
        mark = manifest.text()
        files.write(store, posixpath.join(folder, RESTORING), [mark], len(mark))
        for disk in manifest.disks:
            files.copy_disk(
                (backups.store, posixpath.join(source, disk.file)),
                (store, posixpath.join(folder, disk.file)),
                way.timeout_seconds,
            )
            progress.reach(progress.done + disk.capacity_bytes)
        if manifest.nvram:
            files.copy(
                (backups.store, posixpath.join(source, manifest.nvram)),
                (store, posixpath.join(folder, name + ".nvram")),
            )
        text = restored_vmx(content.decode("utf-8", "replace"), manifest, name).encode("utf-8")
        files.write(store, posixpath.join(folder, name + ".vmx"), [text], len(text))
    except BaseException:
        with contextlib.suppress(EsxiError):
            files.remove(store, folder)
        raise


def _exchange(way: Way, old: t.Optional[VmState], name: str, old_name: str, target: Place) -> None:
    """Register the restored machine in the place of the old one, which goes only then."""
    store, folder = target
    if old is not None:
        way.rename(old, old_name)
    try:
        way.register(name, store.datastore_path("%s/%s.vmx" % (folder, name)))
    except BaseException:
        with contextlib.suppress(EsxiError):
            if old is not None:
                way.rename(dataclasses.replace(old, name=old_name), name)
            way.files.remove(store, folder)
        raise
    way.files.remove(store, posixpath.join(folder, RESTORING))
    if old is not None:
        way.destroy(dataclasses.replace(old, name=old_name))


# -- Removing one -----------------------------------------------------------------------------------


def absent(module: AnsibleModule, way: Way, backups: Backups) -> Result:
    name = module.params["backup_name"]
    there = name in backups.complete or name in backups.half
    result = _result(backups, there, removed=[name] if there else [])
    result["backups"] = [n for n in backups.names() if n != name]
    result["diff"]["after"] = {"backups": result["backups"]}
    if there:
        way.session.require_writes()
        if not module.check_mode:
            backups.remove(name)
    return result


def _result(backups: Backups, changed: bool, **more: t.Any) -> Result:
    if isinstance(more.get("backup"), Manifest):
        more["backup"] = more["backup"].as_result()
    names = backups.names()
    diff = {"before": {"backups": names}, "after": {"backups": names}}
    return {"changed": changed, "backups": names, "removed": [], "diff": diff, **more}


def work(module: AnsibleModule, session: Session) -> Result:
    params = module.params
    if params["backup_name"] and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", params["backup_name"]):
        raise EsxiSettingsError(
            "Reading `backup_name` %r" % params["backup_name"],
            "it cannot be the name of a folder",
            remedy="Use letters, digits and `._+-`, a letter or digit first.",
        )
    way = way_of(session, params["timeout_seconds"])
    store = datastore_named(way.files.datastores, params["datastore"])
    backups = Backups(way, store, clean_path("%s/%s" % (params["folder"], params["name"]), "folder"))
    states = {"present": present, "restored": restored, "absent": absent}
    return states[params["state"]](module, way, backups)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "restored", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "datastore": {"type": "str", "required": True},
            "folder": {"type": "str", "default": "backup"},
            "backup_name": {"type": "str"},
            "keep": {"type": "int"},
            "new_name": {"type": "str"},
            "restore_datastore": {"type": "str"},
            "allow_overwrite": {"type": "bool", "default": False},
            "timeout_seconds": {"type": "int", "default": 14400},
            "progress_file": {"type": "path"},
            **connection_argument_spec(),
        },
        required_if=[("state", "absent", ["backup_name"])],
        supports_check_mode=True,
    )
    run_with_session(module, work)


if __name__ == "__main__":
    main()
