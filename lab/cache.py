"""Expensive things are made once: each lies in the cache under a key that changes when its recipe does."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path


def key(*recipe: str | bytes | Path) -> str:
    """Twelve hexadecimal digits that change when any part of the recipe changes; a Path counts by content."""
    digest = hashlib.sha256()
    for part in recipe:
        content = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()[:12]


def made(target: Path, make: Callable[[Path], None]) -> bool:
    """Have `make` write `target` unless it is there; True when it was made.

    It is written beside its place and moved there when complete, so that an interrupted run leaves nothing
    that looks finished.
    """
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"lock-{target.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another lab may be making the same
        if target.exists():
            return False
        partial = target.with_name(f"partial-{target.name}")
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
        make(partial)
        partial.rename(target)
    return True


def tree(folder: Path, *, skip: frozenset[str] = frozenset({"__pycache__", "wheels"})) -> list[str | Path]:
    """The recipe of a folder: the name and content of every file in it."""
    parts: list[str | Path] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not skip.intersection(path.relative_to(folder).parts):
            parts += [str(path.relative_to(folder)), path]
    return parts
