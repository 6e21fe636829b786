# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it, on real files: change, no change, check mode, diff, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import files as module


def run(*files: dict[str, Any], check: bool = False, diff: bool = False) -> dict[str, Any]:
    arguments = {"files": list(files), "_ansible_check_mode": check, "_ansible_diff": diff}
    done = subprocess.run(
        [sys.executable, module.__file__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    assert (done.returncode != 0) == bool(answer.get("failed")), done.stderr
    return answer


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_change_then_no_change_then_only_what_differs(tmp_path: Path) -> None:
    wanted = (
        {"path": str(tmp_path / "etc"), "state": "directory", "mode": "0700"},
        {"path": str(tmp_path / "etc/a"), "content": "one\n", "mode": "0600"},
        {"path": str(tmp_path / "etc/b"), "content": "two\n"},
    )
    first = run(*wanted)
    assert first["changed"]
    assert first["paths"] == [entry["path"] for entry in wanted]
    assert (tmp_path / "etc/a").read_text() == "one\n"
    assert (mode(tmp_path / "etc"), mode(tmp_path / "etc/a"), mode(tmp_path / "etc/b")) == (0o700, 0o600, 0o644)
    assert not run(*wanted)["changed"]

    (tmp_path / "etc/b").write_text("drifted\n")
    (tmp_path / "etc/a").chmod(0o644)
    assert run(*wanted)["paths"] == [str(tmp_path / "etc/a"), str(tmp_path / "etc/b")]
    assert (tmp_path / "etc/b").read_text() == "two\n"
    assert mode(tmp_path / "etc/a") == 0o600
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["a", "b"]


def test_check_mode_says_the_same_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    wanted = (
        {"path": str(tmp_path / "new"), "state": "directory"},
        {"path": str(tmp_path / "new/file"), "content": "x"},
        {"path": str(tmp_path / "of_a_package/file"), "content": "x"},
        {"path": str(tmp_path / "given"), "content": "x", "owner": "made-by-an-earlier-task"},
        {"path": str(tmp_path / "old"), "state": "absent"},
    )
    assert run(*wanted, check=True)["paths"] == [entry["path"] for entry in wanted]
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_diff_shows_content_and_attributes_of_what_differs_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "same").write_text("same\n")
    (tmp_path / "same").chmod(0o644)
    answer = run(
        {"path": str(tmp_path / "a"), "content": "new\n"},
        {"path": str(tmp_path / "same"), "content": "same\n"},
        check=True,
        diff=True,
    )
    (diff,) = answer["diff"]
    assert diff["before_header"] == str(tmp_path / "a")
    assert "mode 0600\nold\n" in diff["before"]
    assert "mode 0644\nnew\n" in diff["after"]


def test_contents_are_not_returned(tmp_path: Path) -> None:
    assert "secret" not in json.dumps(run({"path": str(tmp_path / "a"), "content": "a secret"}))
    refused = run({"path": str(tmp_path / "a"), "content": "another secret", "validate": "false %s"})
    assert "refuses the new content" in refused["msg"]
    assert "secret" not in json.dumps(refused)


def test_content_that_its_command_refuses_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("good\n")
    refused = run(
        {"path": str(tmp_path / "first"), "content": "x"},
        {"path": str(tmp_path / "a"), "content": "bad\n", "validate": "grep --quiet good %s"},
    )
    assert refused["failed"]
    assert "Nothing was changed" in refused["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "good\n"
    assert run({"path": str(tmp_path / "a"), "content": "is good\n", "validate": "grep --quiet good %s"})["changed"]


def test_a_file_that_runs_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("old")
    with (tmp_path / "program").open() as running:
        run({"path": str(tmp_path / "program"), "content": "new", "mode": "0755"})
        assert running.read() == "old"
    assert mode(tmp_path / "program") == 0o755


def test_a_link_is_replaced_and_what_it_points_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    run({"path": str(tmp_path / "link"), "content": "y"})
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_given_and_kept_where_none_is_named(tmp_path: Path) -> None:
    owned = {"path": str(tmp_path / "a"), "content": "x", "owner": "nobody", "group": "12345"}
    run(owned)
    assert ((tmp_path / "a").stat().st_gid, (tmp_path / "a").owner()) == (12345, "nobody")
    run({"path": str(tmp_path / "a"), "content": "y"})
    assert ((tmp_path / "a").stat().st_gid, (tmp_path / "a").owner()) == (12345, "nobody")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "relative", "content": ""}, "relative: a path begins at the root"),
        ({"path": "{}/a"}, "`content` belongs to a file, and a file needs it"),
        ({"path": "{}/a", "state": "directory", "content": "x"}, "`content` belongs to a file"),
        ({"path": "{}/a", "content": "x", "mode": "u=rw"}, "mode 'u=rw' is not octal digits"),
        ({"path": "{}/a", "content": "x", "validate": "true"}, "`validate` has no %s"),
        ({"path": "{}/a", "content": "x", "owner": "nobody-of-this-name"}, "nobody-of-this-name"),
        ({"path": "{}/none/a", "content": "x"}, "its folder {}/none is not there"),
        ({"path": "{}/folder", "content": "x"}, "is a folder, and is left as it is"),
        ({"path": "{}/folder", "state": "absent"}, "is a folder, and is left as it is"),
        ({"path": "{}/file", "state": "directory"}, "is no folder, and is left as it is"),
        ({"path": "{}/first", "content": "x"}, "is there twice"),
    ],
)
def test_what_is_refused_is_named_before_anything_is_changed(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    entry = {**entry, "path": entry["path"].format(tmp_path)}
    answer = run({"path": str(tmp_path / "first"), "content": "x"}, entry)
    assert message.format(tmp_path) in answer["msg"]
    assert not (tmp_path / "first").exists()
