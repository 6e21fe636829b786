# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils import maas_images
from ansible_collections.edge.rack.plugins.modules import maas_boot_resource
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import Answer, FakeRegion


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(maas_images, "CHUNK_BYTES", 400)
    path = tmp_path / "edge.tgz"
    path.write_bytes(bytes(range(250)) * 4)
    return path


def test_an_image_is_uploaded_once(region: FakeRegion, run_module: Any, image: Path) -> None:
    wanted = {"name": "custom/edge-1", "path": str(image), "title": "Edge", "base_image": "ubuntu/noble"}

    predicted = run_module(maas_boot_resource, check=True, **wanted)
    assert predicted["changed"]
    assert region.writes == []

    done = run_module(maas_boot_resource, **wanted)
    assert done["diff"] == predicted["diff"]
    assert done["uploaded_bytes"] == 1000
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    assert done["boot_resource"] == {
        "id": 2,
        "name": "custom/edge-1",
        "architecture": "amd64/generic",
        "title": "Edge",
        "base_image": "ubuntu/noble",
        "sha256": sha256,
        "size": 1000,
        "complete": True,
    }
    assert [len(w.raw) for w in region.writes[1:]] == [400, 400, 200]
    assert region.images[-1]["content"] == image.read_bytes()

    writes = len(region.writes)
    assert not run_module(maas_boot_resource, **dict(wanted, name="edge-1"))["changed"]
    assert len(region.writes) == writes

    image.write_bytes(b"new content")
    assert run_module(maas_boot_resource, **wanted)["uploaded_bytes"] == 11


def test_content_that_maas_has_is_not_sent(region: FakeRegion, run_module: Any, image: Path) -> None:
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    file = {"sha256": sha256, "size": 1000, "complete": True}
    resource = {
        "id": 3,
        "type": "Uploaded",
        "name": "edge-2",
        "architecture": "amd64/generic",
        "sets": {"20261123": {"files": {"root.tgz": file}}},
    }
    region.canned["POST", "boot-resources/"] = [Answer(201, resource)]
    done = run_module(maas_boot_resource, name="edge-2", path=str(image))
    assert (done["changed"], done["uploaded_bytes"]) == (True, 0)


def test_a_refusal_says_why(region: FakeRegion, run_module: Any, image: Path) -> None:
    region.canned["POST", "boot-resources/"] = [Answer(400, {"name": ["edge/1 is a reserved name"]})]
    failed = run_module(maas_boot_resource, name="edge/1", path=str(image))
    assert "400: name: edge/1 is a reserved name" in failed["msg"]
    missing = run_module(maas_boot_resource, name="edge-1", path="/nonexistent.tgz")
    assert "/nonexistent.tgz: No such file or directory. Check `path`" in missing["msg"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"base_image": "noble"}, "`base_image` is noble: give it as OSYSTEM/SERIES"),
        ({"base_image": "debian/12"}, "`base_image` is debian/12, and MAAS has no such image"),
        ({"name": "edge", "keep_latest": 2}, "`keep_latest` needs a name that ends in a version"),
        ({"keep_latest": 0}, "`keep_latest` is 0"),
        ({"path": None}, "state is present but all of the following are missing: path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    region: FakeRegion, run_module: Any, image: Path, options: dict[str, Any], expected: str
) -> None:
    wanted = {"name": "edge-1.0", "path": str(image), **options}
    failed = run_module(maas_boot_resource, **{k: v for k, v in wanted.items() if v is not None})
    assert failed["failed"]
    assert expected in failed["msg"]
    assert region.writes == []


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("edge-nuc-1.4.0", "edge-nuc"),
        ("edge-nuc-v2", "edge-nuc"),
        ("edge-nuc-20261123-2", "edge-nuc"),
        ("edge-nuc-5e9dba2", "edge-nuc"),
        ("edge-nuc", None),
        ("edge-nuc-beta", None),
        ("1.4.0", None),
    ],
)
def test_images_of_one_family_differ_by_their_version(name: str, family: str | None) -> None:
    assert maas_images.family_of(name) == family
