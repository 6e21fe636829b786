# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Fashion-MNIST reaches with one device and with several, on the same held-out images, without a rack:

    apt-get install dataset-fashion-mnist
    python -m tests.benchmarks.fashion_mnist --epochs 12 --ranks 1 4 8

Ranks are threads of one process: they plan, weight, average and step as in a rack, only the ring is missing. Threads
share torch's random numbers, so the last digit varies from run to run. `--sorted` gives each rank a stretch of the
images in order of class, so that it holds two or three classes and none of the others.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.unit.training.conftest import lean_torch
from tests.unit.training.threads import ring

lean_torch.without_compiler()

from edge_training import train  # noqa: E402
from edge_training.task import Examples, Split  # noqa: E402
from edge_training.tasks.fashion_mnist import FashionMnist  # noqa: E402


class SortedFashionMnist(FashionMnist):
    """Held-out images are spread evenly, training images by class."""

    name = "fashion_mnist_sorted"

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        if split == "held-out":
            return super().dataset(split, rank, size)
        images = super().dataset(split, 0, 1)
        chosen = np.array_split(np.argsort(images.targets, kind="stable"), size)[rank]
        return Examples(images.inputs[chosen], images.targets[chosen])


def measure(ranks: int, task: str, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        folders: dict[str, Any] = {
            f"{name}_dir": Path(folder, name) for name in ("data", "models", "checkpoints", "state")
        }
        settings = train.Settings(
            job="bench",
            task=task,
            epochs=given.epochs,
            batch_size=given.batch_size,
            learning_rate=given.rate,
            **folders,
        )
        first, *_ = ring(ranks, lambda communicator: train.run(settings, communicator))
        return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32, help="of each rank")
    parser.add_argument("--rate", type=float, default=0.002, help="of one rank")
    parser.add_argument("--sorted", action="store_true", help="each rank holds few classes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = "tests.benchmarks.fashion_mnist:SortedFashionMnist" if given.sorted else "fashion_mnist"
    lines = ["ranks  accuracy  last loss  one model  seconds"]
    for ranks in given.ranks:
        started = time.monotonic()
        result = measure(ranks, task, given)
        seconds = time.monotonic() - started
        one = "yes" if len(result["parameter_hashes"]) == 1 else "NO"
        lines.append(f"{ranks:5}  {result['accuracy']:8.4f}  {result['loss_last']:9.4f}  {one:>9}  {seconds:7.0f}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
