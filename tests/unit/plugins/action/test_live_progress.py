# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads and backups, whose modules count bytes; what the plugins share is tested with horovod_job."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.action import esxi_datastore_file, esxi_vm_backup
from ansible_collections.edge.rack.plugins.plugin_utils import live_progress

LINE = {"what": "debian.iso", "done": 100 * 2**20, "total": 400 * 2**20, "bytes_per_second": 50 * 2**20}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(live_progress.display, "display", lines.append)
    monkeypatch.setattr(live_progress, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(live_progress.ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    return lines


class Here:
    """The machine where the module runs: it takes two rounds and then is done."""

    def __init__(self, module: Any, no_log: bool = False, **args: Any) -> None:
        self.commands: list[str] = []
        self.statuses = [{"started": 1}, {"finished": 1, "changed": True, "ansible_job_id": "j"}]
        self.module_args: dict[str, Any] = {}
        plugin = module.ActionModule.__new__(module.ActionModule)
        plugin._task = SimpleNamespace(check_mode=False, async_val=0, no_log=no_log, args=args)
        plugin._execute_module = self.execute_module
        plugin._low_level_execute_command = self.command
        plugin._remote_expand_user = lambda path: path.replace("~", "/home/me")
        plugin.get_shell_option = lambda option, default=None: default
        self.plugin = plugin

    def execute_module(
        self, module_name: Any = None, module_args: Any = None, task_vars: Any = None, wrap_async: bool = False
    ) -> dict[str, Any]:
        if module_name is None:
            self.module_args = dict(self.plugin._task.args)
            return {"ansible_job_id": "j", "started": 1}
        return self.statuses.pop(0) if module_args["mode"] == "status" else {}

    def command(self, command: str, sudoable: bool = False) -> dict[str, Any]:
        self.commands.append(command)
        done = len(self.statuses) < 2
        return {"rc": 0, "stdout": json.dumps(LINE) if done else ""}


def test_a_line_tells_how_far_it_is(shown: list[str]) -> None:
    here = Here(esxi_datastore_file, path="iso/debian.iso")
    assert here.plugin.run() == {"changed": True}
    assert shown == ["debian.iso: 100 of 400 MiB (25 %), 50.0 MiB/s"]


def test_the_file_is_one_of_the_plugins_own_and_is_removed(shown: list[str]) -> None:
    here = Here(esxi_vm_backup, name="maas")
    here.plugin.run()
    path = here.module_args["progress_file"]
    assert path.startswith("/home/me/.ansible_async/progress-")
    assert here.commands[-1] == f"rm -f {path}"
    assert "progress_file" not in here.plugin._task.args


def test_a_file_of_the_users_stays(shown: list[str]) -> None:
    here = Here(esxi_datastore_file, progress_file="/tmp/mine")
    here.plugin.run()
    assert not any(command.startswith("rm") for command in here.commands)


def test_a_task_without_a_log_shows_nothing(shown: list[str]) -> None:
    Here(esxi_datastore_file, no_log=True).plugin.run()
    assert shown == []


def test_several_disks_have_time(shown: list[str]) -> None:
    assert Here(esxi_vm_backup, timeout_seconds=100).plugin.timeout_seconds() >= (15 + 4) * 100
    assert Here(esxi_datastore_file).plugin.timeout_seconds() == 7200
