# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranks as threads of one process: they plan, weight, average and step as in a rack; only the ring is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from edge_training import train
from edge_training.communicator import Alone
from edge_training.task import Task


def ring(size: int, run: Callable[[Thread], dict[str, Any]]) -> list[dict[str, Any]]:
    """What `run` returns on each rank; a rank that fails takes the others with it."""
    slots: list[Any] = [None] * size
    barrier = threading.Barrier(size)

    def run_rank(rank: int) -> dict[str, Any]:
        try:
            return run(Thread(rank, slots, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run_rank, range(size)))


@contextmanager
def training_of(task: type[Task], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ranks train, whatever their settings name; no model is exported, and each computes in one thread."""
    monkeypatch.setattr(train, "load_task", lambda _reference: task())
    monkeypatch.setattr(train, "export_model", lambda *_: {})
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(folder: Path, **changes: Any) -> train.Settings:
    """Of a job whose folders are in `folder`, and which keeps no checkpoint by time."""
    folders = {f"{name}_dir": folder / name for name in ("data", "models", "checkpoints", "state")}
    return train.Settings(**{"job": "unit", "checkpoint_minutes": 0, **folders, **changes})


def kept(chosen: train.Settings) -> list[str]:
    """Names of its checkpoints."""
    return sorted(path.name for path in chosen.checkpoints.glob("*.pt"))


class Thread(Alone):
    """One rank; all share `slots` and the barrier."""

    def __init__(self, rank: int, slots: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(slots)
        self.slots, self.barrier = slots, barrier

    def gather(self, value: Any) -> list[Any]:
        self.slots[self.rank] = value
        self.barrier.wait()
        gathered = list(self.slots)
        self.barrier.wait()
        return gathered

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]

    def share_start(self, model: Any, optimizer: Any) -> None:
        model.load_state_dict({name: one.clone() for name, one in self.broadcast(model.state_dict()).items()})
        self.barrier.wait()

    def distributed(self, model: Any, optimizer: Any, accumulate: int, fp16: bool) -> Any:
        parameters = list(model.parameters())

        def average(*_: Any) -> None:
            everyone = self.gather([one.grad.half() if fp16 else one.grad for one in parameters])
            means = [(sum(grads[1:], grads[0]) / self.size).float() for grads in zip(*everyone, strict=True)]
            self.barrier.wait()
            for one, mean in zip(parameters, means, strict=True):
                one.grad = mean

        optimizer.register_step_pre_hook(average)
        return optimizer

    def average(self, tensor: Any, name: str = "average") -> Any:
        mean = torch.stack(self.gather(tensor)).mean(0)
        self.barrier.wait()
        return mean
