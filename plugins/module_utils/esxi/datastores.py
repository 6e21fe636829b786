# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's datastores, by either way, and the paths on them."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, Properties, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import number_of_cell, rows_of_csv
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiNotFound, EsxiSettingsError

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import Session

FILESYSTEMS = ("esxcli", "--formatter=csv", "storage", "filesystem", "list")
SUMMARY = ("name", "summary.capacity", "summary.freeSpace", "summary.type", "summary.url", "summary.accessible")

_DATASTORE_PATH = re.compile(r"\[(?P<datastore>[^\]]+)\] ?(?P<path>.*)")

_PEOPLES = re.compile(r"(VMFS(-\d+)?|NFS\w*|vsan|VVOL)", re.IGNORECASE)


@dataclass(frozen=True)
class Datastore:
    name: str
    mount: str
    """Where the host's shell finds it, such as ``/vmfs/volumes/5f3a...``."""
    kind: str
    capacity_bytes: int
    free_bytes: int

    def host_path(self, path: str) -> str:
        """Where the host's shell finds a file of it."""
        return "%s/%s" % (self.mount, path)

    def datastore_path(self, path: str) -> str:
        """What the API and the .vmx call a file of it."""
        return "[%s] %s" % (self.name, path)


def read_datastores(session: Session) -> t.Dict[str, Datastore]:
    """The mounted datastores by name; one exchange with the host."""
    if isinstance(session, ApiSession):
        return datastores_of(session.read_all("the datastores", Objects(vim.Datastore, SUMMARY)))
    return datastores_from_csv(session.run(*FILESYSTEMS).checked())


def datastores_of(rows: t.Mapping[t.Any, Properties]) -> t.Dict[str, Datastore]:
    """From the properties SUMMARY; rows of other kinds may be among them."""
    found = {}
    for obj, row in rows.items():
        if isinstance(obj, vim.Datastore) and row.get("summary.accessible", True):
            mount = re.sub(r"^ds://", "", row.get("summary.url") or "").rstrip("/")
            found[row["name"]] = Datastore(
                row["name"],
                mount,
                row.get("summary.type") or "",
                row.get("summary.capacity") or 0,
                row.get("summary.freeSpace") or 0,
            )
    return found


def datastores_from_csv(text: str) -> t.Dict[str, Datastore]:
    """From what FILESYSTEMS prints. The host's own volumes (BOOTBANK1, OSDATA-...) have types of their own."""
    found = {}
    for row in rows_of_csv(text):
        name, kind = row.get("VolumeName", ""), row.get("Type", "")
        if name and row.get("Mounted") == "true" and _PEOPLES.fullmatch(kind):
            found[name] = Datastore(
                name,
                row["MountPoint"],
                # The API says VMFS, whatever its version.
                re.sub(r"-\d+$", "", kind),
                number_of_cell(row.get("Size")),
                number_of_cell(row.get("Free")),
            )
    return found


def datastore_named(datastores: t.Mapping[str, Datastore], name: str, option: str = "datastore") -> Datastore:
    """Raises EsxiNotFound, which names those that there are."""
    if name not in datastores:
        raise EsxiNotFound(
            "Looking for datastore %s" % name,
            "the host has no such datastore, it has %s" % (", ".join(sorted(datastores)) or "none"),
            remedy="Correct `%s`." % option,
        )
    return datastores[name]


def split_datastore_path(path: str) -> t.Tuple[str, str]:
    """``[datastore1] maas/maas.vmx`` -> its two parts."""
    parts = _DATASTORE_PATH.fullmatch(path)
    if parts is None:
        raise EsxiSettingsError("Reading the path %r" % path, "it does not look like `[datastore1] folder/file`")
    return parts.group("datastore"), parts.group("path")


def clean_path(path: str, option: str = "path") -> str:
    """A path below a datastore's top, without detours; raises EsxiSettingsError for one that leaves it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or any(ord(c) < 32 for c in path):
        raise EsxiSettingsError(
            "Reading `%s` %r" % (option, path),
            "it names no place below the datastore",
            remedy="Give it as `folder/file`, without `..`.",
        )
    return "/".join(parts)


def gib(size: float) -> str:
    """A size for a message."""
    return "%.1f GiB" % (size / 2**30) if size >= 2**30 else "%.1f MiB" % (size / 2**20)
