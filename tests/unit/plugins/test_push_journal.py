# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a push is its own process's until its report is there, and that of a cut push is made a report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.plugin_utils import push_journal

ABOUT = {"id": "5c1f", "started": 1796000000.25, "mode": "push"}
NAME = "1796000000.250-5c1f"


def another_push_begins(folder: Path) -> None:
    """In a process of its own, for a process is never kept out by its own locks."""
    child = os.fork()
    if not child:
        push_journal.finish_cut(folder, 1796000001.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def outcomes(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["outcome"] for path in sorted(folder.glob("*.json"))]


def test_a_push_is_nobody_elses_while_its_report_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = push_journal.files.write

    def write_while_another_push_begins(path: Path, content: dict[str, Any], mode: int) -> None:
        monkeypatch.undo()
        another_push_begins(tmp_path)
        assert outcomes(tmp_path) == []
        write(path, content, mode)

    journal = push_journal.Journal(tmp_path, ABOUT)
    another_push_begins(tmp_path)
    monkeypatch.setattr(push_journal.files, "write", write_while_another_push_begins)
    journal.end(ended=1796000002.0, outcome="ok", error="", hosts={})
    assert outcomes(tmp_path) == ["ok"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.json"]


def test_a_push_that_ends_meanwhile_keeps_no_cut_one_from_its_report(tmp_path: Path) -> None:
    (tmp_path / "1-gone.running").symlink_to("gone")
    (tmp_path / f"{NAME}.running").write_text(json.dumps(ABOUT) + '\n{"play": {"na')
    push_journal.finish_cut(tmp_path, 1796000001.0)
    assert outcomes(tmp_path) == ["interrupted"]
