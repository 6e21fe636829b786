# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_table
short_description: Findings as a table for people
version_added: 0.1.0
description:
  - Makes lines of text of what P(edge.rack.doctor_rack_findings#filter) and its sisters found, errors first, then by
    host, and a count at the end. What mends it stands below what was seen.
options:
  _input:
    description: The findings.
    type: list
    elements: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
lines: "{{ doctor_findings | edge.rack.doctor_table }}"
# => ["error    nuc-002  docker  Docker Engine does not answer: Cannot connect to the Docker daemon ...",
#     "                          fix: systemctl restart docker; journalctl --unit=docker says why",
#     "1 error, 0 warnings"]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

COLUMNS = ("severity", "host", "check")


def doctor_table(findings: t.Sequence[t.Mapping[str, str]]) -> t.List[str]:
    ordered = sorted(findings, key=lambda one: (one["severity"] != "error", one["host"]))
    widths = [max([len(one[column]) for one in ordered], default=0) for column in COLUMNS]
    lines = []
    for one in ordered:
        begin = "".join(one[column].ljust(width + 2) for column, width in zip(COLUMNS, widths, strict=True))
        lines += [begin + one["seen"], "%sfix: %s" % (" " * len(begin), one["fix"])]
    errors = sum(one["severity"] == "error" for one in findings)
    return [*lines, "%s, %s" % (_counted(errors, "error"), _counted(len(findings) - errors, "warning"))]


def _counted(number: int, noun: str) -> str:
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_table": doctor_table}
