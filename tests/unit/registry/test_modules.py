# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's modules as Ansible runs them: change, no change, check mode, diff, error."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.registry import clean
from ansible_collections.edge.rack.plugins.modules import registry_image_info, registry_prune, registry_tag

from tests.unit.registry.conftest import RunModule
from tests.unit.registry.distribution import Rack, digest_of
from tests.unit.registry.front import Request, serving


@pytest.fixture
def cycle(rack: Rack, run_module: RunModule) -> RunModule:
    """Check, change, and no change again: the result of the change, whose diff the check foretold."""

    def run(**options: Any) -> dict[str, Any]:
        options = {"registry_url": rack.url, **options}
        checked = run_module(registry_tag, check=True, **options)
        done = run_module(registry_tag, **options)
        assert not done.get("failed"), done.get("msg")
        assert (checked["changed"], done["changed"]) == (True, True)
        assert (checked["diff"], checked["image"]) == (done["diff"], done["image"])
        again = run_module(registry_tag, **options)
        assert not again["changed"]
        assert again["diff"] == {"before": {}, "after": {}}
        return done

    return run


def test_a_tag_comes_moves_and_goes_and_its_image_stays(rack: Rack, cycle: RunModule) -> None:
    one, two = rack.push("edge/worker", "1", [b"one"]), rack.push("edge/worker", "2", [b"two"])

    made = cycle(repository="edge/worker", tag="stable", source=one)
    assert made["diff"]["before"]["digest"] is None
    assert made["image"] == {"repository": "edge/worker", "tag": "stable", "digest": one}
    moved = cycle(repository="edge/worker", tag="stable", source="2")
    assert (moved["diff"]["before"]["digest"], moved["diff"]["after"]["digest"]) == (one, two)
    gone = cycle(repository="edge/worker", tag="stable", state="absent")
    assert gone["image"]["digest"] is None

    with rack.client() as client:
        assert client.tags("edge/worker") == ["1", "2"]
    assert rack.images() == {one, two}
    assert rack.whole("edge/worker", two)


def test_the_last_tag_of_an_image_goes_without_the_image(rack: Rack, cycle: RunModule) -> None:
    only = rack.push("edge/worker", "1")
    cycle(repository="edge/worker", tag="1", state="absent")
    assert rack.images() == {only}
    assert rack.whole("edge/worker", only)


def test_an_index_is_copied_whole_to_another_repository(rack: Rack, cycle: RunModule) -> None:
    amd = rack.push("edge/worker", layers=[b"common", b"amd64"])
    arm = rack.push("edge/worker", layers=[b"common", b"arm64"], architecture="arm64")
    index = rack.push_index("edge/worker", "1", {"amd64": amd, "arm64": arm})
    stored = rack.storage.blobs()

    cycle(repository="site/worker", tag="1", source=index, source_repository="edge/worker")

    assert rack.whole("site/worker", index)
    assert rack.storage.blobs() == stored  # mounted, not sent again


def test_a_tag_is_not_touched_where_the_registry_deletes_nothing(rack: Rack, run_module: RunModule) -> None:
    kept = rack.push("edge/worker", "1")
    config = json.loads((rack.folder / "config.yml").read_text())
    config["storage"]["delete"]["enabled"] = False
    (rack.folder / "config.yml").write_text(json.dumps(config))
    rack.restart()

    failed = run_module(registry_tag, registry_url=rack.url, repository="edge/worker", tag="1", state="absent")

    assert failed["failed"]
    assert "storage.delete.enabled" in failed["msg"]
    with rack.client() as client:
        assert client.digest("edge/worker", "1") == kept


def test_an_image_that_is_not_there_is_no_source(rack: Rack, run_module: RunModule) -> None:
    failed = run_module(registry_tag, registry_url=rack.url, repository="edge/worker", tag="2", source="1")
    assert failed["msg"].startswith("Reading edge/worker:1: the registry does not have it. ")
    assert failed["error"]["remedy"] == "Check the names; registry_image_info lists what the registry has."


def test_images_are_listed_with_platforms_layers_and_sizes(rack: Rack, run_module: RunModule) -> None:
    amd = rack.push("edge/worker", "1-amd64", layers=[b"common", b"amd64"], annotations={"a": "b"})
    arm = rack.push("edge/worker", layers=[b"common", b"arm"], architecture="arm64")
    index = rack.push_index("edge/worker", "1", {"amd64": amd, "arm64": arm})
    rack.push_index("edge/worker", "stable", {"amd64": amd, "arm64": arm})
    rack.push("edge/predictor", "7")

    listed = run_module(registry_image_info, registry_url=rack.url)

    assert not listed["changed"]
    images = {image["digest"]: image for image in listed["images"]}
    assert len(images) == 3
    both = images[index]
    assert (both["repository"], both["tags"]) == ("edge/worker", ["1", "stable"])
    assert [(one["platform"], one["digest"]) for one in both["platforms"]] == [
        ("linux/amd64", amd),
        ("linux/arm64", arm),
    ]
    assert both["created"] == "2026-11-01T10:00:00Z"
    one = images[amd]
    assert [layer["digest"] for layer in one["platforms"][0]["layers"]] == [digest_of(b"common"), digest_of(b"amd64")]
    assert [layer["size_bytes"] for layer in one["platforms"][0]["layers"]] == [6, 5]
    # A layer that both platforms have is counted once.
    assert both["size_bytes"] == sum(part["size_bytes"] for part in both["platforms"]) - len(b"common")
    assert one["annotations"] == {"a": "b"}


def test_looked_for_references_are_found_or_named_as_missing(rack: Rack, run_module: RunModule) -> None:
    untagged = rack.push("edge/worker", layers=[b"untagged"])
    rack.push("edge/worker", "1")
    found = run_module(
        registry_image_info, registry_url=rack.url, repository="edge/worker", references=[untagged, "nope"]
    )
    assert [(image["digest"], image["tags"]) for image in found["images"]] == [(untagged, [])]
    assert found["missing"] == ["edge/worker:nope"]


def test_the_connection_may_come_from_the_environment(run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    def answering(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.account != "pull:s3cret":
            return 401, {"WWW-Authenticate": 'Basic realm="rack"'}, b"who is s3cret?"
        return 200, {}, b'{"tags": []}'

    with serving(answering) as front:
        monkeypatch.setenv("REGISTRY_URL", front.url)
        monkeypatch.setenv("REGISTRY_USERNAME", "pull")
        monkeypatch.setenv("REGISTRY_PASSWORD", "s3cret")
        assert run_module(registry_image_info, repository="edge/worker")["images"] == []
        failed = run_module(registry_image_info, repository="edge/worker", registry_password="wrong")
        assert failed["failed"]
        assert failed["error"]["status"] == 401
        assert "wrong" not in json.dumps(failed)


def test_pruning_is_foretold_done_and_done_once(rack: Rack, run_module: RunModule) -> None:
    keep = rack.push("edge/worker", "2", [b"new"])
    gone = rack.push("edge/worker", "1", [b"old"])
    rack.release("2026.11", "2026-11-28T10:00:00Z", worker=keep)
    options = {"settings": str(rack.settings_file)}

    checked = run_module(registry_prune, check=True, **options)
    assert gone in rack.images()
    done = run_module(registry_prune, **options)

    assert (checked["changed"], done["changed"]) == (True, True)
    assert checked["diff"] == done["diff"]
    assert gone[:19] in done["diff"]["before"] and done["diff"]["after"] == ""
    assert checked["freed_bytes"] == done["freed_bytes"] > 0
    assert [image["digest"] for image in done["dropped"]] == [gone]
    assert done["kept"][0]["rules"] == ["release 2026.11 (in force): worker"]
    assert done["verified"]["manifests"] == 1
    assert rack.images() == {keep}
    for check in (True, False):
        again = run_module(registry_prune, check=check, **options)
        assert (again["changed"], again["freed_bytes"], again["diff"]["before"]) == (False, 0, "")


def test_a_pruning_that_is_told_to_end_gives_the_registry_back(
    rack: Rack, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    rack.release("2026.11", "2026-11-28T10:00:00Z", worker=rack.push("edge/worker", "2", [b"new"]))
    rack.push("edge/worker", "1", [b"old"])
    monkeypatch.setattr(clean, "_collect", lambda *_arguments: signal.raise_signal(signal.SIGTERM))
    # What would end this process fails the test.
    before = {number: signal.signal(number, not_in_order) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        failed = run_module(registry_prune, settings=str(rack.settings_file))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert failed["failed"]
    assert failed["msg"] == "stopped; the registry takes pushes, the next run goes on."
    with rack.client() as client:
        assert client.accepts_pushes("edge/worker")
    assert not Path(rack.settings().switch).exists()


def not_in_order(_signal: int, _frame: object) -> None:
    raise AssertionError("nothing was given back")


def test_options_go_before_the_settings(rack: Rack, run_module: RunModule) -> None:
    rack.release("2026.11", "2026-11-28T10:00:00Z", worker=rack.push("edge/worker", "2", [b"new"]))
    rack.push("edge/worker", "1", [b"old"])
    options = {"settings": str(rack.settings_file), "keep_pushed_seconds": 3600}
    kept = run_module(registry_prune, check=True, **options)
    assert not kept["changed"]
    assert kept["kept"][0]["rules"][-1] == "pushed less than 1 hour ago"


def test_pruning_without_settings_or_release_says_what_to_do(rack: Rack, run_module: RunModule) -> None:
    failed = run_module(registry_prune, settings=str(rack.folder / "none.json"))
    assert "run role edge.rack.registry again" in failed["msg"]
    failed = run_module(registry_prune, settings=str(rack.settings_file))
    assert "there is no record of a release" in failed["msg"]
