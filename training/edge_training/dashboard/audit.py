"""Who had what done, when, and what came of it: lines of JSON, appended and never changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edge_training.progress import now


def write(file: Path, **fields: Any) -> None:
    """Append one line, and have it on the disk."""
    line = json.dumps({"time": now(), **fields}) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
