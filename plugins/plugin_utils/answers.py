# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program on a machine answered, such as `edge-converge status --json`, by the result of the task that asked."""

from __future__ import annotations

import json
import typing as t

Result = t.Mapping[str, t.Any]


def answer(result: Result) -> t.Tuple[t.Dict[str, t.Any], str]:
    """What it told, or why it told nothing."""
    try:
        return json.loads(result.get("stdout") or ""), ""
    except ValueError:
        return {}, said(result) or "no answer"


def said(result: Result) -> str:
    """What came in the answer's stead. A command's own words say more than Ansible's, that it did not end with 0."""
    order = ("stderr", "stdout", "msg") if "rc" in result else ("msg",)
    return next((str(result[name]) for name in order if result.get(name)), "")
