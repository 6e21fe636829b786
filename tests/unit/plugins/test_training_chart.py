# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a training."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from ansible_collections.edge.rack.plugins.filter.training_chart import training_chart

SVG = "{http://www.w3.org/2000/svg}"


def start(first_epoch: int = 0, first_step: int = 0) -> dict[str, Any]:
    return {"event": "start", "first_epoch": first_epoch, "first_step": first_step, "steps_per_epoch": 10}


def epoch(number: int, loss: float, accuracy: float | None = 0.9) -> dict[str, Any]:
    told = {"event": "epoch", "epoch": number, "loss": loss, "accuracy": accuracy, "images_per_second": 1000.0}
    return {key: value for key, value in told.items() if value is not None}


def drawn(*events: dict[str, Any], title: str = "digits-1") -> ElementTree.Element:
    return ElementTree.fromstring(training_chart("\n".join(json.dumps(event) for event in events), title))


def curves(picture: ElementTree.Element) -> list[list[tuple[float, ...]]]:
    lines = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    return [[tuple(map(float, point.split(","))) for point in line] for line in lines]


def test_loss_accuracy_and_throughput_are_curves_over_the_epochs() -> None:
    picture = drawn(start(), epoch(1, 2.0), epoch(2, 1.0), epoch(3, 0.5))
    loss, accuracy, images = curves(picture)
    assert [len(curve) for curve in (loss, accuracy, images)] == [3, 3, 3]
    heights = [y for _x, y in loss]
    assert heights == sorted(heights)  # what falls goes down the page
    assert heights[1] - heights[0] == 2 * (heights[2] - heights[1])
    assert len({y for _x, y in images}) == 1
    assert "again" not in {path.attrib["class"] for path in picture.iter(f"{SVG}path")}


def test_where_it_went_on_is_marked_and_an_epoch_that_was_taken_again_counts_once() -> None:
    picture = drawn(start(), epoch(1, 2.0), epoch(2, 1.0), start(1, 5), epoch(2, 0.9), epoch(3, 0.5))
    again = [path for path in picture.iter(f"{SVG}path") if path.attrib["class"] == "again"]
    assert len(again) == 3  # in each panel
    loss = curves(picture)[0]
    assert len(loss) == 3
    at = float(again[0].attrib["d"][1:].split()[0])
    assert loss[0][0] < at < loss[1][0]


def test_a_training_that_began_anew_is_drawn_alone() -> None:
    assert len(curves(drawn(start(), epoch(1, 2.0), epoch(2, 1.0), start(), epoch(1, 1.5)))[0]) == 1


def test_what_is_not_told_is_not_drawn() -> None:
    assert len(curves(drawn(start(), epoch(1, 2.0, accuracy=None)))) == 2
    assert training_chart("", "digits-1") == ""
    assert training_chart('{"event": "start"}\n{"event": "epo', "digits-1") == ""


def test_a_name_cannot_become_part_of_the_picture() -> None:
    picture = drawn(start(), epoch(1, 0.0), title='<script>"&')
    assert picture.attrib["aria-label"] == 'Training <script>"& by epoch'
    assert not list(picture.iter(f"{SVG}script"))
