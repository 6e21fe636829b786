# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time: a pull waits for a push and a push for a pull.

A pull holds a lock of the kernel's, which ends with it (flock(2)). A push is many connections, so it leaves a note with
an end instead; a push that dies is waited for no longer than that. Both are in /run, which a reboot empties.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import files

LOCK = Path("/run/edge/converge.lock")
SENDING = Path("/run/edge/converge-reports.lock")
HOLD = Path("/run/edge/push.json")
NOW = Path("/run/edge/converge-now")
POLL_SECONDS = 0.5


class BusyError(Exception):
    """Somebody else converges this device; the text says who and until when."""


@contextmanager
def locked(path: Path, seconds: float, what: str) -> Iterator[None]:
    """Hold the lock; BusyError where it is not free within so many seconds."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(f"{what} goes on (process {_text(descriptor) or 'unknown'})") from None
                time.sleep(POLL_SECONDS)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def pull(seconds: float) -> Iterator[None]:
    """For a run of the device's own: BusyError while another one or a push goes on."""
    deadline = time.monotonic() + seconds
    while True:
        with locked(LOCK, max(0, deadline - time.monotonic()), "a run"):
            if not (held := holder()):
                yield
                return
        # Waited for without the lock, which that push asks for when it is begun anew.
        if time.monotonic() >= deadline:
            raise BusyError(_pushes(held))
        time.sleep(POLL_SECONDS)


@contextmanager
def sending() -> Iterator[None]:
    """For who sends reports."""
    with locked(SENDING, 0, "sending reports"):
        yield


def hold(by: str, push: str, seconds: float, wait_seconds: float) -> None:
    """For a push, by its own name: keep runs of the device's own away for so many seconds, or until release().

    BusyError where one runs for longer than wait_seconds, or another push holds it.
    """
    with locked(LOCK, wait_seconds, "a run"):
        held = holder()
        if held and held["push"] != push:
            raise BusyError(_pushes(held))
        files.write(HOLD, {"by": by, "push": push, "until": time.time() + seconds})


def release(push: str) -> None:
    """End the hold of this push; that of another one stays."""
    if files.read(HOLD).get("push") == push:
        HOLD.unlink(missing_ok=True)


def holder() -> dict[str, object] | None:
    """The push that goes on, or None."""
    held = files.read(HOLD)
    until = held.get("until")
    return held if isinstance(until, (int, float)) and until > time.time() else None


def _pushes(held: dict[str, object]) -> str:
    until = time.strftime("%H:%M:%S", time.localtime(float(str(held["until"]))))
    return f"{held['by']} pushes, until {until} at the latest; if that push is dead, remove {HOLD}"


def _text(descriptor: int) -> str:
    return os.pread(descriptor, 100, 0).decode(errors="replace").strip()
