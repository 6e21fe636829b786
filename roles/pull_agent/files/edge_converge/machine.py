# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the machine itself stands: its disk, and what runs on it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

SECONDS = 20


def disk_free_percent(folder: Path) -> int:
    """Of the file system that the folder is on; 0 to 100."""
    usage = shutil.disk_usage(folder)
    return round(100 * usage.free / usage.total)


def containers() -> dict[str, str]:
    """State of each container by its name: its health where it has a check (`healthy`), or else `running`, `exited`...

    Empty where the engine does not answer.
    """
    found = [json.loads(line) for line in _said("docker", "container", "ls", "--all", "--format", "{{json .}}")]
    return {one["Names"]: _state(one["State"], one["Status"]) for one in found}


def deferred() -> list[str]:
    """Containers whose new image waits for the end of a training, as the health gate has it (role health_gate)."""
    told = json.loads("".join(_said("edge-commit", "status", "--json")) or "{}")
    return sorted(name for name, state in told.items() if state.get("deferred_since"))


def _said(*argv: str) -> list[str]:
    """Lines that a program of this machine prints; none where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _state(state: str, status: str) -> str:
    # `Up 3 hours (healthy)`: the health stands in no field of its own.
    _before, opened, health = status.partition("(")
    return health.rstrip(")").removeprefix("health: ") if opened and state == "running" else state
