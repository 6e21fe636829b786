# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is noted of a task's result: what changed or failed, and nothing that is secret."""

from __future__ import annotations

import json
import os
import typing as t

LONGEST_MESSAGE = 2000


def event(result: t.Any, status: str) -> dict[str, t.Any]:
    """The result of a task on one host, without its arguments."""
    task = result.task if hasattr(result, "task") else result._task
    return {"name": task.get_name(), "action": task.action, "status": status, "message": _message(result)}


def content(result: t.Any) -> t.Mapping[str, t.Any]:
    """What the module returned. Ansible-core 2.19 has it by another name than 2.18."""
    return result.result if hasattr(result, "result") else result._result


def append(file: t.IO[str], line: t.Mapping[str, t.Any]) -> None:
    """Write a line of JSON, on the disk before this returns."""
    file.write(json.dumps(line) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _message(result: t.Any) -> str:
    found = content(result)
    task = result.task if hasattr(result, "task") else result._task
    if task.no_log or found.get("_ansible_no_log") or "censored" in found:
        return "not shown: the task has no_log"
    items = [item.get("msg") for item in found.get("results", []) if isinstance(item, dict) and item.get("failed")]
    said = next((item for item in items if item), None) or found.get("msg") or found.get("stderr") or ""
    return str(said)[:LONGEST_MESSAGE]
