"""Who trains on what at which step: the same plan on every rank, whatever the sizes of their shards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """One epoch: `steps` steps on every rank; rank r brings `batch(r, step)` examples to a step."""

    shard_sizes: tuple[int, ...]
    steps: int

    def batch(self, rank: int, step: int) -> int:
        """Examples that `rank` brings to `step`: its shard, spread as evenly as it goes; it may be 0."""
        size = self.shard_sizes[rank]
        return size // self.steps + (1 if step < size % self.steps else 0)

    def weight(self, rank: int, *steps: int) -> float:
        """What the rank counts for in these steps, so that the average over ranks is the mean over their examples."""
        brought = [sum(self.batch(other, step) for step in steps) for other in range(len(self.shard_sizes))]
        return brought[rank] * len(brought) / sum(brought)

    def together(self, step: int, local_steps: int) -> range:
        """Those that ranks take alone, this one among them, until they average; they always do at an epoch's end."""
        first = step - step % local_steps
        return range(first, min(first + local_steps, self.steps))


def plan_epoch(shard_sizes: Sequence[int], batch_size: int) -> Plan:
    """As many steps as the largest shard needs at `batch_size` examples a step: no rank waits for one that is done."""
    if max(shard_sizes) == 0:
        raise ValueError("dataset: the training split is empty on every rank")
    return Plan(tuple(shard_sizes), math.ceil(max(shard_sizes) / batch_size))


def batches(plan: Plan, rank: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The rank's example indices for each step of an epoch: a permutation of its shard, new each epoch."""
    order = np.random.default_rng((seed, epoch, rank)).permutation(plan.shard_sizes[rank])
    return [part.astype(np.int64) for part in np.array_split(order, plan.steps)]


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """What the random numbers of a rank's step (dropout, say) begin with: a training that goes on draws the same."""
    return int(np.random.SeedSequence((seed, epoch, step, rank)).generate_state(1)[0])


def learning_rate(base: float, batches: int, step: int, total_steps: int) -> float:
    """The rate at a step of so many batches: base x sqrt(batches), reached over the first tenth of all steps, then a
    cosine down to 5 %.

    The square root suits Adam, whose step does not grow with the batch (Krizhevsky, arXiv 1404.5997, section 5;
    Malladi et al., arXiv 2205.10287); the slow start follows Goyal et al., arXiv 1706.02677.
    """
    peak = base * math.sqrt(batches)
    warm_up = max(1, round(total_steps * WARM_UP_SHARE))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total_steps - warm_up)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))
