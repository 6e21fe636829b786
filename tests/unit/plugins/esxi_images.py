# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk images as clouds give them out, of a few bytes."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from pathlib import Path

SECTOR = 512
OVERHEAD, GRAIN = 128, 128
DESCRIPTOR = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:id="file1" ovf:href="{disk}"/></References>
  <DiskSection><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="1"/></DiskSection>
</Envelope>
"""


def stream_optimized(content: bytes, mib: int) -> bytes:
    """A VMDK with its content at the start (VMware, Virtual Disk Format 5.0)."""
    capacity = mib * 2048

    def header(directory: int) -> bytes:
        flags = 1 | 1 << 16 | 1 << 17
        fields = (b"KDMV", 3, flags, capacity, GRAIN, 1, 1, 512, 0, directory, OVERHEAD, 0, b"\n \r\n", 1)
        return struct.pack("<4sIIQQQQIQQQB4sH", *fields).ljust(SECTOR, b"\0")

    def padded(part: bytes) -> bytes:
        return part + b"\0" * (-len(part) % SECTOR)

    def marker(sectors: int, kind: int) -> bytes:
        return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")

    grain = zlib.compress(content.ljust(GRAIN * SECTOR, b"\0"))
    out = padded(header(2**64 - 1) + b"# Disk DescriptorFile\n").ljust(OVERHEAD * SECTOR, b"\0")
    place = len(out) // SECTOR
    out += padded(struct.pack("<QI", 0, len(grain)) + grain)
    out += marker(4, 1)
    table = len(out) // SECTOR
    out += struct.pack("<I", place).ljust(4 * SECTOR, b"\0")
    out += marker(1, 2)
    directory = len(out) // SECTOR
    out += struct.pack("<I", table).ljust(SECTOR, b"\0")
    return out + marker(1, 3) + header(directory) + marker(0, 0)


def vmdk(folder: Path, content: bytes = b"debian\n", mib: int = 64) -> Path:
    path = folder / "disk.vmdk"
    path.write_bytes(stream_optimized(content, mib))
    return path


def ova(folder: Path, content: bytes = b"debian\n", mib: int = 64, *, broken: bool = False) -> Path:
    """With a manifest, which tells of another disk where it shall be broken."""
    disk = stream_optimized(content, mib)
    descriptor = DESCRIPTOR.format(disk="disk.vmdk").encode()
    sums = {"image.ovf": descriptor, "disk.vmdk": disk + (b"x" if broken else b"")}
    manifest = "".join(f"SHA256({name})= {hashlib.sha256(data).hexdigest()}\n" for name, data in sums.items())
    path = folder / "image.ova"
    with tarfile.open(path, "w") as archive:
        for name, data in (("image.ovf", descriptor), ("image.mf", manifest.encode()), ("disk.vmdk", disk)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def ovf(folder: Path, content: bytes = b"debian\n", mib: int = 64) -> Path:
    vmdk(folder, content, mib)
    path = folder / "image.ovf"
    path.write_text(DESCRIPTOR.format(disk="disk.vmdk"))
    return path
