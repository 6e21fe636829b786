"""The region: its settings, its store and one request of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request

from lab.maas_simulator.forms import Fields
from lab.maas_simulator.settings import Settings
from lab.maas_simulator.store import Store

API = "/MAAS/api/2.0/"


@dataclass
class Region:
    """What every handler works on."""

    settings: Settings
    store: Store
    # Set whenever a task was planned, so that the worker need not poll fast.
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    # Subnets and VLANs as the API shows them, each of them in many machines: (table, id) -> document.
    shown: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    # One upload at a time for each content.
    uploads: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def release(self) -> tuple[int, int]:
        """(3, 4) or (3, 6)."""
        return self.settings.release

    @property
    def images(self) -> Path:
        """The folder of the uploaded image files, named by their sha256."""
        return self.settings.data / "images"


@dataclass(frozen=True)
class Call:
    """One request of the API, parsed."""

    region: Region
    params: dict[str, str]
    query: Fields
    data: Fields
    user: str | None
    request: Request

    @property
    def store(self) -> Store:
        """Shorthand."""
        return self.region.store

    @property
    def caller(self) -> str:
        """The name of the user; only for handlers that are not anonymous."""
        assert self.user is not None
        return self.user
