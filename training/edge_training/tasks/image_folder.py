"""Images that lie on each device's own disk, one folder a class: /var/lib/edge/data/images/<class>/*.png."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import nn

from edge_training.task import Examples, Split, Task, TaskError, Tensor
from edge_training.tasks.digits import split_stratified
from edge_training.tasks.network import convolutional

HELD_OUT_SHARE = 0.2
SPLIT_SEED = 8470
MOST_PIXELS_A_SIDE = 256
GREY_MODES = ("1", "L", "LA")


def images_folder() -> Path:
    """EDGE_IMAGE_FOLDER, or the place where a device's data lies."""
    return Path(os.environ.get("EDGE_IMAGE_FOLDER", "/var/lib/edge/data/images"))


@dataclass(frozen=True)
class ImageFolder:
    """What is common (`classes`, `size` as width and height, `channels`) is known once all ranks have agreed.

    `hosts` are those of the ranks: ranks of one device share its images among them.
    """

    folder: Path = field(default_factory=images_folder)
    classes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    channels: int = 1
    hosts: tuple[str, ...] = ()

    name: str = "image_folder"

    @property
    def preprocessing(self) -> str:
        """How an image file becomes an input."""
        width, height = self.size
        colours = "grey value" if self.channels == 1 else "red, green and blue"
        return f"scaled to {width} x {height} pixels; {height} rows of {width} pixels, {colours} from 0 to 255"

    def survey(self) -> dict[str, Any]:
        """Images of each class and of each size on this device, and whether one has colours; only headers are read."""
        by_class: Counter[str] = Counter()
        by_size: Counter[str] = Counter()
        colour = False
        for path in self._files:
            with _opened(path) as image:
                if image.mode.startswith("I"):
                    raise TaskError(f"image_folder: {path} has 16 bits a pixel; save it with 8")
                by_class[path.parent.name] += 1
                by_size[f"{image.width}x{image.height}"] += 1
                colour = colour or image.mode not in GREY_MODES
        return {"classes": dict(by_class), "sizes": dict(by_size), "colour": colour}

    def lacks(self) -> str | None:
        """A device without images would compute nothing."""
        if self._files:
            return None
        return f"image_folder: {self.folder} has no images; put some in {self.folder}/<class>/*.png"

    def agree(self, surveys: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Task, list[str]]:
        """All classes that some device has, in order of name, and the size that most images have."""
        by_host = dict(surveys)
        classes = sorted({name for survey in by_host.values() for name in survey["classes"]})
        if len(classes) < 2:
            raise TaskError(
                f"image_folder: all devices together have {len(classes)} classes in {self.folder}; a classification"
                f" needs two or more: put images in {self.folder}/<class>/*.png"
            )
        sizes = sum((Counter(survey["sizes"]) for survey in by_host.values()), Counter[str]())
        # The most frequent; of equally frequent ones the first by name, so that every rank finds the same.
        common = min(sizes, key=lambda size: (-sizes[size], size))
        width, height = map(int, common.split("x"))
        if max(width, height) > MOST_PIXELS_A_SIDE:
            raise TaskError(
                f"image_folder: most images have {width} x {height} pixels, more than {MOST_PIXELS_A_SIDE} a side;"
                " make them smaller first (for ImageMagick: mogrify -resize 128x128! *.png)"
            )
        channels = 3 if any(survey["colour"] for survey in by_host.values()) else 1
        agreed = replace(
            self,
            classes=tuple(classes),
            size=(width, height),
            channels=channels,
            hosts=tuple(host for host, _survey in surveys),
        )
        return agreed, _notes(by_host, classes, common)

    def data_digest(self) -> str:
        """Of what was agreed, and of every file's name, length and time."""
        listed = [f"{self.classes} {self.size} {self.channels} {self.hosts}"]
        for path in self._files:
            state = path.stat()
            listed.append(f"{path.relative_to(self.folder)} {state.st_size} {state.st_mtime_ns}")
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()

    def model(self) -> nn.Module:
        return convolutional(self.size[1], self.size[0], self.channels, len(self.classes))

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        """This device's images of the split; a fifth of each class is held out. `size` 1: not shared among ranks."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        targets = np.array([numbers[path.parent.name] for path in self._files], np.int64)
        chosen = np.zeros(0, np.int64)
        if len(targets):
            train, held_out = split_stratified(targets, HELD_OUT_SHARE, SPLIT_SEED)
            chosen = train if split == "train" else held_out
        if size > 1:
            neighbours = [other for other, host in enumerate(self.hosts) if host == self.hosts[rank]]
            chosen = chosen[neighbours.index(rank) :: len(neighbours)]
        inputs = np.zeros((len(chosen), *self._shape), np.uint8)
        for place, index in enumerate(chosen):
            inputs[place] = self._pixels(self._files[index])
        return Examples(inputs, targets[chosen])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"accuracy": float((outputs.argmax(dim=1) == targets).float().mean())}

    def example_input(self) -> Tensor:
        return torch.zeros(1, *self._shape)

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*/*.png") if not path.parent.name.startswith("."))

    @property
    def _shape(self) -> tuple[int, ...]:
        width, height = self.size
        return (height, width) if self.channels == 1 else (height, width, 3)

    def _pixels(self, path: Path) -> Any:
        try:
            with _opened(path) as image:
                plain = image.convert("L" if self.channels == 1 else "RGB")
                return np.asarray(plain if plain.size == self.size else plain.resize(self.size))
        except (OSError, SyntaxError) as error:  # Pillow calls a broken PNG a syntax error
            raise TaskError(f"image_folder: {path} is damaged: {error}; replace or remove it") from error


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise TaskError(f"image_folder: {path} is not a PNG image: {error}; replace or remove it") from error


def _notes(by_host: dict[str, dict[str, Any]], classes: list[str], size: str) -> list[str]:
    notes = []
    for host, survey in by_host.items():
        missing = [name for name in classes if name not in survey["classes"]]
        if len(missing) == len(classes):
            notes.append(f"{host}: has no images; it computes nothing, and trains with what the others learn")
        elif missing:
            notes.append(f"{host}: has no images of {', '.join(missing)}; it learns them from the others")
        others = sum(count for one, count in survey["sizes"].items() if one != size)
        if others:
            notes.append(f"{host}: {others} of {sum(survey['sizes'].values())} images are scaled to {size} pixels")
    return notes
