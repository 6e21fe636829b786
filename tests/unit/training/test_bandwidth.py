# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training's result says of the ring, and of who holds it up."""

from __future__ import annotations

import time
from typing import Any

import pytest
from edge_training import bandwidth
from edge_training.communicator import Alone

from tests.unit.training import threads

GIGABIT = 1_000_000_000
HOSTS = ["nuc-1", "nuc-2", "nuc-3"]


class Slow(threads.Thread):
    """Its allreduces take so long."""

    seconds = 0.0

    def average(self, tensor: Any, name: str = "average") -> Any:
        time.sleep(self.seconds)
        return super().average(tensor, name)


def slow(seconds: float) -> Any:
    def run(rank: threads.Thread) -> dict[str, Any]:
        one = Slow(rank.rank, rank.slots, rank.barrier)
        one.seconds = seconds if rank.rank == 1 else 0.0
        return {"measured": bandwidth.measure(one, 400_000)}

    return run


def test_an_allreduce_takes_as_long_as_on_the_slowest_rank() -> None:
    found = threads.ring(3, slow(0.05))
    assert len({one["measured"] for one in found}) == 1
    payload, seconds = found[0]["measured"]
    assert payload == 400_000
    assert 0.05 <= seconds < 1


def test_a_slow_link_is_not_kept_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "ENOUGH_SECONDS", 0.01)
    started = time.monotonic()
    threads.ring(2, slow(0.3))
    assert time.monotonic() - started < 4 * 0.3  # two of them, of which one is the first contact


def test_one_rank_has_no_ring() -> None:
    assert bandwidth.measure(Alone(), 400_000) is None
    assert bandwidth.report(None, [None]) == {"allreduce": None}


def test_bus_bandwidth_stands_beside_the_slowest_link() -> None:
    # 4 ranks send 2 x 3/4 of 1 MB each in 0.02 s: 600 Mbit/s.
    told = bandwidth.report((1_000_000, 0.02), [GIGABIT, GIGABIT, GIGABIT, 10 * GIGABIT])["allreduce"]
    assert told["bus_bits_per_second"] == 600_000_000
    assert (told["link_bits_per_second"], told["share_of_link"]) == (GIGABIT, 0.6)
    told = bandwidth.report((1_000_000, 0.02), [GIGABIT, None])["allreduce"]
    assert (told["link_bits_per_second"], told["share_of_link"]) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "examples", "links", "host", "why"),
    [
        ([1.0, 1.0, 1.1], [100, 100, 100], [GIGABIT] * 3, "nuc-3", "none stands out"),
        ([1.0, 1.0, 1.1], [100, 100, 100], [None] * 3, "nuc-3", "none stands out"),
        (
            [1.0, 2.0, 1.0],
            [100, 100, 100],
            [GIGABIT] * 3,
            "nuc-2",
            "its CPU takes 2.0 times as long for an example as most",
        ),
        ([1.0, 1.0, 3.0], [100, 100, 300], [GIGABIT] * 3, "nuc-3", "it has 300 examples, most have 100"),
        (
            [1.0, 2.0, 1.0],
            [100, 100, 100],
            [GIGABIT // 10, GIGABIT, GIGABIT],
            "nuc-1",
            "its link has 100 Mbit/s, most have 1000",
        ),
        ([0.0, 0.0, 0.0], [0, 0, 0], [None] * 3, "nuc-1", "none stands out"),
    ],
)
def test_who_holds_the_ring_up_is_named_with_the_reason(
    seconds: list[float], examples: list[int], links: list[int | None], host: str, why: str
) -> None:
    assert bandwidth.slowest(HOSTS, seconds, examples, links) == {"slowest_host": host, "slowest_why": why}
