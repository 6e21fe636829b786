"""What a training tells while it runs: one JSON object a line, on stdout and in the job's folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Report = Callable[..., None]
LINE_SECONDS = 10.0
"""A training is not silent for longer, whatever an epoch takes."""


@contextmanager
def reporting(folder: Path, speaks: bool) -> Iterator[Report]:
    """A function `report(event, **fields)`; of all ranks only the one that `speaks` writes anything."""
    if not speaks:
        yield lambda event, **fields: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "progress.jsonl").open("a", encoding="utf-8") as file:

        def report(event: str, **fields: Any) -> None:
            line = json.dumps({"event": event, "time": now(), **fields}, sort_keys=False)
            print(line, flush=True)
            file.write(line + "\n")
            file.flush()

        yield report


class Pace:
    """How fast a training goes, told by its steps: when a line is due, and how long the rest will take."""

    def __init__(self, first_step: int, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`steps` in all, of which those before `first_step` were done earlier."""
        self._clock, self._first, self._steps = clock, first_step, steps
        self._began = self._told = clock()
        self._last = first_step

    def due(self) -> bool:
        """Whether the last line is so long ago that silence would worry."""
        return self._clock() - self._told >= LINE_SECONDS

    def tell(self, done: int) -> dict[str, float]:
        """`steps_per_second` since the last line, and `eta_seconds` by the mean of all steps of this run."""
        present = self._clock()
        rate = (done - self._last) / max(present - self._told, 1e-9)
        rest = (self._steps - done) * (present - self._began) / max(done - self._first, 1)
        self._told, self._last = present, done
        return {"steps_per_second": round(rate, 3), "eta_seconds": round(rest, 1)}


def now() -> str:
    """The time in UTC, to the second, as RFC 3339 writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
