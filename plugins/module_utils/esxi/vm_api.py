# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines by the API: read, create, change, power, remove."""

from __future__ import annotations

import contextlib
import secrets
import time
import typing as t
from dataclasses import replace
from urllib.parse import quote

from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_spec
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, Properties, error_of, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    SUMMARY,
    datastores_of,
    split_datastore_path,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiExists,
    EsxiNotFound,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import Image
from ansible_collections.edge.rack.plugins.module_utils.esxi.vm import (
    Autostart,
    Change,
    Host,
    VmState,
    Wanted,
    autostart_of,
    changed_keys,
    require_no_snapshot,
    require_remains,
)

VM_PROPERTIES = (
    "config",
    "runtime.powerState",
    "guest.ipAddress",
    "guest.net",
    "guest.hostName",
    "guest.toolsRunningStatus",
)
POLL_SECONDS = 1.0
LEASE_SECONDS = 330.0
"""The host gives up an upload of which it hears nothing for 300 s."""
PROGRESS_SECONDS = 3.0
VMDK_TYPE = "application/x-vnd.vmware-streamVmdk"


class ApiVms:
    def __init__(self, session: ApiSession, timeout_seconds: int) -> None:
        self.session = session
        self.timeout_seconds = timeout_seconds
        self.poll_seconds = POLL_SECONDS
        self.autostart_enabled = False
        self._autostarts = {}  # type: t.Dict[t.Any, t.Any]
        self._rows = {}  # type: t.Dict[t.Any, Properties]
        self._vm = None  # type: t.Any
        self._config = None  # type: t.Any

    # -- Reading

    def host(self) -> Host:
        """The places of the host, and the names of its machines: one call, however many there are."""
        self._rows = self.session.read_all(
            "the host",
            Objects(vim.VirtualMachine, ("name",)),
            Objects(vim.Network, ("name",)),
            Objects(vim.Datastore, SUMMARY),
            Objects(vim.Datacenter, ("vmFolder",)),
            Objects(vim.ComputeResource, ("resourcePool",)),
            Objects(vim.HostSystem, ("configManager.autoStartManager",)),
        )
        return Host(
            networks=tuple(row["name"] for obj, row in self._rows.items() if isinstance(obj, vim.Network)),
            datastores=datastores_of(self._rows),
        )

    def find(self, name: str) -> t.Optional[VmState]:
        """A machine among those that `host` read, with the host's autostart; one call. None without it.

        Raises EsxiWrongState where the name is not its alone, or the host cannot read its settings.
        """
        found = [
            obj for obj, row in self._rows.items() if isinstance(obj, vim.VirtualMachine) and row.get("name") == name
        ]
        if len(found) > 1:
            raise EsxiWrongState(
                "VM %s: looking for it" % name,
                "%d machines have this name (ids %s)" % (len(found), ", ".join(vm._moId for vm in found)),
                remedy="Rename or unregister all but one.",
            )
        if found:
            return self._read(found[0], name)
        manager = self._autostart_manager()
        self._note_autostart(self.session.read("the autostart", {manager: ("config",)}).get(manager, {}))
        return None

    def again(self, name: str) -> t.Optional[VmState]:
        """Read after a change."""
        self.host()
        return self.find(name)

    def remains(self, name: str) -> bool:
        """What a creation leaves that is cut off is always a registered machine here, with the marker."""
        return False

    def require_changeable(self, state: VmState, changes: t.Sequence[Change]) -> None:
        """Raises EsxiWrongState for a disk that shall grow and has a snapshot."""
        if any(change.kind == "disk_size" for change in changes):
            row = self.session.read("the snapshots of VM %s" % state.name, {self._vm: ("snapshot",)}).get(self._vm, {})
            tree = row["snapshot"].rootSnapshotList if row.get("snapshot") is not None else []
            require_no_snapshot(state.name, [snapshot.name for snapshot in tree])

    def require_remains(self, state: t.Optional[VmState], name: str) -> None:
        """The marker alone does not tell that something may be removed.

        Raises EsxiWrongState.
        """
        if state is None:
            return
        asked = "the files of VM %s" % name
        # The host itself looks only now and then.
        self.session.call("Reading %s" % asked, self._vm.RefreshStorageInfo)
        layout = self.session.read(asked, {self._vm: ("layoutEx",)}).get(self._vm, {}).get("layoutEx")
        wrong = ""
        if not state.is_off:
            wrong = "it is %s" % state.power_state
        elif any(file.type == "log" for file in getattr(layout, "file", None) or []):
            wrong = "it was on already"
        require_remains(name, state.marker, self._now(), wrong, "remove its setting %s" % vm_spec.MARKER)

    def _now(self) -> int:
        """The host's clock."""
        instance = vim.ServiceInstance("ServiceInstance", self.session.stub)
        return int(self.session.call("Reading the host's clock", instance.CurrentTime).timestamp())

    def require_place(self, wanted: Wanted) -> None:
        """The host chooses a folder that is free."""

    def require_file(self, path: str, asked: str) -> None:
        """Raises EsxiNotFound for a file that is not on its datastore."""
        datastore, file = split_datastore_path(path)
        target = "/folder/%s?dcPath=ha-datacenter&dsName=%s" % (quote(file), quote(datastore, safe=""))
        try:
            self.session.send(asked, "HEAD", target)
        except EsxiNotFound as error:
            raise EsxiNotFound(
                asked, "there is no %s on the host" % path, remedy="Upload it with esxi_datastore_file."
            ) from error

    def _autostart_manager(self) -> t.Any:
        row = next(row for obj, row in self._rows.items() if isinstance(obj, vim.HostSystem))
        return row["configManager.autoStartManager"]

    def _note_autostart(self, row: Properties) -> None:
        config = row.get("config")
        self.autostart_enabled = bool(config and config.defaults and config.defaults.enabled)
        self._autostarts = {entry.key: entry for entry in (config.powerInfo if config else None) or []}

    def _read(self, vm: t.Any, name: str) -> VmState:
        manager = self._autostart_manager()
        rows = self.session.read("VM %s" % name, {vm: VM_PROPERTIES, manager: ("config",)})
        row = rows.get(vm, {})
        self._note_autostart(rows.get(manager, {}))
        if row.get("config") is None:
            raise EsxiWrongState(
                "VM %s: reading it" % name,
                "the host knows it but cannot read its settings",
                remedy="See its .vmx and its datastore; remove it from the host's inventory if it is gone.",
            )
        self._vm, self._config = vm, row["config"]
        state = vm_spec.state_of(vm._moId, row["config"], row)
        return replace(state, autostart=self._autostart(vm))

    def _autostart(self, vm: t.Any) -> Autostart:
        entry = self._autostarts.get(vm)
        if entry is None:
            return Autostart()
        return Autostart.from_entry(
            entry.startAction, entry.startOrder, entry.startDelay, entry.stopDelay, entry.stopAction
        )

    # -- Creating and removing

    def create(self, wanted: Wanted, image: t.Optional[Image], actions: t.List[str]) -> VmState:
        """Make a machine, whole or not at all.

        It has a marker among its settings until its last setting is there: should this process be killed meanwhile,
        the next run knows what it may take away.
        """
        asked = "VM %s: creating it" % wanted.name
        folder = next(row["vmFolder"] for obj, row in self._rows.items() if isinstance(obj, vim.Datacenter))
        pool = next(row["resourcePool"] for obj, row in self._rows.items() if isinstance(obj, vim.ComputeResource))
        token = secrets.token_hex(8)
        marker = "%s %d" % (token, self._now() + self.timeout_seconds)
        spec = vm_spec.creation(wanted, changed_keys(None, wanted), image, marker)
        self._vm = None
        try:
            if image is None:
                self._vm = self.session.run(asked, self.timeout_seconds, folder.CreateVM_Task, spec, pool)
            else:
                self._import(asked, spec, folder, pool, image)
                actions.append("upload")
            state = self._read(self._vm, wanted.name)
            self._reconfigure("VM %s: finishing it" % wanted.name, vm_spec.completion(self._config, state, wanted))
        except BaseException:
            self._take_away(wanted.name, token)
            raise
        actions.append("create")
        return self._read(self._vm, wanted.name)

    def _take_away(self, name: str, token: str) -> None:
        """What was begun goes, as far as the host still answers; the error that is on its way is the one to see."""
        vm, self._vm = self._vm, None
        if vm is not None:
            with contextlib.suppress(EsxiError):
                asked = "VM %s: removing what was begun" % name
                if self._read(vm, name).marker.startswith(token):
                    self.session.run(asked, self.timeout_seconds, vm.Destroy_Task)

    def _import(self, asked: str, spec: t.Any, folder: t.Any, pool: t.Any, image: Image) -> None:
        lease = self.session.call(asked, pool.ImportVApp, vim.vm.VmImportSpec(configSpec=spec), folder)
        try:
            info = self._ready(asked, lease)
            url = next((url.url for url in info.deviceUrl or [] if url.disk is not False), None)
            if url is None:
                raise EsxiError(asked, "the host gives no place to send the disk to")
            asked = "VM %s: uploading %s" % (spec.name, image.name)
            self.session.send(asked, "POST", url, self._with_progress(lease, image), image.length, VMDK_TYPE)
            self.session.call(asked, lease.Complete)
        except BaseException:
            with contextlib.suppress(EsxiError):
                self.session.call("giving up the upload", lease.Abort)
            raise
        self._vm = info.entity

    def _ready(self, asked: str, lease: t.Any) -> t.Any:
        """The host makes the machine first; then it says where its disk goes."""
        deadline = time.monotonic() + self.timeout_seconds
        while True:
            row = self.session.read(asked, {lease: ("state", "error", "info")})[lease]
            if row["state"] == vim.HttpNfcLease.State.ready:
                return row["info"]
            if row["state"] == vim.HttpNfcLease.State.error:
                raise error_of(asked, row["error"])
            if time.monotonic() > deadline:
                raise EsxiError(asked, "the host did not make it within %d s" % self.timeout_seconds)
            time.sleep(min(0.2, self.poll_seconds))

    def _with_progress(self, lease: t.Any, image: Image) -> t.Iterator[bytes]:
        """The image's bytes; meanwhile the host hears that the upload lives."""
        sent, told = 0, time.monotonic()
        for chunk in image.chunks():
            yield chunk
            sent += len(chunk)
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                self.session.call("telling how far the upload is", lease.Progress, sent * 100 // image.length)

    def remove_remains(self, state: t.Optional[VmState], name: str) -> None:
        """Remove a machine whose creation was cut off: `require_remains` looked at it.

        While the lease of its upload lives the host refuses; when the lease ends, the host removes the machine itself.
        """
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                return self.destroy(name)
            except EsxiNotFound:
                return None
            except EsxiWrongState as error:
                if time.monotonic() > deadline:
                    raise EsxiWrongState(
                        "VM %s: removing the rest of its creation" % name,
                        "its upload still goes on: %s" % error.answer,
                        remedy="Another run may be creating it: wait for that one, then run again.",
                    ) from error
            time.sleep(self.poll_seconds)
            state = self.again(name)
            if state is None:
                return None
            if not state.unfinished:
                raise EsxiExists("VM %s: creating it" % name, "another run has created it meanwhile")

    def destroy(self, name: str) -> None:
        asked = "VM %s: removing it" % name
        self.session.run(asked, self.timeout_seconds, self._vm.Destroy_Task)

    # -- Changing

    def reconfigure(self, state: VmState, wanted: Wanted, changes: t.Sequence[Change]) -> None:
        asked = "VM %s: changing it" % wanted.name
        spec = vm_spec.reconfiguration(self._config, state, wanted, changes, changed_keys(state, wanted))
        if spec is not None:
            self._reconfigure(asked, spec)
        if any(change.kind == "boot_order" for change in changes):
            # It names devices, some of which the host has only just made.
            self._read(self._vm, wanted.name)
            self._reconfigure(asked, vm_spec.boot(self._config, wanted.boot_order or ()))

    def _reconfigure(self, asked: str, spec: t.Any) -> None:
        self.session.run(asked, self.timeout_seconds, self._vm.ReconfigVM_Task, spec)

    def set_autostart(self, state: VmState, wanted: Wanted) -> None:
        autostart = autostart_of(state, wanted)
        manager = self._autostart_manager()
        system = vim.host.AutoStartManager
        entry = system.AutoPowerInfo(
            key=self._vm,
            startAction="powerOn" if autostart.enabled else "none",
            startOrder=autostart.order if autostart.enabled else -1,
            startDelay=autostart.start_delay_seconds,
            stopAction=autostart.stop_action,
            stopDelay=autostart.stop_delay_seconds,
            waitForHeartbeat=system.AutoPowerInfo.WaitHeartbeatSetting.systemDefault,
        )
        spec = system.Config(powerInfo=[entry])
        if autostart.enabled and not self.autostart_enabled:
            spec.defaults = system.SystemDefaults(enabled=True)
        self.session.call("VM %s: setting its autostart" % wanted.name, manager.ReconfigureAutostart, spec)

    # -- Power

    def power_on(self, state: VmState) -> None:
        self.session.run("VM %s: powering it on" % state.name, self.timeout_seconds, self._vm.PowerOnVM_Task)

    def power_off(self, state: VmState) -> None:
        self.session.run("VM %s: powering it off" % state.name, self.timeout_seconds, self._vm.PowerOffVM_Task)

    def ask_to_shut_down(self, state: VmState) -> None:
        self.session.call("VM %s: shutting its guest down" % state.name, self._vm.ShutdownGuest)

    def is_off(self, state: VmState) -> bool:
        row = self.session.read("VM %s" % state.name, {self._vm: ("runtime.powerState",)})[self._vm]
        return row["runtime.powerState"] == vim.VirtualMachine.PowerState.poweredOff

    def addresses(self, state: VmState) -> VmState:
        """Read again what the guest tells."""
        return self._read(self._vm, state.name)
