# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads that break off and images that are deleted, against the simulated region."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from ansible_collections.edge.rack.plugins.module_utils import maas_images
from ansible_collections.edge.rack.plugins.modules import maas_boot_resource, maas_boot_resource_info, maas_machine
from maas_rack import Fault


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """1,000 bytes, sent in pieces of 400."""
    monkeypatch.setattr(maas_images, "CHUNK_BYTES", 400)
    monkeypatch.setattr(maas_images, "LOST_PIECE_PAUSES", (0.01, 0.01))
    path = tmp_path / "edge.tgz"
    path.write_bytes(bytes(range(250)) * 4)
    return path


def pieces(rack: Any) -> int:
    return sum(method == "PUT" for method, _path in rack.proxy.asked)


def served(rack: Any, image: Path) -> bytes:
    """What a machine that installs gets."""
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    return httpx.get(f"{rack.region.url}/images/{sha256}", trust_env=False).content


def test_an_upload_that_was_cut_off_is_gone_on_with(rack: Any, run_module: Any, image: Path) -> None:
    wanted = {"name": "edge-1.0", "path": str(image), "base_image": "ubuntu/noble"}
    rack.proxy.faults = [Fault("PUT", "upload/", 502, after=1, times=99)]
    cut = run_module(maas_boot_resource, **wanted)
    assert cut["failed"]
    assert "Run again: the upload goes on where it stopped" in cut["msg"]
    assert cut["uploaded_bytes"] == 400

    rack.proxy.faults = []
    rack.proxy.asked.clear()
    assert run_module(maas_boot_resource, check=True, **wanted)["changed"]
    assert pieces(rack) == 0
    done = run_module(maas_boot_resource, **wanted)
    assert (done["resumed_at_bytes"], done["uploaded_bytes"], pieces(rack)) == (400, 600, 2)
    assert done["boot_resource"]["complete"]
    assert served(rack, image) == image.read_bytes()
    assert not run_module(maas_boot_resource, **wanted)["changed"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "upload/", 0, after=1),  # the piece arrives, its answer does not
        Fault("PUT", "upload/", 502, after=1),  # the piece does not arrive
        Fault("PUT", "upload/", 503, {"Retry-After": "0"}, after=2),
        Fault("PUT", "upload/", 429, {"Retry-After": "0"}, times=2),
        Fault("PUT", "upload/", 409, {"Retry-After": "0", "Content-Type": "text/html"}, b"<h1>Conflict</h1>"),
    ],
)
def test_a_lost_piece_is_sent_again_only_where_it_did_not_arrive(
    rack: Any, run_module: Any, image: Path, fault: Fault
) -> None:
    rack.proxy.faults = [fault]
    done = run_module(maas_boot_resource, name="edge-1.0", path=str(image))
    assert fault.times == 0
    assert not done.get("failed"), done
    assert done["uploaded_bytes"] == 1000
    assert served(rack, image) == image.read_bytes()


def test_where_something_else_lies_the_upload_begins_anew(rack: Any, run_module: Any, image: Path) -> None:
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    data = {"name": "edge-1.0", "architecture": "amd64/generic", "sha256": sha256, "size": "1000"}
    created = rack.region.call("POST", "boot-resources/", data=data).json()
    file = next(iter(next(iter(created["sets"].values()))["files"].values()))
    rack.region.call("PUT", file["upload_uri"].removeprefix("/MAAS/api/2.0/"), content=b"x" * 400)
    done = run_module(maas_boot_resource, name="edge-1.0", path=str(image))
    assert not done.get("failed"), done
    assert done["resumed_at_bytes"] == 0
    assert served(rack, image) == image.read_bytes()


def test_title_and_base_image_are_changed_without_sending_the_content(rack: Any, run_module: Any, image: Path) -> None:
    wanted = {"name": "edge-1.0", "path": str(image), "title": "Edge 1.0", "base_image": "ubuntu/noble"}
    run_module(maas_boot_resource, **wanted)
    rack.proxy.asked.clear()
    other = dict(wanted, base_image="ubuntu/jammy")
    assert run_module(maas_boot_resource, check=True, **other)["changed"]
    done = run_module(maas_boot_resource, **other)
    assert (done["diff"]["before"], done["diff"]["after"]) == (
        {"base_image": "ubuntu/noble"},
        {"base_image": "ubuntu/jammy"},
    )
    assert (done["uploaded_bytes"], pieces(rack)) == (0, 0)
    assert (done["boot_resource"]["title"], done["boot_resource"]["base_image"]) == ("Edge 1.0", "ubuntu/jammy")
    assert not run_module(maas_boot_resource, **other)["changed"]
    # What is not given stays as it is.
    assert not run_module(maas_boot_resource, name="edge-1.0", path=str(image))["changed"]


def test_an_image_that_a_machine_runs_is_not_deleted(rack: Any, devices: Any, run_module: Any, image: Path) -> None:
    run_module(maas_boot_resource, name="edge-1.0", path=str(image))
    rack.add("nuc-1")
    run_module(maas_machine, state="deployed", hostname="nuc-1", image="custom/edge-1.0")
    used = run_module(maas_boot_resource, name="custom/edge-1.0", state="absent")
    assert "The image custom/edge-1.0 is in use: nuc-1" in used["msg"]
    run_module(maas_machine, state="released", hostname="nuc-1")

    predicted = run_module(maas_boot_resource, check=True, name="custom/edge-1.0", state="absent")
    assert (predicted["changed"], predicted["deleted"]) == (True, ["custom/edge-1.0"])
    done = run_module(maas_boot_resource, name="custom/edge-1.0", state="absent")
    assert done["diff"] == predicted["diff"]
    assert rack.region.call("GET", "boot-resources/?type=uploaded").json() == []
    assert not run_module(maas_boot_resource, name="custom/edge-1.0", state="absent")["changed"]


def test_of_old_images_the_latest_and_those_in_use_are_kept(
    rack: Any, devices: Any, run_module: Any, image: Path, tmp_path: Path
) -> None:
    for version in ("1.9", "1.10", "1.11", "1.12"):
        path = tmp_path / version
        path.write_bytes(version.encode() * 50)
        run_module(maas_boot_resource, name="edge-nuc-" + version, path=str(path))
    for other in ("edge-nuc", "edge-nuc-beta", "edge-server-1.0"):
        run_module(maas_boot_resource, name=other, path=str(image))
    rack.add("nuc-1")
    run_module(maas_machine, state="deployed", hostname="nuc-1", image="custom/edge-nuc-1.9")

    wanted = {"name": "edge-nuc-2.0", "path": str(image), "keep_latest": 2}
    predicted = run_module(maas_boot_resource, check=True, **wanted)
    done = run_module(maas_boot_resource, **wanted)
    assert predicted["deleted"] == done["deleted"] == ["custom/edge-nuc-1.11", "custom/edge-nuc-1.10"]
    assert done["kept_in_use"] == {"custom/edge-nuc-1.9": ["nuc-1"]}
    left = {row["name"] for row in rack.region.call("GET", "boot-resources/?type=uploaded").json()}
    assert left == {"edge-nuc-2.0", "edge-nuc-1.12", "edge-nuc-1.9", "edge-nuc", "edge-nuc-beta", "edge-server-1.0"}
    again = run_module(maas_boot_resource, **wanted)
    assert (again["changed"], again["deleted"]) == (False, [])


def test_images_that_maas_still_fetches_are_waited_for(rack: Any, run_module: Any, rounds: Any) -> None:
    everything = run_module(maas_boot_resource_info)
    assert [(row["name"], row["type"]) for row in everything["boot_resources"]] == [
        ("ubuntu/jammy", "Synced"),
        ("ubuntu/noble", "Synced"),
    ]
    json = {"Content-Type": "application/json"}
    # Not listed yet, then listed and not whole yet.
    half = b'{"id": 2, "name": "ubuntu/noble", "sets": {"20261101": {"complete": false}}}'
    rack.proxy.faults = [
        Fault("GET", "boot-resources/2/", 200, json, half),
        Fault("GET", "boot-resources/", 200, json, b"[]", times=2),
    ]
    done = run_module(maas_boot_resource_info, names=["ubuntu/noble"], wait_seconds=60)
    assert (done["missing"], [row["name"] for row in done["boot_resources"]]) == ([], ["ubuntu/noble"])
    assert rounds.count == 4
    for options in ({"names": ["ubuntu/plucky"]}, {"names": ["ubuntu/noble"], "architecture": "arm64"}):
        assert run_module(maas_boot_resource_info, wait_seconds=0, **options)["missing"] == options["names"]


def test_an_uploaded_image_goes_by_its_full_name(rack: Any, run_module: Any, image: Path) -> None:
    run_module(maas_boot_resource, name="custom/edge-1.0", path=str(image), base_image="ubuntu/noble")
    found = run_module(maas_boot_resource_info, names=["custom/edge-1.0"])
    assert (found["missing"], found["boot_resources"][0]["type"]) == ([], "Uploaded")
