# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small JSON files that are whole or not there, whenever the power goes; and folders, for whoever looks at them."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from pathlib import Path
from typing import Any

# Of renameat2(2).
AT_FDCWD = -100
RENAME_EXCHANGE = 2


def read(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one where there is no file, or what a broken disk left of it."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, content: dict[str, Any], mode: int = 0o644) -> None:
    """Replace the file in one step, on the disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def exchange(new: Path, place: Path) -> None:
    """Put a folder in its place at once; what was there before is then at `new`.

    By the kernel's own exchange (renameat2(2)), for which Python has no word. Where the file system has none, the place
    is empty for a moment.
    """
    if not place.exists():
        new.rename(place)
    elif ctypes.CDLL(None).renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE) != 0:
        old = place.with_name(f"{place.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        new.rename(place)
        old.rename(new)
