"""Where benchmarks leave what they found, and where their report reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parents[2] / ".bench"


def write(name: str, found: Any, text: str) -> None:
    """Write .bench/NAME.json and NAME.md, and show the text."""
    BENCH.mkdir(exist_ok=True)
    (BENCH / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    (BENCH / f"{name}.md").write_text(text.rstrip("\n") + "\n")
    print(text)
