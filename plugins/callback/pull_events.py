# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: pull_events
type: notification
short_description: Notes what a run changed and where it failed, as it goes
version_added: 0.1.0
description:
  - Appends a line of JSON to a file for each task that changed something or failed. A run that is cut off leaves what
    it had done so far.
  - The role P(edge.rack.pull_agent#role) has it in each device's own runs; C(edge-converge) makes the report of it.
  - A task with C(no_log) is noted without its message.
requirements:
  - It must be named in C(callbacks_enabled).
options:
  path:
    description: The file. Without one, nothing is noted.
    type: path
    env:
      - name: EDGE_PULL_EVENTS
author:
  - The edge.rack engineers (@edge-rack)
"""

import typing as t

from ansible.plugins.callback import CallbackBase

from ansible_collections.edge.rack.plugins.plugin_utils import task_events


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "edge.rack.pull_events"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if task_events.content(result).get("changed"):
            self._note("changed", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._note("failed", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._note("failed", result)

    def _note(self, status: str, result: t.Any) -> None:
        path = self.get_option("path")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                task_events.append(file, task_events.event(result, status))
