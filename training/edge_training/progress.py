"""What a training tells while it runs: one JSON object a line, on stdout and in the job's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Report = Callable[..., None]


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


def now() -> str:
    """The time in UTC, to the second, as RFC 3339 writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
