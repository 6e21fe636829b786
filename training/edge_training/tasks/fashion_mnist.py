"""Fashion-MNIST: 60,000 and 10,000 images of clothes, 28 x 28 pixels, from Debian's package dataset-fashion-mnist."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edge_training.task import Examples, Split, TaskError, Tensor
from edge_training.tasks.network import convolutional

PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
PREFIXES: dict[Split, str] = {"train": "train", "held-out": "t10k"}
UNSIGNED_BYTES = 0x08
REMEDY = (
    "install the package dataset-fashion-mnist on every trainer (edge.rack.train does), or set EDGE_FASHION_MNIST_DIR"
)


class FashionMnist:
    """Ten classes, one input is 28 rows of 28 pixels from 0 (nothing) to 255."""

    name = "fashion_mnist"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    preprocessing = "none: 28 rows of 28 pixel values from 0 (background) to 255"

    def model(self) -> nn.Module:
        return convolutional(28, 28, channels=1, classes=len(self.classes))

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        """Every `size`-th image of the split, from `rank` on; the data set's own order is a shuffled one."""
        images, labels = (read_idx(path) for path in files_of(split))
        # A copy: a view would hold all images in memory.
        return Examples(images[rank::size].copy(), labels[rank::size].astype(np.int64))

    def lacks(self) -> str | None:
        missing = [path for split in PREFIXES for path in files_of(split) if not path.is_file()]
        return f"fashion_mnist: {missing[0]} is missing; {REMEDY}" if missing else None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"accuracy": float((outputs.argmax(dim=1) == targets).float().mean())}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 28, 28)


def files_of(split: Split) -> tuple[Path, Path]:
    """Where images and labels lie."""
    folder = Path(os.environ.get("EDGE_FASHION_MNIST_DIR", PACKAGE_FOLDER))
    return folder / f"{PREFIXES[split]}-images-idx3-ubyte.gz", folder / f"{PREFIXES[split]}-labels-idx1-ubyte.gz"


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The bytes of a compressed IDX file in their shape: two zeros, type, dimensions, each length, the values."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError as error:
        raise TaskError(f"fashion_mnist: {path} is missing; {REMEDY}") from error
    except (OSError, EOFError) as error:
        raise TaskError(f"fashion_mnist: {path} is damaged: {error}; install dataset-fashion-mnist again") from error
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int(length) for length in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    if content[:3] != bytes((0, 0, UNSIGNED_BYTES)) or not shape or len(content) != start + math.prod(shape):
        raise TaskError(f"fashion_mnist: {path} is not a whole IDX file of bytes; install dataset-fashion-mnist again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
