# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP ranges of a subnet: what is wrong with them, and in which order MAAS can be brought to them.

MAAS refuses ranges that overlap, at each single call. So a range that is replaced is moved in place where that is
possible, which also never leaves DHCP without a dynamic range half way.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, replace

Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class RangeError(Exception):
    """Ranges that MAAS cannot have; the message names them."""


@dataclass(frozen=True)
class IpRange:
    """A range, wanted or in MAAS. ``comment`` None: as it is."""

    kind: str
    start: str
    end: str
    comment: t.Optional[str] = None
    id: t.Optional[int] = None

    @classmethod
    def from_maas(cls, row: t.Dict[str, t.Any]) -> IpRange:
        return cls(row["type"], row["start_ip"], row["end_ip"], row["comment"] or "", row["id"])

    @property
    def first(self) -> int:
        return int(ipaddress.ip_address(self.start))

    @property
    def last(self) -> int:
        return int(ipaddress.ip_address(self.end))

    def overlaps(self, other: IpRange) -> int:
        """How many addresses both have."""
        return max(0, min(self.last, other.last) - max(self.first, other.first) + 1)

    def is_same(self, other: IpRange) -> bool:
        return (self.kind, self.first, self.last) == (other.kind, other.first, other.last)

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"type": self.kind, "start": self.start, "end": self.end, "comment": self.comment or ""}

    def __str__(self) -> str:
        return "%s %s-%s" % (self.kind, self.start, self.end)


@dataclass(frozen=True)
class Step:
    """One call: ``create`` what is ``new``, ``delete`` what is ``old``, or ``update`` one into the other."""

    verb: str
    old: t.Optional[IpRange] = None
    new: t.Optional[IpRange] = None


def check(ranges: t.Sequence[IpRange], cidr: str) -> None:
    """What can be known to be wrong without asking MAAS."""
    network = ipaddress.ip_network(cidr)
    for one in ranges:
        _check_one(one, network)
    for number, one in enumerate(ranges):
        for other in ranges[:number]:
            if one.overlaps(other):
                raise RangeError("the ranges %s and %s overlap" % (other, one))


def _check_one(one: IpRange, network: Network) -> None:
    for text in (one.start, one.end):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise RangeError("the range %s: %s is not an IP address" % (one, text))
        if address not in network:
            raise RangeError("the range %s: %s is outside of the subnet %s" % (one, text, network))
    if one.last < one.first:
        raise RangeError("the range %s ends before it starts" % one)
    if one.first == int(network.network_address):
        raise RangeError("the range %s holds the network address of %s" % (one, network))
    if network.version == 4 and one.last == int(network.broadcast_address):
        raise RangeError("the range %s holds the broadcast address of %s" % (one, network))


def plan(there: t.Sequence[IpRange], wanted: t.Sequence[IpRange], purge: bool) -> t.List[Step]:
    """The steps from the ranges that are there to the wanted ones, none of which MAAS refuses for an overlap."""
    kept, missing = [], []  # type: t.Tuple[t.List[IpRange], t.List[IpRange]]
    steps = []  # type: t.List[Step]
    for one in wanted:
        same = next((old for old in there if old.is_same(one)), None)
        if same is None:
            missing.append(one)
            continue
        kept.append(same)
        if one.comment is not None and one.comment != same.comment:
            steps.append(Step("update", same, replace(one, id=same.id)))
    surplus = [old for old in there if old not in kept]
    if not purge:
        for one in missing:
            for old in surplus:
                if one.overlaps(old):
                    raise RangeError(
                        "the range %s overlaps %s, which MAAS has; `ranges_purge: true` replaces it" % (one, old)
                    )
        return steps + [Step("create", None, one) for one in missing]
    return steps + _replace(kept, surplus, missing)


def _replace(kept: t.List[IpRange], surplus: t.List[IpRange], missing: t.List[IpRange]) -> t.List[Step]:
    moves = _moves(surplus, missing)
    moved = [old for old, _new in moves]
    placed = [new for _old, new in moves]
    gone = [old for old in surplus if old not in moved]
    # What only goes is in the way of others; while one of a kind is moved there is always one of it.
    steps = [Step("delete", old) for old in gone if any(old.overlaps(new) for new in missing)]
    later = [Step("delete", old) for old in gone if not any(old.overlaps(new) for new in missing)]
    current = [*kept, *moved, *(step.old for step in later if step.old)]
    waiting = [Step("update", old, new) for old, new in moves]
    waiting += [Step("create", None, new) for new in missing if new not in placed]
    while waiting:
        step = next((step for step in waiting if _is_free(step, current)), None)
        if step is None:
            waiting, step = _break_a_ring(waiting, current)
        else:
            waiting.remove(step)
        steps.append(step)
        current = [one for one in current if one != step.old] + ([step.new] if step.new else [])
    return steps + later


def _moves(surplus: t.List[IpRange], missing: t.List[IpRange]) -> t.List[t.Tuple[IpRange, IpRange]]:
    """Pairs of a range that goes and one of its kind that comes, those that share most first."""
    pairs = [(old, new) for old in surplus for new in missing if old.kind == new.kind]
    pairs.sort(key=lambda pair: -pair[0].overlaps(pair[1]))
    moves = []  # type: t.List[t.Tuple[IpRange, IpRange]]
    for old, new in pairs:
        if all(old != taken[0] and new != taken[1] for taken in moves):
            moves.append((old, new))
    return moves


def _is_free(step: Step, current: t.List[IpRange]) -> bool:
    return step.new is not None and not any(step.new.overlaps(one) for one in current if one != step.old)


def _break_a_ring(waiting: t.List[Step], current: t.List[IpRange]) -> t.Tuple[t.List[Step], Step]:
    """Each waits for the place of another: one of them is taken out first, but never the last dynamic one."""
    dynamic = sum(1 for one in current if one.kind == "dynamic")
    for step in waiting:
        if step.old is not None and (step.old.kind != "dynamic" or dynamic > 1):
            rest = [Step("create", None, step.new) if other is step else other for other in waiting]
            return rest, Step("delete", step.old)
    raise RangeError(
        "%s cannot be reached without leaving DHCP without a dynamic range: move the other ranges out of its way first"
        % waiting[0].new
    )
