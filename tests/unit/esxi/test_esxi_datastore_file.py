# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.module_utils.esxi import progress
from ansible_collections.edge.rack.plugins.modules import esxi_datastore_file

MIB = 2**20


def content(seed: int, size: int = 3 * MIB + 7) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.iso"
    path.write_bytes(content(1))
    return path


@pytest.fixture
def upload(own_host: Any, run_module: Any, source: Path) -> Any:
    """Upload the source to a place with an awkward name; more options go before these."""

    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        given = {"src": str(source), "datastore": "datastore1", "path": PLACE, **own_host.options, **options}
        return run_module(esxi_datastore_file, check=check, **given)

    return run


PLACE = "iso images/of 'today' ä/debian 12.iso"


def place(way: Any) -> Path:
    return way.simulator.datastore() / PLACE


def changed(result: dict[str, Any]) -> bool:
    assert not result.get("failed"), result["msg"]
    return bool(result["changed"])


def test_the_life_of_a_file(own_host: Any, upload: Any, source: Path) -> None:
    checked = upload(check=True)
    assert changed(checked)
    assert not place(own_host).parent.exists()
    first = upload()
    assert changed(first)
    assert first["uploaded_bytes"] == source.stat().st_size
    assert place(own_host).read_bytes() == content(1)
    again = upload()
    assert not changed(again)
    assert again["uploaded_bytes"] == 0
    assert first["file"] == again["file"] == checked["file"]
    assert first["file"]["datastore_path"] == f"[datastore1] {PLACE}"

    source.write_bytes(content(2))
    other = upload(check=True)
    assert changed(other)
    assert other["diff"] == {
        "before": {"size": source.stat().st_size, "sha256": hashlib.sha256(content(1)).hexdigest()},
        "after": {"size": source.stat().st_size, "sha256": hashlib.sha256(content(2)).hexdigest()},
    }
    assert place(own_host).read_bytes() == content(1)
    assert changed(upload())
    assert place(own_host).read_bytes() == content(2)
    assert not changed(upload())

    assert changed(upload(check=True, state="absent"))
    assert changed(upload(state="absent"))
    assert list(place(own_host).parent.iterdir()) == []
    assert not changed(upload(state="absent"))


def test_no_change_costs_little(own_host: Any, upload: Any) -> None:
    upload()
    own_host.simulator.reset_counts()
    assert not changed(upload())
    # by SSH: the mount points, the folder, the checksum
    assert len(own_host.asked()) == (9 if own_host.transport == "api" else 3)


def test_content_of_the_same_size_is_never_taken_for_the_right_one(own_host: Any, upload: Any) -> None:
    upload()
    place(own_host).write_bytes(content(9))
    os.utime(place(own_host), (2_000_000_000, 2_000_000_000))
    assert changed(upload())
    assert place(own_host).read_bytes() == content(1)


def test_a_file_without_a_checksum_beside_it_is_uploaded_by_the_api(own_host: Any, upload: Any) -> None:
    place(own_host).parent.mkdir(parents=True)
    place(own_host).write_bytes(content(1))
    assert changed(upload()) is (own_host.transport == "api")
    assert not changed(upload())


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_sizes_at_the_edges(own_host: Any, upload: Any, source: Path, size: int) -> None:
    source.write_bytes(content(3, size))
    assert changed(upload())
    assert place(own_host).read_bytes() == content(3, size)
    assert not changed(upload())


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch, own_host: Any) -> Any:
    """The connection breaks when one MiB and a half are sent, and some of it has arrived.

    A connection that breaks earlier may be reset, and then a busy host never sees the request.
    """
    whole = esxi_datastore_file.Source.chunks

    def chunks(self: Any, start: int = 0) -> Iterator[bytes]:
        everything = whole(self, start)
        yield next(everything)
        yield next(everything)[: MIB // 2]
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in place(own_host).parent.glob("*.partial")):
            assert time.monotonic() < deadline, "nothing of the upload arrives"
            time.sleep(0.02)
        raise OSError("the network is gone")

    with monkeypatch.context() as patch:
        patch.setattr(esxi_datastore_file.Source, "chunks", chunks)
        yield patch


def test_an_upload_that_broke_off_goes_on(own_host: Any, upload: Any, broken_off: Any) -> None:
    result = upload()
    assert result["failed"]
    assert "Run again" in result["msg"] or "reached" in result["msg"]
    assert not place(own_host).exists()
    (partial,) = place(own_host).parent.iterdir()
    assert partial.name.endswith(".partial")
    broken_off.undo()
    result = upload()
    assert changed(result)
    if own_host.transport == "ssh":
        assert 0 < result["resumed_at"] <= 3 * MIB // 2
        assert result["uploaded_bytes"] == len(content(1)) - result["resumed_at"]
    else:
        assert result["resumed_at"] == 0
    assert place(own_host).read_bytes() == content(1)
    assert not list(place(own_host).parent.glob("*.partial"))


def test_a_partial_file_that_is_wrong_is_begun_anew(own_host: Any, upload: Any, broken_off: Any) -> None:
    upload()
    broken_off.undo()
    (partial,) = place(own_host).parent.iterdir()
    partial.write_bytes(b"?" + partial.read_bytes()[1:])
    result = upload()
    assert changed(result)
    assert result["resumed_at"] == 0
    assert place(own_host).read_bytes() == content(1)


def test_the_old_file_stays_until_the_new_one_is_whole(
    own_host: Any, upload: Any, source: Path, broken_off: Any
) -> None:
    place(own_host).parent.mkdir(parents=True)
    place(own_host).write_bytes(b"old")
    assert upload()["failed"]
    assert place(own_host).read_bytes() == b"old"
    broken_off.undo()
    source.write_bytes(content(4))
    assert changed(upload())
    assert place(own_host).read_bytes() == content(4)
    # what was left of the other content is gone, too
    assert not list(place(own_host).parent.glob("*.partial"))


def test_a_lost_connection_is_named(own_host: Any, upload: Any) -> None:
    if own_host.transport == "ssh":
        own_host.simulator.fault(command="cat >>", output="drop", when="middle")
    else:
        own_host.simulator.fault(method="MoveDatastoreFile_Task", fault="drop")
    result = upload()
    assert result["failed"]
    assert "EsxiLoginRefused" not in result["msg"]
    assert not place(own_host).exists()
    assert changed(upload())
    assert place(own_host).read_bytes() == content(1)


def test_a_session_that_expires_on_the_way_is_opened_anew(
    own_host: Any, upload: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.write_bytes(content(5, 16 * MIB))  # more than is on its way when the host looks at the session
    whole = esxi_datastore_file.Source.chunks

    def chunks(self: Any, start: int = 0) -> Iterator[bytes]:
        yield from whole(self, start)
        own_host.simulator.expire_sessions()

    monkeypatch.setattr(esxi_datastore_file.Source, "chunks", chunks)
    assert changed(upload())
    assert place(own_host).read_bytes() == content(5, 16 * MIB)
    assert not changed(upload())


def test_space_is_compared_before_the_start(own_host: Any, upload: Any) -> None:
    own_host.simulator.capacity("datastore1", 0.001)
    for check in (True, False):
        result = upload(check=check)
        assert result["failed"]
        assert "it needs 3.0 MiB, and datastore1 has 1.0 MiB free" in result["msg"]
        assert result["error"]["fault"] == "NoDiskSpace"
    assert not place(own_host).parent.exists()


def test_a_datastore_that_fills_up_meanwhile_keeps_nothing(
    own_host: Any, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esxi_datastore_file, "require_space", lambda *args: None)
    own_host.simulator.capacity("datastore1", 0.001)
    result = upload()
    assert result["failed"]
    assert result["error"]["fault"] == "NoDiskSpace"
    assert list(place(own_host).parent.iterdir()) == []
    own_host.simulator.capacity("datastore1", 1)
    assert changed(upload())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datastore": "nowhere"}, "it has backup, datastore1"),
        ({"path": "../x"}, "`path`"),
        ({"src": "/nowhere/x.iso"}, "/nowhere/x.iso"),
    ],
)
def test_what_cannot_be_is_named(host: Any, run_module: Any, source: Path, options: Any, message: str) -> None:
    given = {"src": str(source), "datastore": "datastore1", "path": "x.iso", **host.options, **options}
    result = run_module(esxi_datastore_file, **given)
    assert result["failed"]
    assert message in result["msg"]


def test_a_folder_is_no_file(own_host: Any, upload: Any) -> None:
    upload()
    for state in ("present", "absent"):
        result = upload(path="iso images", state=state)
        assert result["failed"]
        assert "it is a folder" in result["msg"]
    assert place(own_host).exists()


def test_progress_is_told_on_the_way(
    own_host: Any, upload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0)
    upload(progress_file=str(tmp_path / "progress"))
    lines = [json.loads(line) for line in (tmp_path / "progress").read_text().splitlines()]
    assert [line["done"] for line in lines] == [MIB, 2 * MIB, 3 * MIB, 3 * MIB + 7]
    assert {line["total"] for line in lines} == {3 * MIB + 7}
    assert lines[0]["what"] == "debian 12.iso"


def test_the_api_of_the_free_edition_is_refused_before_anything_is_sent(
    own_host: Any, upload: Any, source: Path
) -> None:
    is_free = own_host.transport == "ssh"
    for check in (True, False):
        result = upload(check=check, transport="api")
        assert bool(result.get("failed")) is is_free
    assert place(own_host).exists() is not is_free
    if is_free:
        assert "esxBasic" in result["msg"]


def test_a_sum_of_the_users_own_stays(own_host: Any, upload: Any, source: Path) -> None:
    """Many a project publishes an image with one."""
    own = Path(f"{place(own_host)}.sha256")
    own.parent.mkdir(parents=True)
    own.write_text("theirs")
    assert changed(upload())
    assert not changed(upload())
    source.write_bytes(content(2))
    assert changed(upload())
    assert changed(upload(state="absent"))
    assert own.read_text() == "theirs"
    assert [path.name for path in own.parent.iterdir()] == [own.name]
