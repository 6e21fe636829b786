# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is under way, on disk: written whole or not at all, so a power cut leaves the one or the other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from . import files
from .errors import CommitError

OPEN, COMMITTED, DONE, ROLLED_BACK = "open", "committed", "done", "rolled back"
"""Open: the old container counts. Committed: the new one does, and the old is still to be removed."""


@dataclass(frozen=True)
class Old:
    """The container that is to be replaced. `restart` is the engine's RestartPolicy."""

    id: str
    digest: str
    running: bool
    restart: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """Of one container. `wanted` is the fingerprint of what it is made from; times are UTC, as in RFC 3339.

    `unhealthy`: it ran and was not healthy; else it was cut, or the engine refused it. `model_file` says which model it
    serves, if it serves one.
    """

    name: str
    state: str
    digest: str
    wanted: str
    restart: dict[str, Any]
    began: str
    old: Old | None = None
    new: str | None = None
    ended: str | None = None
    reason: str | None = None
    unhealthy: bool = False
    model_file: str | None = None

    @property
    def under_way(self) -> bool:
        return self.state in (OPEN, COMMITTED)

    def to(self, state: str, **more: Any) -> Journal:
        return replace(self, state=state, **more)


@dataclass(frozen=True)
class Deferral:
    """Since when a container is left as it is: `since` by the clock, in seconds since 1970; `up` since the device
    started, which stays true when somebody sets the clock."""

    since: float
    up: float
    boot: str

    @classmethod
    def begin(cls) -> Deferral:
        return cls(time.time(), _up(), _boot())

    @property
    def seconds(self) -> float:
        return _up() - self.up


class Folder:
    """One file per container, and one lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return sorted(file.stem for file in self.path.glob("*.json"))

    def read(self, name: str) -> Journal | None:
        """None where nothing was ever begun. Raises CommitError where the file cannot be read."""
        file = self.path / f"{name}.json"
        try:
            given = json.loads(file.read_text())
            return Journal(
                **{**_known(Journal, given), "old": Old(**_known(Old, given["old"])) if given["old"] else None}
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CommitError(
                f"{file} cannot be read ({error}). Keep one of the containers {name}, {name}.next and {name}.previous "
                f"under the name {name}, remove the others and the file."
            ) from error

    def write(self, journal: Journal) -> None:
        self._write(journal.name, ".json", json.dumps(asdict(journal), indent=2))

    def deferral(self, name: str) -> Deferral | None:
        """None where nothing is deferred, or was before the device started: no training outlives that."""
        try:
            found = Deferral(**json.loads((self.path / f"{name}.deferred").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.boot == _boot() else None

    def defer(self, name: str, deferral: Deferral | None) -> None:
        if deferral is not None:
            self._write(name, ".deferred", json.dumps(asdict(deferral)))
        else:
            (self.path / f"{name}.deferred").unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, name: str, wait_seconds: float) -> Iterator[bool]:
        """The container is this program's alone; false where another keeps it. A dead one's lock is free."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + wait_seconds
        with (self.path / f"{name}.lock").open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        yield False
                        return
                    time.sleep(0.1)
                else:
                    yield True
                    return

    def _write(self, name: str, kind: str, text: str) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(self.path / f"{name}{kind}", text)


def _known(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """Another version of edge-commit may have written more."""
    return {one.name: given[one.name] for one in fields(kind) if one.name in given}


def _up() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
