# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import struct
import tarfile
from pathlib import Path

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiSettingsError
from ansible_collections.edge.rack.plugins.module_utils.esxi.image import open_image, verify
from ansible_collections.edge.rack.tests.unit.plugins import esxi_images as images


@pytest.mark.parametrize("kind", ["vmdk", "ovf", "ova"])
def test_the_disk_is_found_in_each_kind_of_file(tmp_path: Path, kind: str) -> None:
    image = open_image(str(getattr(images, kind)(tmp_path, b"x", 64)))
    assert (image.name, image.capacity_bytes) == ("disk.vmdk", 64 * 2**20)
    assert b"".join(image.chunks()) == images.stream_optimized(b"x", 64)


def test_a_manifest_is_compared(tmp_path: Path) -> None:
    assert verify(str(images.ova(tmp_path))) == 2
    assert verify(str(images.vmdk(tmp_path))) == 0
    path = images.ovf(tmp_path)
    assert verify(str(path)) == 0
    path.with_suffix(".mf").write_text("SHA1(disk.vmdk) = 00\n")
    with pytest.raises(EsxiSettingsError, match=r"the SHA1 of disk.vmdk is not the manifest's. Fetch it again"):
        verify(str(path))
    path.with_suffix(".mf").write_text("SHA256(none.vmdk)= 00\n")
    with pytest.raises(EsxiSettingsError, match="names a file that cannot be read"):
        verify(str(path))


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EsxiSettingsError, match=r"SHA256 of disk.vmdk"):
        verify(str(images.ova(tmp_path, broken=True)))
    path = tmp_path / "x.ova"
    path.write_bytes(b"not a tar")
    with pytest.raises(EsxiSettingsError, match="It must be an OVA, OVF or VMDK"):
        open_image(str(path))
    with tarfile.open(path, "w"):
        pass
    with pytest.raises(EsxiSettingsError, match=r"no \.ovf in it"):
        open_image(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no streamOptimized VMDK"),
        (b"QFI\xfb" + b"\0" * 600, "no streamOptimized VMDK"),
        (struct.pack("<4sIIQ", b"KDMV", 1, 3, 2048) + b"\0" * 600, "no streamOptimized VMDK"),
        (struct.pack("<4sIIQ", b"KDMV", 1, 3 | 3 << 16, 2048) + b"\0" * 600, "of version 1"),
    ],
)
def test_another_format_is_refused_with_the_way_to_convert_it(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.vmdk"
    path.write_bytes(content)
    with pytest.raises(EsxiSettingsError, match=said) as error:
        open_image(str(path))
    assert "qemu-img convert" in str(error.value)


def test_an_image_that_shrinks_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = images.vmdk(tmp_path)
    image = open_image(str(path))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EsxiSettingsError, match="ends in the middle"):
        list(image.chunks())
