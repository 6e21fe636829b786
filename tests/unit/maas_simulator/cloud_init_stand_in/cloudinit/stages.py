"""The configuration of the machine, from the file that CLOUD_CFG names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml


class Init:
    """cloud-init's view of the machine."""

    def __init__(self, ds_deps: list[str] | None = None) -> None:
        self.cfg: dict[str, Any] = yaml.safe_load(Path(os.environ["CLOUD_CFG"]).read_text()) or {}
