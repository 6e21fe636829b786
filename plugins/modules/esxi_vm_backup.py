#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_vm_backup
short_description: Back up and restore virtual machines of an ESXi host
version_added: "0.1.0"
description:
  - Copies the configuration and the disks of a virtual machine to a folder of a datastore, on the host itself; nothing
    passes through the controller but the configuration. This works on the free edition, which has no other backup.
  - A machine that is on is copied from a snapshot, which is made first and removed at the end, whatever happens. What
    comes of it is what a power cut would leave; power the machine off for more.
  - A backup is a folder C(FOLDER/VM/BACKUP_NAME) with thin copies of the disks and a C(backup.json), which says last of
    all that the backup is complete. What a crash left without that is removed by the next backup of that machine, once
    the time is over which the crashed run had for its step (O(timeout_seconds)); until then that run may be alive, and
    the next one refuses. O(state=absent) with its O(backup_name) ends this at once.
  - A C(backup.json) that cannot be read is kept with its folder, with a warning.
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
      - V(restored) makes a virtual machine from a backup and leaves it off. It starts with the host as the one did that
        it replaces. One that was restored from this backup already is left as it is, unless it was on since and
        O(allow_overwrite=true).
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
import secrets
import time
import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_vmx
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession
from ansible_collections.edge.rack.plugins.module_utils.esxi.backup import (
    MANIFEST,
    MOST_LETTERS,
    PARTIAL,
    RESTORED_FROM,
    RESTORING,
    SNAPSHOT,
    DiskCopy,
    Manifest,
    independent_disks,
    manifest_from,
    name_by_time,
    outdated,
    replaced_name,
    require_free,
    require_name,
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
from ansible_collections.edge.rack.plugins.module_utils.esxi.files import Place, ShellFiles
from ansible_collections.edge.rack.plugins.module_utils.esxi.progress import Progress
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import VmState, Wanted
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
        self.half = {}  # type: t.Dict[str, t.Optional[Manifest]]
        """What is begun and not complete: by its manifest, or without one by what is there at the very beginning."""
        self.half_bytes = 0
        self.unreadable = []  # type: t.List[str]
        """With a manifest that says nothing, of a later version say. It stays."""
        self.others = []  # type: t.List[str]
        """Somebody else's."""
        for name, entry in sorted(way.files.list(store, folder).items()):
            if entry.is_folder:
                self._look_at(name)
            else:
                self.others.append(name)

    def _look_at(self, name: str) -> None:
        there = self.way.files.list(self.store, self.path(name))
        if MANIFEST not in there:
            if set(there) <= {MANIFEST + PARTIAL}:
                self.half[name] = None
            else:
                self.others.append(name)
            return
        manifest = manifest_from(self.way.files.read(self.store, self.path(name, MANIFEST)))
        if manifest is None:
            self.unreadable.append(name)
        elif manifest.complete:
            self.complete[name] = dataclasses.replace(manifest, name=name)
        else:
            self.half[name] = manifest
            self.half_bytes += min(sum(entry.size for entry in there.values()), manifest.stored_bytes)

    def path(self, *parts: str) -> str:
        return posixpath.join(self.folder, *parts)

    def remove(self, name: str) -> None:
        """The manifest first: what is half removed must not look complete."""
        self.way.files.remove(self.store, self.path(name, MANIFEST))
        self.way.files.remove(self.store, self.path(name))

    def hold(self, manifest: Manifest, steps: int = 1) -> Manifest:
        """Say that this run is at it for so many steps more; raises EsxiWrongState if another one took it away."""
        self.require_ours(manifest)
        return self.write(until(self.way, manifest, steps))

    def require_ours(self, manifest: Manifest) -> None:
        there = manifest_from(self.way.files.read(self.store, self.path(manifest.name, MANIFEST)))
        if there is None or there.token != manifest.token:
            raise EsxiWrongState(
                "VM %s: making the backup %s" % (manifest.vm, manifest.name),
                "another run has taken it away",
                remedy="Make backups of one machine one at a time.",
            )

    def write(self, manifest: Manifest) -> Manifest:
        write_whole(self.way, (self.store, self.path(manifest.name, MANIFEST)), manifest.text())
        return manifest

    def names(self) -> t.List[str]:
        return [m.name for m in sorted(self.complete.values(), key=lambda m: (m.time, m.name))]


def until(way: Way, manifest: Manifest, steps: int) -> Manifest:
    return dataclasses.replace(manifest, until=way.files.now() + steps * way.timeout_seconds)


def write_whole(way: Way, place: Place, text: bytes) -> None:
    """Write a small file, so that no half one has its name."""
    store, path = place
    if isinstance(way.files, ShellFiles):
        way.files.write(store, path, [text], len(text))
        return
    way.files.write(store, path + PARTIAL, [text], len(text))
    way.files.move(store, path + PARTIAL, path)


def require_space(way: Way, store: Datastore, asked: str, needed: int, freed: int = 0) -> Result:
    """What is needed and what is free, for the result; raises EsxiNoSpace."""
    free = way.files.free_bytes(store) + freed
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
    asked = "VM %s: backing it up to %s" % (params["name"], backups.store.name)
    if name in backups.others or name in backups.unreadable:
        raise EsxiExists(
            asked,
            "[%s] %s is there already, and is no backup that can be read" % (backups.store.name, backups.path(name)),
            remedy="Choose another `backup_name`, or remove what is there.",
        )
    for unreadable in backups.unreadable:
        module.warn(
            "[%s] %s cannot be read as a backup and is kept. `state: absent` removes it."
            % (backups.store.name, backups.path(unreadable, MANIFEST))
        )
    state = way.vms.find(params["name"])
    if state is None:
        raise EsxiNotFound("VM %s: backing it up" % params["name"], "the host has no such VM")
    way.session.require_writes()
    _require_alone(way, backups, asked)
    if not module.check_mode:
        state = _clean_up(way, backups, state)
    manifest = _planned(way, state, name)
    freed = backups.half_bytes if module.check_mode else 0
    space = require_space(way, backups.store, asked, manifest.stored_bytes, freed)
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


def _require_alone(way: Way, backups: Backups, asked: str) -> None:
    now = way.files.now() if any(backups.half.values()) else 0
    for name, manifest in backups.half.items():
        require_free(
            manifest, now, asked, "Wait for it; if that run is dead: `state: absent` with `backup_name: %s`." % name
        )


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
    files.make_folder(backups.store, backups.folder)
    files.make_new_folder(backups.store, backups.path(manifest.name))
    manifest = dataclasses.replace(manifest, token=secrets.token_hex(8))
    written = False
    try:
        # Reading its configuration, and making a snapshot.
        backups.write(until(way, manifest, 2))
        written = True
        # The configuration before the snapshot, for that one changes the names of the disks in it.
        manifest = _copy_settings(backups, state, manifest)
        if state.is_off:
            _copy_disks(backups, manifest, progress)
        else:
            with snapshot(module, way, state):
                _copy_disks(backups, manifest, progress)
                backups.hold(manifest)
        _verify(backups, manifest)
        backups.require_ours(manifest)
        manifest = backups.write(dataclasses.replace(manifest, complete=True, token="", until=0))
    except BaseException:
        # What cannot be removed now is half a backup, which a later run removes.
        with contextlib.suppress(EsxiError):
            if written:
                backups.require_ours(manifest)
            backups.remove(manifest.name)
        raise
    return manifest


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
        backups.hold(manifest)
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
        before = _snapshots_of(way, state)
        way.create_snapshot(state, SNAPSHOT)
        ours = _snapshots_of(way, state) - before
        yield
        if not ours or not ours <= _snapshots_of(way, state):
            raise EsxiWrongState(
                "VM %s: copying its disks" % state.name,
                "somebody removed its snapshot meanwhile, and so they are not of one moment",
                remedy="Run again.",
            )
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


def _snapshots_of(way: Way, state: VmState) -> t.Set[str]:
    return {snapshot_id for snapshot_id, name in way.snapshots(state) if name == SNAPSHOT}


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
    require_name(name, "new_name")
    mark, old = restored_mark(manifest), way.vms.find(name)
    old_name = replaced_name(name, manifest)
    left = way.vms.find(old_name) if old is not None else None
    if old is not None and _is_restored(way, old, mark, params["allow_overwrite"]):
        # It is done; but for what a crash in the last moment left.
        place = _place_of(way, old.path)
        forgotten = RESTORING in way.files.list(*place)
        result = _result(backups, left is not None or forgotten, backup=manifest, vm=_shown(old))
        if result["changed"]:
            way.session.require_writes()
        if forgotten and not module.check_mode:
            way.files.remove(place[0], posixpath.join(place[1], RESTORING))
        if left is not None and not module.check_mode:
            _replace(way, left, name)
        return result
    way.session.require_writes()
    asked = "VM %s: restoring it from %s" % (name, manifest.name)
    _require_replaceable(asked, old, old_name, params["allow_overwrite"])
    if left is not None:
        raise EsxiExists(asked, "there is a VM %s, too" % old_name, remedy="Remove or rename that one.")
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
        result["vm"] = _shown(_exchange(way, old, name, old_name, (store, folder)))
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


def _is_restored(way: Way, state: VmState, mark: str, allow_overwrite: bool) -> bool:
    """From this backup already. One that was on since is no longer what the backup holds, and may be restored again."""
    datastore, path = split_datastore_path(state.path)
    text = way.files.read(way.files.datastores[datastore], path).decode("utf-8", "replace")
    if Vmx.parse(text).get(RESTORED_FROM) != mark:
        return False
    return not allow_overwrite or (state.is_off and not _was_on(way, state))


def _was_on(way: Way, state: VmState) -> bool:
    """The host begins its log at each start, and renames the one before."""
    return any(re.fullmatch(r"vmware(-\d+)?\.log", name) for name in way.files.list(*_place_of(way, state.path)))


def _place_of(way: Way, path: str) -> Place:
    """The folder of a machine, by its .vmx."""
    datastore, file = split_datastore_path(path)
    return way.files.datastores[datastore], posixpath.dirname(file)


def _shown(state: VmState) -> Result:
    return {"name": state.name, "id": state.id, "path": state.path}


def _require_replaceable(asked: str, old: t.Optional[VmState], old_name: str, allow_overwrite: bool) -> None:
    if old is None:
        return
    if not allow_overwrite:
        raise EsxiExists(
            asked,
            "there is a VM of this name",
            remedy="Set `new_name` to restore beside it, or `allow_overwrite: true` to replace it with all it has.",
        )
    if len(old_name) > MOST_LETTERS:
        raise EsxiSettingsError(
            asked,
            "the old one is kept as `%s` meanwhile, and the host takes names of %d letters" % (old_name, MOST_LETTERS),
            remedy="Set `new_name` to restore beside it, or rename the folder of the backup.",
        )
    if not old.is_off:
        raise EsxiWrongState(
            asked, "the VM of this name is %s" % old.power_state, remedy="Power it off first (esxi_vm)."
        )


def _free_folder(way: Way, store: Datastore, name: str, manifest: Manifest, asked: str) -> str:
    """That of the name, or, where the old machine lies in it, one beside it."""
    top = way.files.list(store, "")
    for folder in (name, "%s-%s" % (name, manifest.name)):
        if folder not in top:
            return folder
        half = _half_restored(way, store, folder)
        if half is not None:
            remedy = "Wait for it; if that run is dead, remove the folder %s." % store.datastore_path(folder)
            require_free(half, way.files.now(), asked, remedy)
            return folder
    raise EsxiExists(
        asked,
        "the folders %s and %s-%s are there already" % (store.datastore_path(name), name, manifest.name),
        remedy="Set `new_name` or `restore_datastore`, or remove what is there.",
    )


def _half_restored(way: Way, store: Datastore, folder: str) -> t.Optional[Manifest]:
    """What a restoring that was cut off put there; None where a machine is registered, or it is not ours."""
    if RESTORING not in way.files.list(store, folder):
        return None
    if any(path.startswith(store.datastore_path(folder + "/")) for path in way.registered()):
        return None
    return manifest_from(way.files.read(store, posixpath.join(folder, RESTORING)))


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
    text = restored_vmx(content.decode("utf-8", "replace"), manifest, name).encode("utf-8")
    restoring = dataclasses.replace(manifest, token=secrets.token_hex(8))
    if folder in files.list(store, "") and _half_restored(way, store, folder) is not None:
        files.remove(store, folder)
    files.make_new_folder(store, folder)
    written = False
    try:
        for disk in manifest.disks:
            if written:
                _require_restoring(way, target, restoring)
            write_whole(way, (store, posixpath.join(folder, RESTORING)), until(way, restoring, 2).text())
            written = True
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
        files.write(store, posixpath.join(folder, name + ".vmx"), [text], len(text))
        if written:
            _require_restoring(way, target, restoring)
    except BaseException:
        with contextlib.suppress(EsxiError):
            if written:
                _require_restoring(way, target, restoring)
            files.remove(store, folder)
        raise


def _require_restoring(way: Way, target: Place, manifest: Manifest) -> None:
    """Raises EsxiWrongState if another run took the folder away."""
    store, folder = target
    there = manifest_from(way.files.read(store, posixpath.join(folder, RESTORING)))
    if there is None or there.token != manifest.token:
        raise EsxiWrongState(
            "Restoring to %s" % store.datastore_path(folder),
            "another run has taken it away",
            remedy="Restore one machine at a time.",
        )


def _exchange(way: Way, old: t.Optional[VmState], name: str, old_name: str, target: Place) -> VmState:
    """Register the restored machine in the place of the old one, which goes only then."""
    store, folder = target
    path = store.datastore_path("%s/%s.vmx" % (folder, name))
    try:
        if old is not None:
            way.rename(old, old_name)
        way.register(name, path)
    except BaseException:
        with contextlib.suppress(EsxiError):
            # Whatever the host said, it may have done it.
            vm_id = way.registered().get(path)
            if vm_id is not None:
                way.unregister(vm_id)
            with contextlib.suppress(EsxiError):
                if old is not None:
                    way.rename(dataclasses.replace(old, name=old_name), name)
            way.files.remove(store, folder)
        raise
    way.files.remove(store, posixpath.join(folder, RESTORING))
    return _replace(way, dataclasses.replace(old, name=old_name) if old is not None else None, name)


def _replace(way: Way, old: t.Optional[VmState], name: str) -> VmState:
    """The restored machine starts with the host as the old one did, which goes then."""
    way.vms.host()
    new = way.vms.find(name)
    if new is None:
        raise EsxiError("VM %s: restoring it" % name, "the host registered it, but does not list it")
    if old is not None:
        if old.autostart.enabled:
            way.vms.set_autostart(new, Wanted(name, autostart=old.autostart.as_result()))
        way.destroy(old)
    return new


# -- Removing one -----------------------------------------------------------------------------------


def absent(module: AnsibleModule, way: Way, backups: Backups) -> Result:
    name = module.params["backup_name"]
    there = name in (*backups.complete, *backups.half, *backups.unreadable)
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
    require_name(params["name"], "name")
    if params["new_name"]:
        require_name(params["new_name"], "new_name")
    folder = posixpath.join(clean_path(params["folder"], "folder"), params["name"])
    way = way_of(session, params["timeout_seconds"])
    store = datastore_named(way.files.datastores, params["datastore"])
    backups = Backups(way, store, folder)
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
