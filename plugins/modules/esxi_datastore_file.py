#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_datastore_file
short_description: Upload and remove files of an ESXi host's datastores
version_added: "0.1.0"
description:
  - Makes a datastore have a file, such as an ISO image or a disk, with the content of a file beside the module.
  - The content is compared by its SHA-256. By SSH the host computes it. By the API the host cannot, so the module
    writes a small file C(.NAME.edge-rack-sha256) beside what it uploads, and a file of the right size is taken as right
    only if that one agrees and is not older than it. In every other case the file is uploaded again.
  - A file is sent under a name of its own, C(NAME.*.partial), and gets its name when all of it is there and right.
  - An upload that broke off goes on where it was, by SSH, if what arrived is right; by the API it begins anew.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.esxi
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_esxi
options:
  state:
    description: V(present) has the content of O(src); V(absent) is no file of this name, nor half of one.
    type: str
    choices: [present, absent]
    default: present
  src:
    description: The file to upload, on the machine where the module runs. Required with O(state=present).
    type: path
  datastore:
    description: The name of the datastore.
    type: str
    required: true
  path:
    description: Where the file is on the datastore, such as V(iso/debian-12.iso). Missing folders are made.
    type: str
    required: true
  timeout_seconds:
    description: How long an upload may take in all, and how long the host may compute a checksum.
    type: int
    default: 7200
  progress_file:
    description:
      - A file on the machine where the module runs, to which it adds a line every few seconds.
      - If not set, each line is shown while the task runs.
    type: path
seealso:
  - module: edge.rack.esxi_vm
  - module: edge.rack.esxi_host_info
"""

EXAMPLES = r"""
- name: The installer's image is on the host
  edge.rack.esxi_datastore_file:
    hostname: esxi.example.com
    username: root
    password: "{{ esxi_password }}"
    src: /var/lib/edge/images/debian-12.iso
    datastore: datastore1
    path: iso/debian-12.iso

- name: The old image is gone
  edge.rack.esxi_datastore_file:
    datastore: datastore1
    path: iso/debian-11.iso
    state: absent
"""

RETURN = r"""
file:
  description: The file as it is now, or would be in check mode.
  type: dict
  returned: if O(state=present)
  contains:
    datastore:
      description: The datastore.
      type: str
      sample: datastore1
    path:
      description: Where it is there.
      type: str
      sample: iso/debian-12.iso
    datastore_path:
      description: The same as virtual machines name it.
      type: str
      sample: "[datastore1] iso/debian-12.iso"
    size:
      description: Size in bytes.
      type: int
    sha256:
      description: SHA-256 of the content.
      type: str
uploaded_bytes:
  description: How much was sent.
  type: int
  returned: always
resumed_at:
  description: How much of it was there already, from an upload that broke off.
  type: int
  returned: always
transport:
  description: By which way the host was changed, V(api) or V(ssh).
  type: str
  returned: always
transport_reason:
  description: Why that way.
  type: str
  returned: always
"""

import hashlib
import os
import posixpath
import re
import typing as t
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
    Session,
    connection_argument_spec,
    run_with_session,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    Datastore,
    clean_path,
    datastore_named,
    gib,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiNoSpace,
    EsxiNotFound,
    EsxiSettingsError,
    EsxiUnreachable,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.files import (
    ApiFiles,
    Entry,
    Files,
    ShellFiles,
    files_of,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.progress import Progress

CHUNK_BYTES = 1 << 20
SUM = ".%s.edge-rack-sha256"
"""A file beside the uploaded one, where the host computes no checksum."""


@dataclass(frozen=True)
class Source:
    """The file on the controller."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str) -> Source:
        try:
            return cls(path, os.path.getsize(path), sha256_of(path))
        except OSError as error:
            raise EsxiSettingsError(
                "Reading %s" % path, error.strerror or str(error), remedy="Correct `src`: a file beside the module."
            ) from error

    def chunks(self, start: int = 0) -> t.Iterator[bytes]:
        """Never more than the size, for the host was told so."""
        left = self.size - start
        with open(self.path, "rb") as handle:
            handle.seek(start)
            while left > 0:
                chunk = handle.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise _changed_meanwhile(self.path)
                left -= len(chunk)
                yield chunk


def sha256_of(path: str, limit: t.Optional[int] = None) -> str:
    """Of a file's content, or of its first bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        left = os.path.getsize(path) if limit is None else limit
        while left > 0:
            chunk = handle.read(min(CHUNK_BYTES, left))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _changed_meanwhile(path: str) -> EsxiError:
    return EsxiError("Reading %s" % path, "it changed while it was sent", remedy="Run again when it is finished.")


class Target:
    """The file on the datastore, and what may lie beside it."""

    def __init__(self, files: Files, datastore: Datastore, path: str) -> None:
        self.files = files
        self.datastore = datastore
        self.path = path
        self.folder, self.name = posixpath.split(path)
        beside = files.list(datastore, self.folder)
        self.entry = beside.get(self.name)
        self.sum_name = SUM % self.name
        self.sum_entry = beside.get(self.sum_name)
        halves = re.compile(r"%s\.[0-9a-f]{12}\.partial" % re.escape(self.name))
        self.partials = {name: entry for name, entry in beside.items() if halves.fullmatch(name)}
        if self.entry is not None and self.entry.is_folder:
            raise EsxiWrongState(
                "Looking for %s" % self.shown, "it is a folder", remedy="Give the name of a file in `path`."
            )

    @property
    def shown(self) -> str:
        return self.datastore.datastore_path(self.path)

    def beside(self, name: str) -> str:
        return posixpath.join(self.folder, name)

    def partial_name(self, source: Source) -> str:
        """With the content in it, so that an upload is only ever continued with the same."""
        return "%s.%s.partial" % (self.name, source.sha256[:12])

    def sha256(self, size: int, timeout_seconds: float) -> t.Optional[str]:
        """Of the content, if its size is this one and it can be known."""
        if self.entry is None or self.entry.size != size:
            return None
        if isinstance(self.files, ShellFiles):
            return self.files.sha256(self.datastore, self.path, timeout_seconds)
        return self._sha256_beside(self.files, self.entry)

    def _sha256_beside(self, files: ApiFiles, entry: Entry) -> t.Optional[str]:
        # Somebody may have replaced the file since; then it is newer than its sum.
        if self.sum_entry is None or self.sum_entry.modified < entry.modified:
            return None
        try:
            text = files.read(self.datastore, self.beside(self.sum_name)).decode("ascii", "replace")
        except EsxiNotFound:
            return None
        found = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)\n?", text)
        return found.group(1) if found and found.group(2) == self.name else None

    def remove_partials(self, but: t.Optional[str] = None) -> None:
        for name in self.partials:
            if name != but:
                self.files.remove(self.datastore, self.beside(name))


# -- Uploading --------------------------------------------------------------------------------------


def resume_point(target: Target, source: Source, timeout_seconds: float) -> int:
    """How many of the first bytes are on the host already, in a partial file which is right so far."""
    name = target.partial_name(source)
    there = target.partials.get(name)
    if not isinstance(target.files, ShellFiles) or there is None or not 0 < there.size <= source.size:
        return 0
    right = sha256_of(source.path, there.size)
    return there.size if target.files.sha256(target.datastore, target.beside(name), timeout_seconds) == right else 0


def require_space(target: Target, source: Source, resumed_at: int) -> None:
    """The old file keeps its place until the new one is whole; what a partial file has is there already."""
    needed, free = source.size - resumed_at, target.files.free_bytes(target.datastore)
    freed = sum(entry.size for entry in target.partials.values()) - resumed_at
    if needed > free + freed:
        raise EsxiNoSpace(
            "Uploading %s to %s" % (source.path, target.shown),
            "it needs %s, and %s has %s free" % (gib(needed), target.datastore.name, gib(free)),
            fault="NoDiskSpace",
        )


def upload(target: Target, source: Source, resumed_at: int, progress: Progress, timeout_seconds: float) -> None:
    partial = target.beside(target.partial_name(source))
    target.remove_partials(but=target.partial_name(source) if resumed_at else None)
    target.files.make_folder(target.datastore, target.folder)
    chunks = progress.counted(source.chunks(resumed_at))
    try:
        if isinstance(target.files, ShellFiles):
            target.files.append(target.datastore, partial, chunks)
            arrived = target.files.sha256(target.datastore, partial, timeout_seconds)
        else:
            arrived = _put(target.files, target, source, partial, chunks)
    except EsxiUnreachable:
        raise
    except EsxiError:
        # Half a file that filled the datastore helps nobody.
        target.files.remove(target.datastore, partial)
        raise
    if arrived != source.sha256:
        target.files.remove(target.datastore, partial)
        raise EsxiError(
            "Uploading %s to %s" % (source.path, target.shown),
            "what arrived is not what %s held at the start" % source.path,
            remedy="It changed meanwhile, or somebody else uploads it, too: run again when that is over.",
        )
    if target.sum_entry is not None:
        target.files.remove(target.datastore, target.beside(target.sum_name))
    target.files.move(target.datastore, partial, target.path)
    if isinstance(target.files, ApiFiles):
        line = ("%s  %s\n" % (source.sha256, target.name)).encode()
        target.files.write(target.datastore, target.beside(target.sum_name), [line], len(line))


def _put(files: ApiFiles, target: Target, source: Source, partial: str, chunks: t.Iterable[bytes]) -> str:
    """Send the content; returns the sum of what was sent, for the host tells none, but its size."""
    digest = hashlib.sha256()

    def digested() -> t.Iterator[bytes]:
        for chunk in chunks:
            digest.update(chunk)
            yield chunk

    files.write(target.datastore, partial, digested(), source.size)
    there = files.list(target.datastore, target.folder).get(posixpath.basename(partial))
    return digest.hexdigest() if there is not None and there.size == source.size else ""


# -- The two states ---------------------------------------------------------------------------------


def present(module: AnsibleModule, target: Target) -> t.Dict[str, t.Any]:
    seconds = module.params["timeout_seconds"]
    source = Source.of(module.params["src"])
    sha256 = target.sha256(source.size, seconds)
    changed = sha256 != source.sha256
    result = {
        "changed": changed,
        "file": {
            "datastore": target.datastore.name,
            "path": target.path,
            "datastore_path": target.shown,
            "size": source.size,
            "sha256": source.sha256,
        },
        "uploaded_bytes": 0,
        "resumed_at": 0,
        "diff": {
            "before": _content(target.entry, sha256),
            "after": {"size": source.size, "sha256": source.sha256},
        },
    }  # type: t.Dict[str, t.Any]
    if changed:
        target.files.session.require_writes()
        resumed_at = resume_point(target, source, seconds)
        require_space(target, source, resumed_at)
        if not module.check_mode:
            progress = Progress(module.params["progress_file"], target.name, source.size, resumed_at)
            upload(target, source, resumed_at, progress, seconds)
            result.update(uploaded_bytes=source.size - resumed_at, resumed_at=resumed_at)
    return result


def absent(module: AnsibleModule, target: Target) -> t.Dict[str, t.Any]:
    there = [target.name] if target.entry is not None else []
    there += [target.sum_name] if target.sum_entry is not None else []
    there += sorted(target.partials)
    if there:
        target.files.session.require_writes()
    if not module.check_mode:
        for name in there:
            target.files.remove(target.datastore, target.beside(name))
    return {
        "changed": bool(there),
        "uploaded_bytes": 0,
        "resumed_at": 0,
        "diff": {"before": _content(target.entry, None), "after": {}},
    }


def _content(entry: t.Optional[Entry], sha256: t.Optional[str]) -> t.Dict[str, t.Any]:
    if entry is None:
        return {}
    return {"size": entry.size, "sha256": sha256 or "unknown"}


def work(module: AnsibleModule, session: Session) -> t.Dict[str, t.Any]:
    path = clean_path(module.params["path"])
    files = files_of(session)
    target = Target(files, datastore_named(files.datastores, module.params["datastore"]), path)
    return present(module, target) if module.params["state"] == "present" else absent(module, target)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "src": {"type": "path"},
            "datastore": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "timeout_seconds": {"type": "int", "default": 7200},
            "progress_file": {"type": "path"},
            **connection_argument_spec(),
        },
        required_if=[("state", "present", ["src"])],
        supports_check_mode=True,
    )
    run_with_session(module, work)


if __name__ == "__main__":
    main()
