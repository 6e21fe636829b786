# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup of a virtual machine is: its manifest, which ones go, and the .vmx of the machine that comes of it."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone

from ansible_collections.edge.rack.plugins.module_utils.esxi import vm_vmx
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiSettingsError, EsxiWrongState
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx, require_utf8

MANIFEST = "backup.json"
"""Lies in a backup's folder from the first moment, and says that it is complete in the last."""
RESTORING = "restoring.json"
"""Lies in the folder of a machine that is being restored until it is registered."""
RESTORED_FROM = "edge.rack.restoredFrom"
"""A setting of a restored machine, so that it is not restored twice."""
SNAPSHOT = "edge.rack backup"
PARTIAL = ".partial"
"""What a file is called while it is written."""
MOST_LETTERS = 80
"""Of a machine's name, on ESXi."""

# What belongs to the running machine that once was.
_STALE = ("sched.swap.derivedName", "vmxstats.filename", "migrate.hostlog", "checkpoint.vmState", "extendedConfigFile")
# By these a host or a network knows one machine from another.
_IDENTITY = ("uuid.bios", "uuid.location", "vc.uuid")


@dataclass(frozen=True)
class DiskCopy:
    slot: str
    """Where the machine has it, such as ``scsi0:0``."""
    file: str
    source: str
    capacity_bytes: int


@dataclass(frozen=True)
class Manifest:
    vm: str
    name: str
    time: str
    path: str
    """The .vmx of the machine, ``[datastore1] maas/maas.vmx``."""
    vmx: str
    disks: t.Tuple[DiskCopy, ...]
    stored_bytes: int
    """What its disks take up."""
    nvram: str = ""
    nvram_source: str = ""
    running: bool = False
    vmx_sha256: str = ""
    complete: bool = False
    token: str = ""
    """Of the run that is at it, until it is through."""
    until: int = 0
    """The end of what that run does now, by the host's clock: until then no other run takes it away."""

    def text(self) -> bytes:
        return (json.dumps({"format": 1, **asdict(self)}, indent=2, sort_keys=True) + "\n").encode()

    def as_result(self) -> t.Dict[str, t.Any]:
        return {name: value for name, value in asdict(self).items() if name not in ("token", "until")}


def manifest_from(text: bytes) -> t.Optional[Manifest]:
    """None for what is no whole manifest."""
    try:
        given = json.loads(text)
        if given.pop("format") != 1:
            return None
        disks = tuple(DiskCopy(**_known(DiskCopy, disk)) for disk in given["disks"])
        return Manifest(**{**_known(Manifest, given), "disks": disks, "until": int(given.get("until", 0))})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _known(kind: t.Any, given: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Without what a later version may have added."""
    names = [field.name for field in fields(kind)]
    return {name: value for name, value in given.items() if name in names}


def require_name(name: str, option: str) -> None:
    """Raises EsxiSettingsError for what is no name of a virtual machine, and so none of its folder."""
    good = re.fullmatch(r"[^\x00-\x1f\x7f/\\%%]{1,%d}" % MOST_LETTERS, name)
    if not good or name != name.strip() or name.startswith("."):
        raise EsxiSettingsError(
            "Reading `%s` %r" % (option, name),
            "it takes no /, \\ or %%, no blank at an end, no dot at the beginning, and %d letters at most"
            % MOST_LETTERS,
            remedy="Correct `%s`." % option,
        )


def replaced_name(name: str, manifest: Manifest) -> str:
    """Of the old machine until the restored one is registered."""
    return "%s (replaced by %s)" % (name, manifest.name)


def require_free(manifest: t.Optional[Manifest], now: int, asked: str, remedy: str) -> None:
    """Raises EsxiWrongState while another run is at what this manifest lies in."""
    if manifest is not None and manifest.until > now:
        until = datetime.fromtimestamp(manifest.until, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise EsxiWrongState(asked, "another run is at it, until %s at most" % until, remedy=remedy)


def name_by_time(now: datetime) -> str:
    return now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def outdated(manifests: t.Iterable[Manifest], keep: t.Optional[int]) -> t.List[Manifest]:
    """The complete ones beyond the last `keep`, the oldest first."""
    complete = sorted((m for m in manifests if m.complete), key=lambda m: (m.time, m.name))
    return [] if keep is None else complete[: max(len(complete) - keep, 0)]


def independent_disks(vmx: Vmx) -> t.List[str]:
    """Disks that no snapshot holds still."""
    return [slot for slot in vm_vmx.disk_slots(vmx) if vmx.get(slot + ".mode").lower().startswith("independent")]


def restored_vmx(text: str, manifest: Manifest, name: str) -> str:
    """The .vmx of a machine made from a backup, with the backup's disks beside it.

    Under its old name it is the same machine; under another it is a new one, with a new UUID and new MAC addresses.
    """
    vmx = Vmx.parse(text)
    require_utf8(vmx, "VM %s: restoring it from %s" % (name, manifest.name))
    for key in _STALE:
        vmx.remove(key)
    vmx.set("displayName", name)
    for disk in manifest.disks:
        vmx.set(disk.slot + ".fileName", disk.file)
    if manifest.nvram:
        vmx.set("nvram", name + ".nvram")
    same = name == manifest.vm
    # Said beforehand, the host never asks whether it was moved or copied, and so no start waits for an answer.
    vmx.set("uuid.action", "keep" if same else "create")
    if not same:
        for key in _IDENTITY:
            vmx.remove(key)
        for nic in vmx.devices(r"ethernet\d+"):
            for key in ("address", "generatedAddress", "generatedAddressOffset", "checkMACAddress"):
                vmx.remove("%s.%s" % (nic, key))
            vmx.set(nic + ".addressType", "generated")
    vmx.set(RESTORED_FROM, restored_mark(manifest))
    return vmx.text()


def restored_mark(manifest: Manifest) -> str:
    return "%s/%s" % (manifest.vm, manifest.name)


def snapshots_in(text: str) -> t.List[t.Tuple[str, str]]:
    """Ids and names of what ``vim-cmd vmsvc/snapshot.get`` prints, ``--Snapshot Name        : x`` in a tree."""
    names = re.findall(r"-Snapshot Name\s*: (.*?)\s*$", text, re.MULTILINE)
    ids = re.findall(r"-Snapshot Id\s*: (\d+)\s*$", text, re.MULTILINE)
    return list(zip(ids, names))  # noqa: B905 - Python 3.9 has no strict
