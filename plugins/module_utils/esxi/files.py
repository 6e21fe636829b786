# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the host's datastores, the same verbs by either way."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass
from urllib.parse import quote as quote_url

from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    SUMMARY,
    Datastore,
    datastores_of,
    read_datastores,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiExists, EsxiNotFound
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import ShellSession, quote

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import Session

FILE_SECONDS = 600
"""For what ends by itself on a sound host: a listing, a removal, a rename."""


Place = t.Tuple[Datastore, str]
"""A datastore and a path on it."""


@dataclass(frozen=True)
class Entry:
    """One file or folder in a listing."""

    size: int
    modified: float
    """In seconds; only to be compared with that of another file of the host."""
    is_folder: bool


class ApiFiles:
    """By the API: the datastore browser, the file manager, and HTTP for the content."""

    def __init__(self, session: ApiSession) -> None:
        self.session = session
        rows = session.read_all(
            "the datastores", Objects(vim.Datastore, (*SUMMARY, "browser")), Objects(vim.Datacenter, ("name",))
        )
        self.datastores = datastores_of(rows)
        self.datacenter = next(obj for obj in rows if isinstance(obj, vim.Datacenter))
        self._datacenter_name = rows[self.datacenter]["name"]
        self._browsers = {row["name"]: row["browser"] for row in rows.values() if "browser" in row}
        self._objects = {row["name"]: obj for obj, row in rows.items() if isinstance(obj, vim.Datastore)}
        self._manager = session.content.fileManager

    def free_bytes(self, datastore: Datastore) -> int:
        """As it is now: the host itself looks only every few minutes."""
        asked, obj = "the free space of %s" % datastore.name, self._objects[datastore.name]
        self.session.call("Reading %s" % asked, obj.RefreshDatastore)
        return int(self.session.read(asked, {obj: ("summary.freeSpace",)})[obj]["summary.freeSpace"])

    def list(self, datastore: Datastore, folder: str) -> t.Dict[str, Entry]:
        """What lies in a folder, by name; nothing where there is no such folder."""
        flags = vim.host.DatastoreBrowser.FileInfo.Details(
            fileType=True, fileSize=True, modification=True, fileOwner=False
        )
        spec = vim.host.DatastoreBrowser.SearchSpec(details=flags)
        place = datastore.datastore_path(folder)
        try:
            found = self.session.run(
                "Listing %s" % place,
                FILE_SECONDS,
                self._browsers[datastore.name].SearchDatastore_Task,
                datastorePath=place,
                searchSpec=spec,
            )
        except EsxiNotFound:
            return {}
        return {
            file.path: Entry(
                file.fileSize or 0,
                file.modification.timestamp() if file.modification else 0.0,
                isinstance(file, vim.host.DatastoreBrowser.FolderInfo),
            )
            for file in found.file
        }

    def read(self, datastore: Datastore, path: str) -> bytes:
        return self.session.send("Reading %s" % datastore.datastore_path(path), "GET", self._url(datastore, path))

    def write(self, datastore: Datastore, path: str, chunks: t.Iterable[bytes], length: int) -> None:
        """Where it breaks off, half a file may stay under this name."""
        asked = "Writing %s" % datastore.datastore_path(path)
        self.session.send(asked, "PUT", self._url(datastore, path), chunks, length)

    def copy(self, source: Place, target: Place) -> None:
        """Copy a small file by way of this machine."""
        content = self.read(*source)
        self.write(*target, [content], len(content))

    def sha256(self, datastore: Datastore, path: str, timeout_seconds: float = FILE_SECONDS) -> str:
        """Of a small file, which is read whole: the host computes none."""
        return hashlib.sha256(self.read(datastore, path)).hexdigest()

    def copy_disk(self, source: Place, target: Place, timeout_seconds: float) -> None:
        """Copy a virtual disk, with all that its snapshots hold, into one thin disk."""
        manager = self.session.content.virtualDiskManager
        self.session.run(
            "Copying the disk %s to %s" % (source[0].datastore_path(source[1]), target[0].datastore_path(target[1])),
            timeout_seconds,
            manager.CopyVirtualDisk_Task,
            sourceName=source[0].datastore_path(source[1]),
            sourceDatacenter=self.datacenter,
            destName=target[0].datastore_path(target[1]),
            destDatacenter=self.datacenter,
            destSpec=vim.VirtualDiskManager.VirtualDiskSpec(diskType="thin", adapterType="lsiLogic"),
            force=False,
        )

    def now(self) -> int:
        """The host's clock, in seconds."""
        instance = vim.ServiceInstance("ServiceInstance", self.session.stub)
        return int(self.session.call("Reading the host's clock", instance.CurrentTime).timestamp())

    def make_new_folder(self, datastore: Datastore, folder: str) -> None:
        """In a folder that is there; raises EsxiExists where the name is taken."""
        place = datastore.datastore_path(folder)
        asked = "Making the folder %s" % place
        self.session.call(asked, self._manager.MakeDirectory, name=place, datacenter=self.datacenter)

    def make_folder(self, datastore: Datastore, folder: str) -> None:
        if not folder:
            return
        place = datastore.datastore_path(folder)
        try:
            self.session.call(
                "Making the folder %s" % place,
                self._manager.MakeDirectory,
                name=place,
                datacenter=self.datacenter,
                createParentDirectories=True,
            )
        except EsxiExists:
            return

    def move(self, datastore: Datastore, source: str, target: str) -> None:
        """Rename a file; one that has the name already is replaced."""
        place = datastore.datastore_path(target)
        self.session.run(
            "Moving %s to %s" % (datastore.datastore_path(source), place),
            FILE_SECONDS,
            self._manager.MoveDatastoreFile_Task,
            sourceName=datastore.datastore_path(source),
            sourceDatacenter=self.datacenter,
            destinationName=place,
            destinationDatacenter=self.datacenter,
            force=True,
        )

    def remove(self, datastore: Datastore, path: str) -> None:
        """Remove a file, or a folder with what is in it; nothing where there is none."""
        place = datastore.datastore_path(path)
        try:
            self.session.run(
                "Removing %s" % place,
                FILE_SECONDS,
                self._manager.DeleteDatastoreFile_Task,
                name=place,
                datacenter=self.datacenter,
            )
        except EsxiNotFound:
            return

    def _url(self, datastore: Datastore, path: str) -> str:
        place = (quote_url(path), quote_url(self._datacenter_name, safe=""), quote_url(datastore.name, safe=""))
        return "/folder/%s?dcPath=%s&dsName=%s" % place


class ShellFiles:
    """By SSH: the host's shell, on the mount points which the host tells."""

    def __init__(self, session: ShellSession) -> None:
        self.session = session
        self.datastores = read_datastores(session)

    def free_bytes(self, datastore: Datastore) -> int:
        """As it is now."""
        return read_datastores(self.session)[datastore.name].free_bytes

    def now(self) -> int:
        """The host's clock, in seconds."""
        return int(self.session.run("date", "+%s").checked())

    def list(self, datastore: Datastore, folder: str) -> t.Dict[str, Entry]:
        """What lies in a folder, by name; nothing where there is no such folder."""
        place = datastore.host_path(folder)
        script = "cd %s 2>/dev/null && stat -c '%%s %%Y %%F|%%n' ./* ./.[!.]* 2>/dev/null; true" % quote(place)
        text = self.session.script(script, "Listing %s" % place, FILE_SECONDS).checked()
        return _entries(text)

    def read(self, datastore: Datastore, path: str) -> bytes:
        return self.session.run("cat", datastore.host_path(path)).checked().encode("utf-8")

    def write(self, datastore: Datastore, path: str, chunks: t.Iterable[bytes], length: int) -> None:
        self.session.write(datastore.host_path(path), chunks)

    def append(self, datastore: Datastore, path: str, chunks: t.Iterable[bytes]) -> None:
        """Where it breaks off, what arrived stays."""
        self.session.write(datastore.host_path(path), chunks, append=True)

    def copy(self, source: Place, target: Place) -> None:
        """Copy a file."""
        places = [datastore.host_path(path) for datastore, path in (source, target)]
        self.session.run("cp", *places, timeout_seconds=FILE_SECONDS).checked()

    def copy_disk(self, source: Place, target: Place, timeout_seconds: float) -> None:
        """Copy a virtual disk, with all that its snapshots hold, into one thin disk."""
        asked = "Copying the disk %s to %s" % (source[0].datastore_path(source[1]), target[0].datastore_path(target[1]))
        places = [datastore.host_path(path) for datastore, path in (source, target)]
        self.session.run_disk_tool("-i", *places, "-d", "thin", asked=asked, timeout_seconds=timeout_seconds)

    def sha256(self, datastore: Datastore, path: str, timeout_seconds: float = FILE_SECONDS) -> str:
        place = datastore.host_path(path)
        return self.session.run("sha256sum", place, timeout_seconds=timeout_seconds).checked().split()[0].lstrip("\\")

    def make_new_folder(self, datastore: Datastore, folder: str) -> None:
        """In a folder that is there; raises EsxiExists where the name is taken."""
        output = self.session.run("mkdir", datastore.host_path(folder))
        if "File exists" in output.text:
            raise EsxiExists("Making the folder %s" % datastore.datastore_path(folder), "it is there already")
        output.checked()

    def make_folder(self, datastore: Datastore, folder: str) -> None:
        self.session.run("mkdir", "-p", datastore.host_path(folder)).checked()

    def move(self, datastore: Datastore, source: str, target: str) -> None:
        """Rename a file; one that has the name already is replaced."""
        self.session.run(
            "mv", "-f", datastore.host_path(source), datastore.host_path(target), timeout_seconds=FILE_SECONDS
        ).checked()

    def remove(self, datastore: Datastore, path: str) -> None:
        """Remove a file, or a folder with what is in it; nothing where there is none."""
        self.session.run("rm", "-rf", datastore.host_path(path), timeout_seconds=FILE_SECONDS).checked()


Files = t.Union[ApiFiles, ShellFiles]


def files_of(session: Session) -> Files:
    return ApiFiles(session) if isinstance(session, ApiSession) else ShellFiles(session)


def _entries(text: str) -> t.Dict[str, Entry]:
    """From lines such as ``1024 1700000000 regular file|./maas.vmx``."""
    found = {}
    for line in text.splitlines():
        facts, _bar, name = line.partition("|./")
        size, modified, kind = [*facts.split(" ", 2), "", "", ""][:3]
        if name and size.isdigit() and modified.isdigit():
            found[name] = Entry(int(size), float(modified), kind == "directory")
    return found
