# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does this device train: looked for in the worker itself, for a note of it would outlive a power cut."""

from __future__ import annotations

import time
from pathlib import Path

from .engine import Engine

# Every rank was begun by one of these, on the launcher and on all others.
LAUNCHERS = {"mpirun", "orted", "prted", "horovodrun"}


def runs(engine: Engine, container: str) -> bool:
    worker = engine.container(container)
    if worker is None or not worker["State"]["Running"]:
        return False
    return not LAUNCHERS.isdisjoint(engine.processes(container))


def checkpoint_since(folder: str, since: float) -> bool:
    """Has a training finished a checkpoint after that time? Every rank marks it on its own device when it is whole."""
    # What was written while the clock was ahead is no checkpoint to come.
    return bool(folder) and any(since < mark.stat().st_mtime <= time.time() for mark in Path(folder).glob("*/whole"))
