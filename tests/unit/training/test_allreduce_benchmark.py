# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of allreduce begins, and how it counts."""

from __future__ import annotations

import os
import struct

import pytest

from tests.benchmarks import allreduce, allreduce_rank


def test_our_job_is_begun_as_a_training_is_but_for_what_is_tried() -> None:
    own, tried, ring, default = (" ".join(case.command) for case in allreduce.cases(4, ["btl=self,OMP_NUM_THREADS=2"]))
    assert own.startswith("mpirun -np 4 -H 10.98.0.10:1,10.98.0.11:1,")
    assert "--mca coll_tuned_dynamic_rules_filename /opt/edge/share/allreduce-ring.rules" in own
    assert "edge_training" not in own
    assert tried == own.replace(" --mca btl tcp,self", "").replace(" -x OMP_NUM_THREADS=1", "") + (
        " --mca btl self -x OMP_NUM_THREADS=2"
    )
    assert "rules_filename" not in ring + default
    assert "--mca coll_tuned_allreduce_algorithm 4" in ring
    assert "coll_tuned" not in default
    assert "--mca btl_tcp_if_include 10.98.0.0/24" in default


@pytest.mark.parametrize("count", [1, 2, 7, 160])
def test_pieces_are_whole_numbers_and_lose_nothing(count: int) -> None:
    pieces = allreduce_rank.pieces_of(25 << 20, count)
    assert (len(pieces), sum(pieces)) == (count, 25 << 20)
    assert all(size > 0 and size % 4 == 0 for size in pieces)


def test_attributes_are_found_behind_padding() -> None:
    packed = struct.pack("=HH5s3x", 9, 1, b"tbf\0\0") + struct.pack("=HHQI", 16, 7 | 0x8000, 1514, 1)
    assert struct.unpack("=QI", allreduce_rank.attributes(packed)[7]) == (1514, 1)


def test_a_cost_is_of_the_slowest_repeats_and_the_busiest_link() -> None:
    case = allreduce.Case("our job", "bare", [])
    case.seconds[8000, 1], case.sent[8000, 1] = [1.0, 2.0, 3.0], [[12_000 + 66 * 10, 10], [11_000, 9]]
    found = allreduce.cost(case, (8000, 1), 4, 1)
    assert (found.seconds, found.share, found.best_share) == (2.0, 0.048, 0.096)
    assert (found.payload, found.frames) == (1.0, 1.055)


@pytest.mark.parametrize(("owner", "left"), [("4194305", True), ("own", False), ("ranks", False), ("", False)])
def test_only_what_names_a_process_that_is_gone_is_left(owner: str, left: bool) -> None:
    own = str(os.getpid()) if owner == "own" else owner
    assert allreduce.is_left(own) is left  # Linux has no process above 2^22
