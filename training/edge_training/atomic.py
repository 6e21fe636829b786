"""Files that are either whole or absent: devices lose power."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a synced temporary file in the same folder, which is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Without it the new name may be lost with the power, though the content is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_with_checksum(path: Path, content: bytes) -> None:
    """Write `content`, then beside it the checksum that says it is whole (`<name>.sha256`, in sha256sum's format)."""
    write_bytes(path, content)
    write_bytes(checksum_path(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n".encode())


def is_whole(path: Path) -> bool:
    """Whether the file and its checksum are there and agree."""
    try:
        expected = checksum_path(path).read_text().split()[0]
        return hashlib.sha256(path.read_bytes()).hexdigest() == expected
    except (OSError, IndexError):
        return False


def checksum_path(path: Path) -> Path:
    """Where the checksum of `path` lies."""
    return path.with_name(path.name + ".sha256")
