"""How fast the ring is, beside what its links could carry, and which device holds it up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from edge_training import wire
from edge_training.communicator import Communicator

REPEATS = 3
# Of a larger model a part shows it as well; a slow link is kept busy with it once.
MOST_BYTES = 4 << 20
ENOUGH_SECONDS = 2.0
# Differences below this are those of any two devices of one kind.
STANDS_OUT = 1.15


def measure(communicator: Communicator, payload: int) -> tuple[int, float] | None:
    """Bytes of an allreduce, and seconds of the fastest of some on the slowest rank; None where a rank is alone.

    Args:
        payload: bytes that the training's allreduce takes.
    """
    if communicator.size == 1:
        return None
    numbers = torch.ones(max(1, min(payload, MOST_BYTES) // 4))
    communicator.average(numbers)  # connections are made with the first one
    best, spent = math.inf, 0.0
    for _repeat in range(REPEATS):
        communicator.gather(None)  # all begin together
        started = time.perf_counter()
        numbers = communicator.average(numbers)
        seconds = max(communicator.gather(time.perf_counter() - started))
        best, spent = min(best, seconds), spent + seconds
        if spent > ENOUGH_SECONDS:
            break
    return numbers.numel() * 4, best


def report(measured: tuple[int, float] | None, links: Sequence[int | None]) -> dict[str, Any]:
    """`allreduce` of a result: bus bandwidth, which is what a ring sends in that time, beside the slowest link.

    Args:
        measured: what `measure` returns.
        links: bits per second of each rank's link, None where its driver does not say.
    """
    if measured is None:
        return {"allreduce": None}
    payload, seconds = measured
    bus = 8 * wire.ring_bytes(payload, len(links)) / seconds
    known = [link for link in links if link]
    slowest = min(known) if len(known) == len(links) else None
    return {
        "allreduce": {
            "bytes": payload,
            "seconds": round(seconds, 6),
            "bus_bits_per_second": round(bus),
            "link_bits_per_second": slowest,
            "share_of_link": round(bus / slowest, 4) if slowest else None,
        }
    }


def slowest(
    hosts: Sequence[str], compute_seconds: Sequence[float], examples: Sequence[int], links: Sequence[int | None]
) -> dict[str, str]:
    """The host that holds the ring up, and why: its link, its CPU, or that it has more data than others.

    A ring is as fast as its slowest link; a step as fast as its slowest rank.
    """
    known = [link for link in links if link]
    if known and min(known) * STANDS_OUT < median(known):
        rank = links.index(min(known))
        return _found(hosts[rank], f"its link has {_mbit(min(known))} Mbit/s, most have {_mbit(median(known))}")
    rank = max(range(len(hosts)), key=compute_seconds.__getitem__)
    paces = [seconds / max(1, count) for seconds, count in zip(compute_seconds, examples, strict=True)]
    if paces[rank] > STANDS_OUT * median(paces):
        return _found(
            hosts[rank], f"its CPU takes {paces[rank] / median(paces):.1f} times as long for an example as most"
        )
    if examples[rank] > STANDS_OUT * median(examples):
        return _found(hosts[rank], f"it has {examples[rank]} examples, most have {median(examples):.0f}")
    return _found(hosts[rank], "none stands out")


def _found(host: str, why: str) -> dict[str, str]:
    return {"slowest_host": host, "slowest_why": why}


def _mbit(bits: float) -> int:
    return round(bits / 1_000_000)
