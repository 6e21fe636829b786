# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the calls by which ranges are brought to where they should be."""

from __future__ import annotations

import random

import pytest
from ansible_collections.edge.rack.plugins.module_utils.maas_ip_ranges import IpRange, RangeError, check, plan


def some(text: str, numbered: bool = False) -> list[IpRange]:
    """`d10-20 r30-40`"""
    found = []
    for number, word in enumerate(text.split()):
        start, end = word[1:].split("-")
        kind = {"d": "dynamic", "r": "reserved"}[word[0]]
        found.append(IpRange(kind, f"10.0.0.{start}", f"10.0.0.{end}", "" if numbered else None, number))
    return found


def play(there: list[IpRange], wanted: list[IpRange]) -> list[int]:
    """Do as MAAS does, which refuses every overlap; the number of dynamic ranges after each step."""
    current, counts = list(there), []
    for step in plan(there, wanted, purge=True):
        current = [one for one in current if one != step.old]
        if step.new is not None:
            assert not any(step.new.overlaps(one) for one in current), step
            current.append(step.new)
        counts.append(sum(one.kind == "dynamic" for one in current))
    key = [(one.kind, one.first, one.last) for one in current]
    assert sorted(key) == sorted((one.kind, one.first, one.last) for one in wanted)
    return counts


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("d10-20", "d15-30"),
        ("d10-20", "d100-120 r10-20"),
        ("d10-20 d21-30", "d10-30"),
        ("d10-20 d21-30", "d15-25"),
        ("d10-30", "d10-20 d21-30"),
        ("d10-20 r21-30", "d21-30 r10-20"),
        ("d10-20 d21-30", "d21-25 d10-15"),
        ("r10-20 d30-40 r50-60", "d50-60 r30-40 r10-15"),
    ],
)
def test_ranges_are_replaced_without_an_overlap_and_without_a_moment_without_dhcp(there: str, wanted: str) -> None:
    assert min(play(some(there, numbered=True), some(wanted)), default=1) >= 1


def test_any_two_sets_of_ranges_have_a_way_from_one_to_the_other() -> None:
    choose = random.Random(7)

    def layout() -> list[IpRange]:
        edges = sorted(choose.sample(range(2, 250), 2 * choose.randint(1, 5)))
        words = [f"{choose.choice('dr')}{a}-{b}" for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return some(" ".join(words), numbered=True)

    refused = 0
    for _ in range(400):
        there, wanted = layout(), layout()
        try:
            counts = play(there, wanted)
        except RangeError:
            refused += 1
            continue
        if any(one.kind == "dynamic" for one in there) and any(one.kind == "dynamic" for one in wanted):
            assert min(counts, default=1) >= 1
    assert refused < 40


def test_what_is_there_already_needs_no_step() -> None:
    there = some("d10-20 r30-40", numbered=True)
    assert plan(there, some("r30-40 d10-20"), purge=True) == []


def test_overlaps_with_what_maas_has_are_refused_unless_they_may_be_replaced() -> None:
    with pytest.raises(RangeError, match=r"dynamic 10.0.0.15-10.0.0.30 overlaps dynamic 10.0.0.10-10.0.0.20"):
        plan(some("d10-20", numbered=True), some("d15-30"), purge=False)


def test_six_is_checked_as_four_is() -> None:
    check([IpRange("dynamic", "2001:db8::1:0", "2001:db8::1:ffff")], "2001:db8::/64")
    with pytest.raises(RangeError, match="outside"):
        check([IpRange("dynamic", "10.0.0.1", "10.0.0.2")], "2001:db8::/64")
