# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: training_chart
short_description: Loss, accuracy and throughput of a training as a picture
version_added: 0.1.0
description:
  - Draws an SVG of what M(edge.rack.horovod_job) reported of each epoch, with a mark where the training went on after
    it had lost a device. Used by C(edge.rack.train).
options:
  _input:
    description: Text of the job's file of progress, a JSON object a line. Lines that are none are passed over.
    type: str
    required: true
  title:
    description: Name of the job.
    type: str
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
- name: Training is drawn
  ansible.builtin.copy:
    content: "{{ lookup('ansible.builtin.file', 'progress.jsonl') | edge.rack.training_chart(title='digits-1') }}"
    dest: chart.svg
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The SVG; empty where no epoch came to its end.
  type: str
"""

import json
import typing as t
from xml.sax.saxutils import escape

# Not a plotting library: each controller would have to have it for this one picture.
WIDTH = 720
HEIGHT = 200  # of each panel
LEFT = 64
TOP = 56
GAP = 56
STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1f2933; --quiet: #7b8794; --paper: #fff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e4e7eb; --quiet: #9aa5b1; --paper: #14181d; } }
text { fill: var(--ink); } .quiet { fill: var(--quiet); } .paper { fill: var(--paper); }
.axis { stroke: var(--quiet); stroke-width: 1; } .again { stroke: var(--quiet); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; } .dot { stroke: none; }
"""
# Okabe and Ito's, which a colour-blind person can tell apart.
PANELS = (
    ("loss", "loss", "#d55e00"),
    ("accuracy", "accuracy", "#009e73"),
    ("images_per_second", "images/s", "#0072b2"),
)

Point = t.Tuple[int, float]


def training_chart(progress: str, title: str) -> str:
    epochs, again = _told(progress)
    if not epochs:
        return ""
    height = TOP + len(PANELS) * (HEIGHT + GAP)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">'
        % (WIDTH, height, escape("Training %s by epoch" % title, {'"': "&quot;"})),
        "<style>%s</style>" % STYLE,
        '<rect class="paper" width="100%" height="100%"/>',
        '<text x="%d" y="28" font-size="16">%s</text>' % (LEFT, escape(title)),
    ]
    for number, (field, name, colour) in enumerate(PANELS):
        told = [(epoch, event.get(field)) for epoch, event in sorted(epochs.items())]
        points = [(epoch, float(value)) for epoch, value in told if value is not None]
        if points:
            parts += _panel(TOP + number * (HEIGHT + GAP), name, colour, points, again, max(epochs))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _told(progress: str) -> t.Tuple[t.Dict[int, t.Dict[str, t.Any]], t.List[float]]:
    """The last word on each epoch, and after how many epochs it went on; of the file's last training alone."""
    epochs: t.Dict[int, t.Dict[str, t.Any]] = {}
    again: t.List[float] = []
    for line in progress.splitlines():
        try:
            event = json.loads(line)
            if event["event"] == "start":
                done = event["first_epoch"] + event.get("first_step", 0) / max(1, event.get("steps_per_epoch", 1))
                again = [*again, done] if done else []
                epochs = {epoch: told for epoch, told in epochs.items() if epoch <= done}
            elif event["event"] == "epoch":
                epochs[int(event["epoch"])] = event
        except (ValueError, KeyError, TypeError):
            continue
    return epochs, again


def _panel(top: int, name: str, colour: str, points: t.List[Point], again: t.List[float], last: int) -> t.Iterator[str]:
    """One curve over the epochs, from 0 to the largest value."""
    most = max(value for _epoch, value in points) or 1.0
    bottom, right = top + HEIGHT, WIDTH - 24

    def x(epoch: float) -> float:
        return LEFT + (right - LEFT) * epoch / max(1, last)

    def y(value: float) -> float:
        return bottom - HEIGHT * value / most

    yield '<text x="%d" y="%d">%s</text>' % (LEFT, top - 10, name)
    yield '<path class="axis" d="M%d %dV%dH%d" fill="none"/>' % (LEFT, top, bottom, right)
    for value in (0.0, most / 2, most):
        yield '<text class="quiet" text-anchor="end" x="%d" y="%.1f">%.4g</text>' % (LEFT - 8, y(value) + 4, value)
    for epoch in sorted({0, (last + 1) // 2, last}):
        yield '<text class="quiet" text-anchor="middle" x="%.1f" y="%d">%d</text>' % (x(epoch), bottom + 18, epoch)
    for epoch in again:
        yield '<path class="again" d="M%.1f %dV%d"><title>went on here</title></path>' % (x(epoch), top, bottom)
    line = " ".join("%.1f,%.1f" % (x(epoch), y(value)) for epoch, value in points)
    yield '<polyline class="line" stroke="%s" points="%s"/>' % (colour, line)
    for epoch, value in points:
        yield '<circle class="dot" fill="%s" cx="%.1f" cy="%.1f" r="3"><title>epoch %d: %.4g</title></circle>' % (
            colour,
            x(epoch),
            y(value),
            epoch,
            value,
        )


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"training_chart": training_chart}
