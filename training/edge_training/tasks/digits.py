"""Handwritten digits, 8 x 8 pixels: the 1797 images that come with scikit-learn."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_training.task import Examples, Split, TaskError, Tensor

HELD_OUT_SHARE = 0.2
SPLIT_SEED = 8470
IMAGE_COPY = Path("/opt/edge/share/digits.csv.gz")


class _Scale(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Pixels 0..16 to 0..1, inside the model, so that a Predictor is given pixels."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels / 16.0


class Digits:
    """Ten classes, one input is 64 pixels from 0 (paper) to 16 (ink), row by row."""

    name = "digits"
    classes = tuple("0123456789")
    preprocessing = "none: 64 pixel values from 0 to 16, row by row"

    def model(self) -> nn.Module:
        """A small convolutional network, 85 thousand parameters: (n, 64) -> (n, 10)."""
        return nn.Sequential(
            _Scale(),
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 152),
            nn.ReLU(),
            nn.Linear(152, 10),
        )

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        """Every `size`-th example of the split, from `rank` on: parts differ by one example at most."""
        pixels, digits = read_digits(digits_file())
        train, held_out = split_stratified(digits, HELD_OUT_SHARE, SPLIT_SEED)
        chosen = (train if split == "train" else held_out)[rank::size]
        return Examples(pixels[chosen], digits[chosen])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"accuracy": float((outputs.argmax(dim=1) == targets).float().mean())}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 64)


def split_stratified(
    targets: npt.NDArray[np.int64], held_out_share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices (train, held-out), each shuffled; every class gives the same share. The same on every rank."""
    generator = np.random.default_rng(seed)
    train, held_out = [], []
    for label in np.unique(targets):
        members = generator.permutation(np.flatnonzero(targets == label))
        cut = round(len(members) * held_out_share)
        held_out.append(members[:cut])
        train.append(members[cut:])
    return generator.permutation(np.concatenate(train)), generator.permutation(np.concatenate(held_out))


def read_digits(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Pixels (1797, 64) and digits (1797,) from scikit-learn's table: 64 pixels and the digit on each line."""
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    return table[:, :-1].astype(np.float32), table[:, -1].astype(np.int64)


def digits_file() -> Path:
    """Where the table lies: EDGE_DIGITS_FILE, the worker image's copy, or an installed scikit-learn.

    scikit-learn is located, never imported: it would bring SciPy, 60 MiB of memory for one table.
    """
    candidates = [Path(os.environ["EDGE_DIGITS_FILE"])] if "EDGE_DIGITS_FILE" in os.environ else [IMAGE_COPY]
    package = importlib.util.find_spec("sklearn")
    if package and package.submodule_search_locations:
        candidates.append(Path(package.submodule_search_locations[0], "datasets/data/digits.csv.gz"))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise TaskError(f"digits: no table at {', '.join(map(str, candidates))}; set EDGE_DIGITS_FILE")
