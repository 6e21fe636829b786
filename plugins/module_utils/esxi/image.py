# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk image on the controller: the VMDK in an OVA, beside an OVF, or by itself, to create a machine from."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import tarfile
import typing as t
from dataclasses import dataclass
from xml.etree import ElementTree

from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiSettingsError

CHUNK_BYTES = 1 << 20
SECTOR_BYTES = 512

# Virtual Disk Format 5.0, "SparseExtentHeader": magic, version, flags, capacity in sectors.
_HEADER = struct.Struct("<4sIIQ")
_MAGIC = b"KDMV"
_COMPRESSED_GRAINS, _MARKERS = 1 << 16, 1 << 17
_OLDEST_VERSION = 3
"""ESXi takes no streams of version 1, which QEMU before 2.5.1 wrote (github.com/glennmatthews/cot/issues/65)."""

_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
# `SHA256(disk.vmdk)= 5f2b...`
_MANIFEST_LINE = re.compile(r"^(SHA1|SHA256|SHA512)\s?\((.+)\)\s*=\s*([0-9a-fA-F]+)\s*$", re.MULTILINE)

CONVERT = "Convert it: `qemu-img convert -O vmdk -o subformat=streamOptimized IN OUT.vmdk`."


@dataclass(frozen=True)
class Image:
    """A streamOptimized VMDK: where its bytes lie, and the size of the disk in it."""

    path: str
    name: str
    offset: int
    length: int
    capacity_bytes: int

    def chunks(self) -> t.Iterator[bytes]:
        with open(self.path, "rb") as handle:
            handle.seek(self.offset)
            left = self.length
            while left > 0:
                chunk = handle.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise _refusal(self.path, "it ends in the middle of %s" % self.name, "Fetch it again.")
                left -= len(chunk)
                yield chunk


def open_image(path: str) -> Image:
    """Find the first disk in a file and read its header.

    Raises EsxiSettingsError, which says what to do.
    """
    try:
        if path.lower().endswith(".ova") or (not path.lower().endswith((".ovf", ".vmdk")) and tarfile.is_tarfile(path)):
            return _in_ova(path)
        if path.lower().endswith(".ovf"):
            with open(path, "rb") as handle:
                name = _first_disk(path, handle.read())
            disk = os.path.join(os.path.dirname(path), name)
            return _vmdk(disk, name, 0, os.path.getsize(disk))
        return _vmdk(path, os.path.basename(path), 0, os.path.getsize(path))
    except (OSError, tarfile.TarError) as error:
        raise _refusal(path, str(error), "It must be an OVA, OVF or VMDK file on the controller.") from error


def verify(path: str) -> int:
    """Compare the files with the manifest (.mf) of an OVA or OVF; returns how many were compared, 0 without one.

    Raises EsxiSettingsError.
    """
    try:
        if path.lower().endswith((".ovf", ".vmdk")):
            manifest = os.path.splitext(path)[0] + ".mf"
            if path.lower().endswith(".vmdk") or not os.path.isfile(manifest):
                return 0
            with open(manifest, encoding="utf-8") as handle:
                sums = _MANIFEST_LINE.findall(handle.read())
            folder = os.path.dirname(path)
            return _compare(path, sums, lambda name: _file_chunks(open(os.path.join(folder, name), "rb")))
        with tarfile.open(path) as ova:
            members = {member.name: member for member in ova.getmembers()}
            manifest = next((name for name in members if name.lower().endswith(".mf")), "")
            if not manifest:
                return 0
            sums = _MANIFEST_LINE.findall(_member(ova, members[manifest]).read().decode("utf-8", "replace"))
            return _compare(path, sums, lambda name: _file_chunks(_member(ova, members[name])))
    except (OSError, tarfile.TarError, KeyError) as error:
        raise _refusal(path, "its manifest names a file that cannot be read (%s)" % error, "Fetch it again.") from error


def _compare(path: str, sums: t.List[t.Tuple[str, str, str]], chunks_of: t.Callable[[str], t.Iterator[bytes]]) -> int:
    for algorithm, name, wanted in sums:
        digest = hashlib.new(algorithm.lower())
        for chunk in chunks_of(name):
            digest.update(chunk)
        if digest.hexdigest() != wanted.lower():
            raise _refusal(path, "the %s of %s is not the manifest's" % (algorithm, name), "Fetch it again.")
    return len(sums)


def _file_chunks(handle: t.IO[bytes]) -> t.Iterator[bytes]:
    with handle:
        yield from iter(lambda: handle.read(CHUNK_BYTES), b"")


def _in_ova(path: str) -> Image:
    with tarfile.open(path) as ova:
        members = {member.name: member for member in ova.getmembers()}
        descriptor = next((m for name, m in members.items() if name.lower().endswith(".ovf")), None)
        if descriptor is None:
            raise _refusal(path, "there is no .ovf in it", "It must be an OVA.")
        name = _first_disk(path, _member(ova, descriptor).read())
        if name not in members:
            raise _refusal(path, "its disk %s is not in it" % name, "Fetch it again.")
        return _vmdk(path, name, members[name].offset_data, members[name].size)


def _member(ova: tarfile.TarFile, member: tarfile.TarInfo) -> t.IO[bytes]:
    handle = ova.extractfile(member)
    if handle is None:
        raise tarfile.TarError("%s is no file" % member.name)
    return handle


def _first_disk(path: str, descriptor: bytes) -> str:
    """The file of the first disk which an OVF descriptor declares."""
    try:
        # The file is one that the user trusts enough to boot from.
        envelope = ElementTree.fromstring(descriptor)  # noqa: S314
    except ElementTree.ParseError as error:
        raise _refusal(path, "its descriptor is no XML (%s)" % error, "Fetch it again.") from error
    files = {node.get(_OVF + "id"): node for node in envelope.iter(_OVF + "File")}
    for disk in envelope.iter(_OVF + "Disk"):
        file = files.get(disk.get(_OVF + "fileRef"))
        if file is None:
            continue
        if file.get(_OVF + "compression") or file.get(_OVF + "chunkSize"):
            raise _refusal(path, "its disk is compressed or split once more", CONVERT)
        return file.get(_OVF + "href") or ""
    raise _refusal(path, "its descriptor names no disk with content", "Give an OVA or OVF with a disk in it.")


def _vmdk(path: str, name: str, offset: int, length: int) -> Image:
    with open(path, "rb") as handle:
        handle.seek(offset)
        start = handle.read(_HEADER.size)
    magic, version, flags, sectors = b"", 0, 0, 0
    if len(start) == _HEADER.size:
        magic, version, flags, sectors = _HEADER.unpack(start)
    if magic != _MAGIC or not (flags & _COMPRESSED_GRAINS and flags & _MARKERS):
        raise _refusal(path, "%s is no streamOptimized VMDK" % name, CONVERT)
    if version < _OLDEST_VERSION:
        raise _refusal(path, "%s is of version %d, which ESXi takes no more" % (name, version), CONVERT)
    return Image(path, name, offset, length, sectors * SECTOR_BYTES)


def _refusal(path: str, answer: str, remedy: str) -> EsxiSettingsError:
    return EsxiSettingsError("Reading `source` %s" % path, answer, remedy=remedy)
