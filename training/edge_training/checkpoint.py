"""Where a training stood after a step: rank 0 and some other devices keep it, each on its own disk.

Whatever a training goes on from is in the file, or follows from the settings: the order of the examples and the random
numbers of a step are those of (seed, epoch, step, rank). So ranks that write the same step write the same state, and a
copy costs no byte on the wire.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_training import atomic

KEPT = 2
NAME = re.compile(r"epoch-(\d+)-step-(\d+)-of-(\d+)\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """`epoch` whole epochs are done, and `step` of the `steps` steps of the next one.

    `history` holds a mapping per epoch; `loss_sum` and `examples` are those of the `step` steps; `model`, `optimizer`:
    state dicts.
    """

    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[dict[str, Any]]
    step: int = 0
    steps: int = 1
    loss_sum: float = 0.0
    examples: int = 0

    def step_of(self, steps: int) -> int:
        """Where an epoch of so many steps goes on: with other ranks, or parts of other sizes, it has others."""
        return self.step * steps // self.steps


@dataclass(frozen=True)
class Stored:
    """A checkpoint's file: its name, and what is in it."""

    name: str
    content: bytes

    @property
    def progress(self) -> float:
        """Epochs that were done."""
        return _progress(self.name)


def save(folder: Path, checkpoint: Checkpoint, settings: dict[str, Any]) -> Path:
    """Write `epoch-<n>-step-<n>-of-<n>.pt` and its checksum, and drop all but the newest two."""
    buffer = io.BytesIO()
    torch.save({**vars(checkpoint), "settings": settings}, buffer)
    name = f"epoch-{checkpoint.epoch:04d}-step-{checkpoint.step:06d}-of-{checkpoint.steps:06d}.pt"
    return store(folder, Stored(name, buffer.getvalue()))


def store(folder: Path, stored: Stored) -> Path:
    """The same of one that another device had."""
    path = folder / stored.name
    atomic.write_with_checksum(path, stored.content)
    for old in _newest_first(folder)[KEPT:]:
        _remove(old)
    return path


def clear(folder: Path) -> None:
    """A training that begins anew leaves nothing behind that a later one of the same name could go on from."""
    for path in _newest_first(folder):
        _remove(path)
    (folder / "whole").unlink(missing_ok=True)


def mark(folder: Path, epoch: int) -> None:
    """Say on this device, whoever keeps it, that a checkpoint is whole; so many epochs are done.

    Whoever wants to disturb a training waits for a younger one of these (edge-commit does).
    """
    atomic.write_bytes(folder / "whole", f"{epoch}\n".encode())


def newest(folder: Path, settings: dict[str, Any]) -> Stored | None:
    """The newest one on this device that matches its checksum and was made with the same settings, if there is one."""
    for path in _newest_first(folder):
        # On a worn disk, or without power in the middle of its writing; the one before will do.
        if atomic.is_whole(path) and _loaded(content := path.read_bytes())["settings"] == settings:
            return Stored(path.name, content)
    return None


def read(stored: Stored) -> Checkpoint:
    """What is in a checkpoint's file."""
    state = _loaded(stored.content)
    del state["settings"]
    return Checkpoint(**state)


def latest(folder: Path, settings: dict[str, Any]) -> Checkpoint | None:
    """What is in the newest one of this device."""
    stored = newest(folder, settings)
    return read(stored) if stored else None


def keepers(hosts: Sequence[str], copies: int) -> list[int]:
    """The ranks that keep checkpoints: rank 0, and the first ranks of so many other hosts."""
    return [hosts.index(host) for host in dict.fromkeys(hosts)][: 1 + copies]


def _loaded(content: bytes) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    atomic.checksum_path(path).unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: _progress(path.name), reverse=True)


def _progress(name: str) -> float:
    found = NAME.fullmatch(name)
    assert found is not None
    epoch, step, steps = map(int, found.groups())
    return epoch + step / steps
