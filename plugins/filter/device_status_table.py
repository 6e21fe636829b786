# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: device_status_table
short_description: Rows of devices as a table for people
version_added: 0.1.0
description:
  - Makes lines of text of the rows of P(edge.rack.device_status#filter), faults first, and a count at the end.
options:
  _input:
    description: The rows.
    type: list
    elements: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
lines: "{{ groups['devices'] | edge.rack.device_status(hostvars) | edge.rack.device_status_table }}"
# => ["device   pinned   running  last run  at                    last push             containers  disk free  remarks",
#     "nuc-001  2026.11  2026.11  ok        2026-11-29T02:31:07Z  2026-11-29T01:58:40Z  1 healthy   81 %", ...]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t
from collections import Counter

from ansible_collections.edge.rack.roles.pull_agent.files.edge_converge.reports import GOOD

TITLES = ("device", "pinned", "running", "last run", "at", "last push", "containers", "disk free", "remarks")


def device_status_table(rows: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    ordered = sorted(rows, key=lambda row: (row["outcome"] in GOOD, row["device"]))
    cells = [TITLES] + [_cells(row) for row in ordered]
    widths = [max(len(line[column]) for line in cells) for column in range(len(TITLES))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    counts = Counter(row["outcome"] for row in rows)
    counted = ", ".join("%d %s" % (n, name) for name, n in sorted(counts.items()))
    return [*lines, "%d devices: %s" % (len(rows), counted)]


def _cells(row: t.Mapping[str, t.Any]) -> t.Tuple[str, ...]:
    free = row["disk_free_percent"]
    states = Counter(row["containers"].values())
    return (
        row["device"],
        row["pinned"] or "-",
        row["running"] or "-",
        row["outcome"],
        row["ended"] or "-",
        row["pushed"] or "-",
        ", ".join("%d %s" % (n, state) for state, n in sorted(states.items())) or "-",
        "-" if free is None else "%d %%" % free,
        _remarks(row),
    )


def _remarks(row: t.Mapping[str, t.Any]) -> str:
    remarks = [row["fault"]] if row["fault"] else []
    remarks += ["power %s" % row["power"]] if row.get("power") in ("off", "error") else []
    remarks += ["offline: %s" % row["offline"]] if row["offline"] else []
    remarks += ["release of its own"] if row["own_release"] else []
    remarks += ["waits for wave %d of %d" % (row["wave"], row["waves"])] if row["held"] else []
    remarks += ["paused"] if row["paused"] else []
    remarks += ["deferred: %s" % ", ".join(row["deferred"])] if row["deferred"] else []
    remarks += ["%d reports wait" % row["reports_waiting"]] if row["reports_waiting"] else []
    return "; ".join(remarks)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"device_status_table": device_status_table}
