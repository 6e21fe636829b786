# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_boot_resource
from ansible_collections.edge.rack.tests.unit.plugins.fake_region import Answer, FakeRegion


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(maas_boot_resource, "CHUNK_BYTES", 400)
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
    region.canned["POST", "boot-resources/"] = [Answer(400, {"base_image": ["Not a known image."]})]
    failed = run_module(maas_boot_resource, name="edge-1", path=str(image), base_image="nope")
    assert "400: base_image: Not a known image" in failed["msg"]
    missing = run_module(maas_boot_resource, name="edge-1", path="/nonexistent.tgz")
    assert "/nonexistent.tgz: No such file or directory. Check `path`" in missing["msg"]
