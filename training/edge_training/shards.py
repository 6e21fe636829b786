"""A rank's data on its own device's disk: written once, verified, then the only thing it trains from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from edge_training import atomic
from edge_training.task import Changing, Examples, Split, Task, TaskError


def shard_path(data_dir: Path, task: str, split: Split, rank: int, size: int) -> Path:
    """`<data-dir>/<task>/shard-<rank>-of-<size>.npz`; of held-out data `held-out-...`."""
    stem = "shard" if split == "train" else split
    return data_dir / task / f"{stem}-{rank}-of-{size}.npz"


def local_shard(
    task: Task, split: Split, rank: int, size: int, data_dir: Path, source: str = ""
) -> tuple[Examples, Path]:
    """The rank's part of `split`, read from its file, and the file; the file is written first if it is absent.

    A file that does not match its checksum (power loss, worn disk), or that was made by another `source` (the digest of
    a user's task) or from other data, is written anew.
    """
    path = shard_path(data_dir, task.name, split, rank, size)
    made_from = " ".join(filter(None, (source, task.data_digest() if isinstance(task, Changing) else "")))
    if not atomic.is_whole(path) or _made_from(path) != made_from:
        write_shard(path, task.dataset(split, rank, size), made_from)
    with np.load(path, allow_pickle=False) as stored:
        return Examples(stored["inputs"], stored["targets"]), path


def write_shard(path: Path, examples: Examples, made_from: str = "") -> None:
    """Write the examples, then the checksum that says they are whole (in sha256sum's format)."""
    buffer = io.BytesIO()
    inputs = examples.inputs if examples.inputs.dtype == np.uint8 else examples.inputs.astype(np.float32)
    np.savez(buffer, inputs=inputs, targets=examples.targets.astype(np.int64), made_from=np.array(made_from))
    try:
        atomic.write_with_checksum(path, buffer.getvalue())
    except OSError as error:
        raise TaskError(f"data-dir: cannot write {path}: {error.strerror}; it must belong to uid 8470") from error


def _made_from(path: Path) -> str:
    with np.load(path, allow_pickle=False) as stored:
        return str(stored["made_from"]) if "made_from" in stored else ""
