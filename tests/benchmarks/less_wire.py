# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each way to send fewer bytes costs in accuracy: same epochs, same held-out images, each beside plain training.

    python -m tests.benchmarks.less_wire          (make bench)
    apt-get install dataset-fashion-mnist && python -m tests.benchmarks.less_wire --task fashion_mnist --epochs 3

Ranks are threads of one process: they plan, weight, average and step as in a rack, only the ring is missing. Bytes are
those of the ring's formula. Threads share torch's random numbers, so the last digits vary from run to run.
Writes .bench/less_wire.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import results
from tests.unit.training.conftest import lean_torch
from tests.unit.training.threads import ring

lean_torch.without_compiler()

from edge_training import train  # noqa: E402

Ways = list[dict[str, Any]]

# Of tasks with few batches an epoch, such as digits.
WAYS: Ways = [
    {},
    {"accumulate": 2},
    {"accumulate": 4},
    {"local_steps": 6},
    {"local_steps": 12},
    {"compression": "fp16"},
    {"accumulate": 2, "compression": "fp16"},
    {"compression": "powersgd"},
    {"accumulate": 2, "compression": "powersgd"},
    {"local_steps": 6, "compression": "powersgd"},
]
# An epoch has hundreds of batches: what makes the bytes about a hundredth.
WAYS_OF: dict[str, Ways] = {
    "fashion_mnist": [
        {},
        {"local_steps": 500},  # more than an epoch has: once in each
        {"accumulate": 4, "compression": "powersgd", "powersgd_rank": 2},
        {"local_steps": 7, "compression": "powersgd"},
        {"local_steps": 8, "compression": "powersgd"},
        {"local_steps": 12, "compression": "powersgd"},
    ]
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="digits")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32, help="of each rank")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = [measure(way, given) for way in WAYS_OF.get(given.task, WAYS)]
    results.write("less_wire", found, show(found, given))


def measure(way: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """One way with each seed."""
    runs = [run(way, seed, given) for seed in given.seeds]
    if any(len(one["parameter_hashes"]) > 1 for one in runs):
        raise SystemExit(f"less_wire: {name_of(way)}: ranks ended with different models")
    return {
        "way": way,
        "steps": runs[0]["steps"],
        "bytes_per_epoch": runs[0]["wire_bytes_per_epoch"],
        "accuracy": [one["accuracy"] for one in runs],
        "loss_last": [one["loss_last"] for one in runs],
        "held_out": runs[0]["held_out"],
    }


def run(way: dict[str, Any], seed: int, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        folders: dict[str, Any] = {
            f"{name}_dir": Path(folder, name) for name in ("data", "models", "checkpoints", "state")
        }
        settings = train.Settings(
            job="bench",
            task=given.task,
            epochs=given.epochs,
            batch_size=given.batch_size,
            seed=seed,
            **folders,
            **way,
        )
        first, *_ = ring(given.ranks, lambda communicator: train.run(settings, communicator))
        return first


def name_of(way: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in way.items()) or "plain"


def show(found: list[dict[str, Any]], given: argparse.Namespace) -> str:
    plain = found[0]
    batches = plain["steps"] / given.epochs  # a plain step takes one batch of each rank
    lines = [
        "# Fewer bytes on the wire",
        "",
        f"{given.task}, {given.ranks} ranks, {given.epochs} epochs of {batches:.0f} batches of {given.batch_size};"
        f" {plain['held_out']} held-out examples, mean and range of {len(given.seeds)} seeds.",
        "",
        "| way | steps | bytes a rank sends per batch | of plain | accuracy | last loss |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {name_of(one['way'])} | {one['steps']} | {one['bytes_per_epoch'] / batches:,.0f}"
            f" | {100 * one['bytes_per_epoch'] / plain['bytes_per_epoch']:.3g}%"
            f" | {statistics.mean(one['accuracy']):.4f} ({min(one['accuracy']):.4f} to {max(one['accuracy']):.4f})"
            f" | {statistics.mean(one['loss_last']):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
