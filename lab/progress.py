"""One line per thing that happens, the seconds each phase took, and a sign of life in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGN_OF_LIFE_SECONDS = 15.0


class Progress:
    """Prints progress with the time since the start and keeps the phases' durations in seconds."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.phases: dict[str, float] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(time.monotonic() - begin, 1)

    @contextmanager
    def working(self, on: str) -> Iterator[None]:
        """Say every now and then that this is still being worked on."""
        done = threading.Event()

        def remind() -> None:
            while not done.wait(SIGN_OF_LIFE_SECONDS):
                self.say(f"... {on}")

        thread = threading.Thread(target=remind, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def total(self) -> float:
        return round(time.monotonic() - self.start, 1)
