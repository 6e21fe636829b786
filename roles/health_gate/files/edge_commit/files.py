# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are whole or as they were: a device loses power."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str, mode: int = 0o600) -> None:
    temporary = file.with_name(f"{file.name}.part")
    with temporary.open("w") as part:
        os.fchmod(part.fileno(), mode)
        part.write(f"{text}\n")
        part.flush()
        os.fsync(part.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
