"""Where a training stood after its last whole epoch; rank 0 keeps it."""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_training import atomic

KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """`epoch` whole epochs are done; `history` holds one mapping per epoch; `model`, `optimizer`: state dicts."""

    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[dict[str, Any]]


def save(folder: Path, checkpoint: Checkpoint, settings: dict[str, Any]) -> Path:
    """Write `epoch-<n>.pt` whole or not at all, and drop all but the newest two."""
    buffer = io.BytesIO()
    torch.save({**vars(checkpoint), "settings": settings}, buffer)
    path = folder / f"epoch-{checkpoint.epoch:04d}.pt"
    atomic.write_bytes(path, buffer.getvalue())
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def clear(folder: Path) -> None:
    """A training that begins anew leaves nothing behind that a later one of the same name could go on from."""
    for path in _newest_first(folder):
        path.unlink(missing_ok=True)
    (folder / "whole").unlink(missing_ok=True)


def mark(folder: Path, epoch: int) -> None:
    """Say on this device, whoever keeps it, that the checkpoint of so many epochs is whole.

    Whoever wants to disturb a training waits for a younger one of these (edge-commit does).
    """
    atomic.write_bytes(folder / "whole", f"{epoch}\n".encode())


def latest(folder: Path, settings: dict[str, Any]) -> Checkpoint | None:
    """The newest readable checkpoint that was made with the same settings, if there is one."""
    for path in _newest_first(folder):
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
            continue  # a worn disk; the one before will do
        if stored.pop("settings", None) == settings:
            return Checkpoint(**stored)
    return None


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if re.fullmatch(r"epoch-\d+\.pt", path.name)), reverse=True)
