"""What a training trains: the contract of a task, and how a name becomes one."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

Split: TypeAlias = Literal["train", "held-out"]
Tensor: TypeAlias = Any  # torch.Tensor; torch ships no types that survive without importing all of it

SHORT_NAMES = {"digits": "edge_training.tasks.digits:Digits"}
MEMBERS = ("name", "classes", "preprocessing", "model", "dataset", "loss", "metrics", "example_input")


class TaskError(Exception):
    """A task cannot be used; the message names the field and the fix."""


@dataclass(frozen=True)
class Examples:
    """Examples in memory: `inputs` float32 (n, *shape of one input), `targets` int64 (n,)."""

    inputs: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise TaskError(f"dataset: {len(self.inputs)} inputs but {len(self.targets)} targets; return one each")

    def __len__(self) -> int:
        return len(self.targets)


@runtime_checkable
class Task(Protocol):
    """One supervised classification. Methods must not depend on global state: every rank calls them alone."""

    name: str
    classes: Sequence[str]
    preprocessing: str
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


def load_task(reference: str) -> Task:
    """The task that `reference` names: `digits`, `package.module:Class`, or `/path/file.py:Class`.

    Raises:
        TaskError: nothing of that name can be loaded, or it lacks a member of `Task`.
    """
    location, _colon, name = SHORT_NAMES.get(reference, reference).rpartition(":")
    if not location or not re.fullmatch(r"[A-Za-z_]\w*", name):
        known = ", ".join(sorted(SHORT_NAMES))
        raise TaskError(
            f"task: {reference!r} is not a known task ({known}), nor `package.module:Class`, nor `/path/file.py:Class`"
        )
    module = _module_of_file(Path(location)) if location.endswith(".py") else _module_by_name(location)
    made = getattr(module, name, None)
    if not callable(made):
        raise TaskError(f"task: {location} has no class {name!r}; it has: {', '.join(_classes(module)) or 'none'}")
    return check_task(made(), reference)


def check_task(task: Any, reference: str) -> Task:
    """`task` itself, once it is known to fulfil the contract."""
    missing = [member for member in MEMBERS if not hasattr(task, member)]
    if missing:
        raise TaskError(f"task: {reference} lacks {', '.join(missing)}; see edge_training.task.Task for what each is")
    if len(task.classes) < 2:
        raise TaskError(f"classes: {reference} names {len(task.classes)}; a classification needs two or more")
    example = task.example_input()
    if not isinstance(example, torch.Tensor) or example.dtype != torch.float32 or example.shape[0] != 1:
        raise TaskError(f"example_input: {reference} must return a float32 tensor whose first dimension is 1")
    checked: Task = task
    return checked


def _classes(module: Any) -> list[str]:
    return sorted(
        name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__
    )


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise TaskError(f"task: {path} is not a file on this device; put it there on every worker")
    spec = importlib.util.spec_from_file_location(f"edge_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise TaskError(f"task: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TaskError(f"task: {path} does not load: {type(error).__name__}: {error}") from error
    return module


def _module_by_name(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TaskError(f"task: cannot import {name}: {error}; is its package in the worker image?") from error
