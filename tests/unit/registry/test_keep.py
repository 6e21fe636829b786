# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule keeps which image, as data; and the records that rules are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit import collection

collection.find()

from ansible_collections.edge.rack.plugins.module_utils.registry import keep, records  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.errors import RegistrySettingsError  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import repository_of  # noqa: E402
from ansible_collections.edge.rack.plugins.module_utils.registry.settings import Settings  # noqa: E402

NOW = 1_800_000_000.0
NOBODY = records.Records([], [])


def digest(name: str) -> str:
    return "sha256:" + name.encode().hex().ljust(64, "0")


def image(name: str, repository: str = "edge/worker", pushed: float = 0, **more: Any) -> keep.Image:
    return keep.Image(repository, digest(name), pushed, **more)


def decide(images: list[keep.Image], known: records.Records = NOBODY, **more: Any) -> keep.Decision:
    settings = {"patterns": ["edge/*"], "keep_releases": 2, "keep_pushed_seconds": 3600, "now": NOW, **more}
    return keep.decide(images, known, **settings)


def rules(decision: keep.Decision) -> dict[str, list[str]]:
    """Name of each kept image -> its rules."""
    kept = [verdict for verdict in decision.verdicts if verdict.kept]
    return {bytes.fromhex(one.image.digest[7:].rstrip("0")).decode(): list(one.rules) for one in kept}


def release(name: str, released: float, image: str) -> records.Release:
    return records.Release(name, released, {"worker": digest(image)})


def test_releases_in_force_and_the_last_ones_are_kept() -> None:
    releases = [release("4", 40, "ddd"), release("3", 30, "ccc"), release("2", 20, "bbb"), release("1", 10, "aaa")]
    images = [image(name) for name in ("aaa", "bbb", "ccc", "ddd")]
    decision = decide(images, records.Records(releases, [], {"4", "1"}))
    assert rules(decision) == {
        "aaa": ["release 1 (in force): worker"],
        "ccc": ["release 3 (one of the last 2): worker"],
        "ddd": ["release 4 (in force): worker"],
    }
    assert [one.digest for one in decision.dropped] == [digest("bbb")]
    assert decision.verdicts[1].rules == [keep.NOTHING % 2]


def test_what_a_device_runs_or_rolls_back_to_is_kept_and_every_rule_is_named() -> None:
    devices = [
        records.Device("nuc-001", [digest("run")], [digest("back")]),
        records.Device("nuc-002", [], [digest("run")]),
    ]
    assert rules(decide([image("run"), image("back"), image("other")], records.Records([], devices))) == {
        "run": ["device nuc-001 runs it", "device nuc-002 rolls back to it"],
        "back": ["device nuc-001 rolls back to it"],
    }


def test_a_kept_index_keeps_its_children_and_a_dropped_one_does_not() -> None:
    kept = image("index", is_index=True, children=[digest("amd"), digest("nested")])
    nested = image("nested", is_index=True, children=[digest("arm")])
    gone = image("gone", is_index=True, children=[digest("riscv"), digest("amd")])
    images = [kept, nested, gone, image("amd"), image("arm"), image("riscv")]
    decision = decide(images, records.Records([release("1", 1, "index")], []))
    assert set(rules(decision)) == {"index", "nested", "amd", "arm"}
    assert rules(decision)["arm"] == [f"child of index {keep.short(nested)}"]


def test_the_base_of_a_kept_image_is_kept_with_its_own() -> None:
    code = image("code", base=("edge/deps", digest("deps")))
    deps = image("deps", "edge/deps", base=("library/debian", digest("elsewhere")))
    decision = decide([code, deps, image("unused", "edge/deps")], records.Records([release("1", 1, "code")], []))
    assert rules(decision)["deps"] == [f"base of {keep.short(code)}"]
    assert set(rules(decision)) == {"code", "deps"}
    assert decision.missing == []


def test_what_is_attached_to_a_kept_image_is_kept() -> None:
    images = [image("code"), image("sbom", subject=digest("code")), image("stray", subject=digest("gone"))]
    assert set(rules(decide(images, records.Records([release("1", 1, "code")], [])))) == {"code", "sbom"}


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_what_a_tag_attaches_to_a_kept_image_is_kept_with_its_children(suffix: str) -> None:
    def attached(name: str, to: str, **more: Any) -> keep.Image:
        return image(name, tags=["latest", f"sha256-{digest(to)[7:]}{suffix}"], **more)

    code = image("code")
    index = attached("index", "code", is_index=True, children=[digest("sbom")])
    stray = attached("stray", "gone", is_index=True, children=[digest("rest")])
    elsewhere = attached("elsewhere", "code", repository="edge/other")
    decision = decide(
        [code, index, image("sbom"), stray, image("rest"), elsewhere],
        records.Records([release("1", 1, "code")], []),
    )
    assert set(rules(decision)) == {"code", "index", "sbom"}
    assert rules(decision)["index"] == [f"attached to {keep.short(code)}"]


@pytest.mark.parametrize("tag", ["sha256-1234", "sha512-" + 64 * "0", "x-sha256-" + digest("code")[7:]])
def test_a_tag_that_only_looks_so_attaches_nothing(tag: str) -> None:
    images = [image("code"), image("other", tags=[tag])]
    assert set(rules(decide(images, records.Records([release("1", 1, "code")], [])))) == {"code"}


def test_what_was_pushed_lately_is_kept_with_its_children() -> None:
    images = [
        image("new", pushed=NOW - 3599, is_index=True, children=[digest("child")]),
        image("child"),
        image("old", pushed=NOW - 3600),
    ]
    assert rules(decide(images))["new"] == ["pushed less than 1 hour ago"]
    assert set(rules(decide(images))) == {"new", "child"}


def test_other_repositories_are_left_alone() -> None:
    assert rules(decide([image("tool", "site/tool"), image("old")])) == {"tool": ["repository is not one of edge/*"]}


def test_what_must_be_kept_and_is_not_there_is_named_with_who_needs_it() -> None:
    known = records.Records([release("1", 1, "gone")], [records.Device("nuc-001", [digest("lost")], [])])
    index = image("index", pushed=NOW, is_index=True, children=[digest("child")])
    assert decide([index], known).lost == [f"{digest('lost')} (device nuc-001 runs it)"]
    assert decide([index], known).missing == [
        f"{digest('gone')} (release 1 (one of the last 2): worker)",
        f"edge/worker@{digest('child')} (child of index {keep.short(index)})",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "edge/worker",
        "edge/worker:1",
        "registry:5000/edge/worker",
        "localhost/edge/worker@sha256:0",
        "r.lab/edge/worker:1@x",
    ],
)
def test_the_repository_of_a_name_is_what_follows_the_host(name: str) -> None:
    assert repository_of(name) == "edge/worker"


# -- Records ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    (tmp_path / "devices").mkdir()
    return tmp_path


def write(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


RELEASE = {
    "name": "2026.11",
    "released": "2026-11-28T10:00:00Z",
    "images": {"worker": {"tag": "1", "digest": digest("a")}},
}
DEVICE = {
    "device": "nuc-001",
    "reported": "2026-11-28T10:00:00Z",
    "running": [f"edge/worker@{digest('a')}"],
    "rollback": [],
}


def test_records_are_read_the_newest_release_first(folder: Path) -> None:
    write(folder / "releases" / "2026.11.json", RELEASE)
    write(folder / "releases" / "2026.12.json", {**RELEASE, "name": "2026.12", "released": "2026-11-28T12:30:00+02:00"})
    write(folder / "releases" / ".2026.13.json", "{ half written")
    write(folder / "devices" / "device-nuc-001.json", DEVICE)
    known = records.read(str(folder))
    assert [one.name for one in known.releases] == ["2026.12", "2026.11"]
    assert known.releases[0].released - known.releases[1].released == 1800
    assert known.in_force == {"2026.12"}
    write(folder / "in-force.json", {"releases": ["2026.11", "2026.12"]})
    assert records.read(str(folder)).in_force == {"2026.11", "2026.12"}
    assert known.devices == [records.Device("nuc-001", [digest("a")], [])]


def test_without_a_release_nothing_is_to_be_deleted(folder: Path) -> None:
    write(folder / "devices" / "device-nuc-001.json", DEVICE)
    with pytest.raises(records.RecordError, match=r"no record of a release in .*/releases\. Nothing was deleted"):
        records.read(str(folder))


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("releases/x.json", "{", "cannot be read"),
        ("releases/x.json", "[]", "is not a JSON object"),
        ("releases/x.json", {**RELEASE, "released": "yesterday"}, "is not the record of a release .*yesterday"),
        ("releases/x.json", {"name": "x"}, "is not the record of a release .*released"),
        ("releases/x.json", {**RELEASE, "images": {"worker": {"tag": "1"}}}, "'digest'"),
        (
            "releases/x.json",
            {**RELEASE, "images": {"worker": {"digest": None}}},
            "images.worker.digest is not a digest",
        ),
        ("in-force.json", {"releases": []}, "releases is not a list of names"),
        ("in-force.json", {"releases": ["2025.1"]}, "names the release 2025.1, which has no record"),
        ("devices/x.json", {**DEVICE, "running": None}, "running is not a list"),
        (
            "devices/x.json",
            {**DEVICE, "rollback": ["edge/worker:1"]},
            "rollback names 'edge/worker:1', which is no digest",
        ),
        ("devices/x.json", {**DEVICE, "device": ""}, "device is not a device's name"),
        ("devices/x.json", {**DEVICE, "device": "\ud800"}, "device is not a device's name"),
        ("devices/x.json", {**DEVICE, "device": "nuc-001\n"}, "device is not a device's name"),
        ("devices/x.json", 30000 * "[", "cannot be read"),
        ("devices/x.json", b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_record_that_says_not_what_it_keeps_stops_all(folder: Path, name: str, data: Any, complaint: str) -> None:
    write(folder / "releases" / "2026.11.json", RELEASE)
    path = folder / name
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        write(path, data)
    with pytest.raises(records.RecordError, match=rf"{path}.*{complaint}.* Nothing was deleted"):
        records.read(str(folder))


def test_all_reports_that_cannot_be_read_are_named_at_once_with_the_fix(folder: Path) -> None:
    write(folder / "releases" / "2026.11.json", RELEASE)
    (folder / "accepted").mkdir()
    write(folder / "accepted" / "device-nuc-004.json", DEVICE)
    bad = [write(folder / "devices" / f"device-nuc-00{number}.json", "{") for number in (1, 3, 4)]
    write(folder / "devices" / "device-nuc-002.json", DEVICE)

    with pytest.raises(
        records.RecordError, match=r"Nothing was deleted\..*edge-report-images.*edge\.rack\.retire"
    ) as failure:
        records.read(str(folder))

    assert [str(path) in str(failure.value) for path in bad] == [True, True, True]
    assert "nuc-002" not in str(failure.value)


@pytest.mark.parametrize("report", ["{", "[]", 30000 * "[", {**DEVICE, "running": ["edge/worker:1"]}])
def test_of_a_report_that_cannot_be_read_the_accepted_one_counts(folder: Path, report: Any) -> None:
    write(folder / "releases" / "2026.11.json", RELEASE)
    (folder / "accepted").mkdir()
    write(folder / "accepted" / "device-nuc-001.json", DEVICE)
    write(folder / "accepted" / "device-retired.json", {**DEVICE, "device": "retired"})
    path = write(folder / "devices" / "device-nuc-001.json", report)

    known = records.read(str(folder))

    assert known.devices == [records.Device("nuc-001", [digest("a")], [])]
    (unread,) = known.unread
    assert unread.startswith(str(path))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"keep_release": 5}, "keep_release is not known"),
        ({"keep_releases": 0}, "`keep_releases` is less than 1"),
        ({"keep_releases": "5"}, "`keep_releases` cannot be '5'"),
        ({"repositories": "edge/*"}, "`repositories` cannot be"),
        ({"storage": ""}, "`storage` cannot be ''"),
        ("{", "Expecting"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, data: Any, complaint: str) -> None:
    path = write(tmp_path / "clean.json", data)
    with pytest.raises(RegistrySettingsError, match=rf"{complaint}.*Correct {path}"):
        Settings.load(str(path))
