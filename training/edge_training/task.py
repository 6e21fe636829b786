"""What a training trains: the contract of a task, and how a name becomes one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from edge_training.source import Source, SourceError

Split: TypeAlias = Literal["train", "held-out"]
Tensor: TypeAlias = Any  # torch.Tensor; torch ships no types that survive without importing all of it

SHORT_NAMES = {
    "digits": "edge_training.tasks.digits:Digits",
    "fashion_mnist": "edge_training.tasks.fashion_mnist:FashionMnist",
    "image_folder": "edge_training.tasks.image_folder:ImageFolder",
}
METHODS = ("model", "dataset", "loss", "metrics", "example_input")
MEMBERS = ("name", "classes", "preprocessing", *METHODS)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class TaskError(Exception):
    """A task cannot be used; the message names the field and the fix."""


@dataclass(frozen=True)
class Examples:
    """Examples in memory: `inputs` float32, or uint8 as pixels are, (n, *shape of one input); `targets` int64 (n,)."""

    inputs: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise TaskError(f"dataset: {len(self.inputs)} inputs but {len(self.targets)} targets; return one each")

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, chosen: slice | npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Inputs (float32, as every model is given them) and targets of the chosen examples."""
        return torch.from_numpy(self.inputs[chosen]).float(), torch.from_numpy(self.targets[chosen])


@runtime_checkable
class Task(Protocol):
    """One supervised classification. Methods must not depend on global state: every rank calls them alone."""

    @property
    def name(self) -> str:
        """Lower-case letters, digits, `_` and `-`."""

    @property
    def classes(self) -> Sequence[str]:
        """The name of each target, in order."""

    @property
    def preprocessing(self) -> str:
        """One sentence: how raw data becomes an input. What the model's own graph does needs no word here."""

    def model(self) -> Any:
        """A new torch.nn.Module: inputs (n, *shape) -> logits (n, len(classes)). Seeded by the caller."""

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        """The part of `split` that belongs to `rank` of `size`; parts are disjoint and together the whole split."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over a batch, a scalar tensor."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Means over a batch, `accuracy` (0 to 1) among them."""

    def example_input(self) -> Tensor:
        """One batch of one input, float32 (1, *shape): it fixes the shape of the exported model."""


@runtime_checkable
class Changing(Protocol):
    """What a task has besides where the data on a device changes from one training to the next."""

    def data_digest(self) -> str:
        """What the examples are made from; when it is another, they are read anew."""


@runtime_checkable
class Wanting(Protocol):
    """What a task has besides where a device may lack the data: it is asked before the start."""

    def lacks(self) -> str | None:
        """What this device does not have, and how it gets it; None where nothing is missing."""


@runtime_checkable
class Surveying(Protocol):
    """What a task has besides where each device brings data of its own: ranks agree before the start."""

    def survey(self) -> dict[str, Any]:
        """What this device has, in plain values."""

    def agree(self, surveys: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Task, list[str]]:
        """From every rank's host name and survey, in order of rank: the task that all train, and what is worth saying.

        Every rank is given the same and must come to the same. Raises TaskError where no training can come of it.
        """


def load_task(reference: str) -> Task:
    """The task that `reference` names: `digits`, `package.module:Class`, `/path/file.py` or `/path/package`.

    After a path, `:Class` is needed only where more than one class could be the task.

    Raises:
        TaskError: nothing of that name can be loaded, or it lacks a member of `Task`.
    """
    location, name = split_reference(reference)
    module = _module_at(location) if "/" in location else _module_by_name(location)
    made = getattr(module, name, None) if name else _only_task(module, location)
    if not callable(made):
        raise TaskError(f"task: {location} has no class {name!r}; it has: {', '.join(_classes(module)) or 'none'}")
    task: Task = _with_members(made(), reference)
    return task if isinstance(task, Surveying) else check_task(task, reference)


def split_reference(reference: str) -> tuple[str, str]:
    """Where a task is, a module's name or a path (it has a slash), and its class; '' for the only one there."""
    location, _colon, name = SHORT_NAMES.get(reference, reference).rpartition(":")
    if not location and (name.endswith(".py") or "/" in name):
        location, name = name, ""
    if location.endswith(".py") and "/" not in location:
        location = f"./{location}"
    if not location or (not name and "/" not in location) or (name and not re.fullmatch(r"[A-Za-z_]\w*", name)):
        known = ", ".join(sorted(SHORT_NAMES))
        raise TaskError(
            f"task: {reference!r} is not a known task ({known}), nor `package.module:Class`, nor a path:"
            " `/path/file.py[:Class]`"
        )
    return location, name


def source_of(reference: str) -> Source | None:
    """The files of a task that is named by its path; None for what is part of the image, or names nothing."""
    try:
        location, _name = split_reference(reference)
    except TaskError:
        return None
    return Source(Path(location).resolve()) if "/" in location else None


def check_task(task: Any, reference: str) -> Task:
    """`task` itself, once it is known to fulfil the contract."""
    checked: Task = _with_members(task, reference)
    if not NAME.fullmatch(str(checked.name)):
        raise TaskError(
            f"name: {checked.name!r}: use lower-case letters, digits, '_' and '-'; folders are named after it"
        )
    if len(checked.classes) < 2:
        raise TaskError(f"classes: {reference} names {len(checked.classes)}; a classification needs two or more")
    example = checked.example_input()
    if not isinstance(example, torch.Tensor) or example.dtype != torch.float32 or example.shape[0] != 1:
        raise TaskError(f"example_input: {reference} must return a float32 tensor whose first dimension is 1")
    return checked


def _with_members(task: Any, reference: str) -> Any:
    missing = [member for member in MEMBERS if not hasattr(task, member)]
    if missing:
        raise TaskError(f"task: {reference} lacks {', '.join(missing)}; see edge_training.task.Task for what each is")
    return task


def _only_task(module: Any, location: str) -> Any:
    found = _classes(module)
    tasks = [name for name in found if all(hasattr(getattr(module, name), method) for method in METHODS)]
    if len(tasks) == 1:
        return getattr(module, tasks[0])
    if tasks:
        raise TaskError(f"task: {location} has more than one ({', '.join(tasks)}); name one: {location}:{tasks[0]}")
    if len(found) == 1:
        return getattr(module, found[0])  # what it lacks is said by its members' check
    raise TaskError(
        f"task: {location} has no class with {', '.join(METHODS)}; it has: {', '.join(found) or 'no class'}"
    )


def _classes(module: Any) -> list[str]:
    return sorted(
        name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__
    )


def _module_at(location: str) -> Any:
    try:
        return Source(Path(location).resolve()).load()
    except SourceError as error:
        raise TaskError(str(error)) from error


def _module_by_name(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TaskError(f"task: cannot import {name}: {error}; is its package in the worker image?") from error
