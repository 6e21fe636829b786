# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module registry_artifact as Ansible runs it: change, no change, check mode, diff, error."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.registry import clean
from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient
from ansible_collections.edge.rack.plugins.modules import registry_artifact, registry_image_info

from tests.unit.registry.conftest import RunModule
from tests.unit.registry.distribution import Rack, digest_of

BUNDLE = b"weights of a model"
MEGABYTE = 1 << 20


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.tar"
    path.write_bytes(BUNDLE)
    return path


def test_a_file_is_published_once_and_fetched_by_its_own_digest(
    rack: Rack, run_module: RunModule, bundle: Path
) -> None:
    options = {"registry_url": rack.url, "repository": "edge/model", "path": str(bundle)}
    checked = run_module(registry_artifact, check=True, **options)
    assert rack.images() == set(), "check mode sends nothing"
    done = run_module(registry_artifact, **options)
    blobs = rack.storage.blobs()
    again = run_module(registry_artifact, **options)

    assert (checked["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert (checked["artifact"], checked["diff"]) == (done["artifact"], done["diff"])
    assert done["diff"]["before"]["digest"] is None
    assert again["diff"] == {"before": {}, "after": {}}
    assert rack.storage.blobs() == blobs
    assert done["file"] == {"digest": digest_of(BUNDLE), "size_bytes": len(BUNDLE)}
    with rack.client() as client:
        assert client.tags("edge/model") == [hashlib.sha256(BUNDLE).hexdigest()]
        assert client.blob("edge/model", digest_of(BUNDLE)) == BUNDLE


def test_its_manifest_is_an_artifact_without_a_time_in_it(rack: Rack, run_module: RunModule, bundle: Path) -> None:
    options = {"registry_url": rack.url, "path": str(bundle), "annotations": {"edge.task": "digits"}}
    first = run_module(registry_artifact, repository="edge/model", tag="first", **options)["artifact"]
    os.utime(bundle, (0, 0))
    other = bundle.rename(bundle.with_name("another name"))
    options["path"] = str(other)
    second = run_module(registry_artifact, repository="site/model", tag="second", **options)["artifact"]

    assert first["digest"] == second["digest"]
    with rack.client() as client:
        manifest = client.manifest("edge/model", "first")
    assert manifest is not None
    assert manifest.data["artifactType"] == "application/vnd.edge.model.v1"
    assert manifest.data["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    (layer,) = manifest.layers
    assert (layer.media_type, layer.digest) == ("application/vnd.edge.model.v1.tar", digest_of(BUNDLE))
    assert manifest.annotations == {"edge.task": "digits"}


def test_another_file_moves_a_tag(rack: Rack, run_module: RunModule, bundle: Path) -> None:
    options = {"registry_url": rack.url, "repository": "edge/model", "tag": "stable", "path": str(bundle)}
    before = run_module(registry_artifact, **options)["artifact"]["digest"]
    bundle.write_bytes(b"better weights")
    moved = run_module(registry_artifact, **options)
    assert (moved["diff"]["before"]["digest"], moved["diff"]["after"]["digest"]) == (
        before,
        moved["artifact"]["digest"],
    )
    assert moved["changed"] and before != moved["artifact"]["digest"]


def test_what_is_published_is_listed_among_the_images(rack: Rack, run_module: RunModule, bundle: Path) -> None:
    run_module(registry_artifact, registry_url=rack.url, repository="edge/model", path=str(bundle))
    wanted = [hashlib.sha256(BUNDLE).hexdigest(), 64 * "0"]
    found = run_module(registry_image_info, registry_url=rack.url, repository="edge/model", references=wanted)
    assert [image["tags"] for image in found["images"]] == [wanted[:1]]
    assert found["images"][0]["size_bytes"] == len(BUNDLE) + len(b"{}")
    assert found["missing"] == [f"edge/model:{64 * '0'}"]


def test_a_large_file_is_not_read_into_memory(rack: Rack, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(48 * MEGABYTE)
    with rack.client() as client, path.open("rb") as file:
        tracemalloc.start()
        try:
            digest = client.put_blob("edge/model", file)
            _now, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert client.blob_size("edge/model", digest) == 48 * MEGABYTE
    assert most < 8 * MEGABYTE


def test_a_file_that_is_not_there_is_named(rack: Rack, run_module: RunModule, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "nowhere.tar", "No such file"), (tmp_path, "Is a directory")):
        failed = run_module(registry_artifact, registry_url=rack.url, repository="edge/model", path=str(path))
        assert failed["failed"]
        assert f"Publishing {path}: `path` cannot be read ({why}" in failed["msg"]


def test_a_registry_that_takes_no_push_says_so(rack: Rack, run_module: RunModule, bundle: Path) -> None:
    options = {"repository": "edge/model", "path": str(bundle), "registry_retry_seconds": 0}
    failed = run_module(registry_artifact, registry_url="http://127.0.0.1:1", **options)
    assert failed["failed"]
    assert "127.0.0.1:1 cannot be reached" in failed["msg"]
    failed = run_module(registry_artifact, registry_url=rack.url, **{**options, "repository": "Edge/Model"})
    assert failed["failed"]
    assert "Edge/Model" in failed["msg"]


def test_a_file_whose_blobs_a_clean_up_took_while_its_manifest_waited_is_sent_again(
    rack: Rack, run_module: RunModule, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RegistryClient.put_manifest
    waited: list[str] = []

    def collected_meanwhile(client: RegistryClient, *arguments: Any) -> str:
        if not waited:
            waited.append(arguments[1])
            collect = [rack.program, "garbage-collect", str(rack.folder / "config.yml")]
            subprocess.run(collect, check=True, capture_output=True, timeout=60)
            assert rack.storage.blobs() == {}
            rack.restart()
            client.close()  # the front, which does not restart, is not here
        return put(client, *arguments)

    monkeypatch.setattr(RegistryClient, "put_manifest", collected_meanwhile)
    options = {"registry_url": rack.url, "repository": "edge/model", "path": str(bundle)}
    done = run_module(registry_artifact, **options)

    assert waited and not done.get("failed"), done["msg"]
    assert rack.whole("edge/model", done["artifact"]["digest"])


def test_the_clean_up_keeps_the_released_model_and_the_one_before_and_an_old_one_goes(
    rack: Rack, run_module: RunModule, tmp_path: Path
) -> None:
    published = []
    for number in (1, 2, 3):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(b"model %d" % number)
        options = {"registry_url": rack.url, "repository": "edge/model", "path": str(path)}
        published.append(run_module(registry_artifact, **options)["artifact"])
        rack.release(f"2026.{number}", f"2026-01-0{number}T00:00:00Z", model=published[-1]["digest"])

    clean.clean(rack.settings(keep_releases=2))

    with rack.client() as client:
        assert client.tags("edge/model") == sorted(one["tag"] for one in published[1:])
        sizes = [client.blob_size("edge/model", f"sha256:{one['tag']}") for one in published]
    assert sizes == [None, len(b"model 2"), len(b"model 3")]
    assert all(rack.whole("edge/model", one["digest"]) for one in published[1:])
