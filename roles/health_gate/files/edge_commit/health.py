# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a container healthy: by its HEALTHCHECK, and by an address of the device that is to answer 200."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

from .engine import Engine
from .errors import EngineAwayError
from .wanted import Wanted

POLL_SECONDS = 0.2
ANSWER_SECONDS = 5


def can_be_seen(wanted: Wanted, image: dict[str, Any]) -> bool:
    check = wanted.options.get("healthcheck") or (image.get("Config") or {}).get("Healthcheck") or {}
    return bool(wanted.health_url) or check.get("test", check.get("Test")) not in (None, [], ["NONE"])


def wait(engine: Engine, container: str, wanted: Wanted) -> str | None:
    """None once it is healthy, else why it is not. An engine that restarts meanwhile is waited for."""
    deadline = time.monotonic() + wanted.health_deadline_seconds
    while True:
        try:
            final, found = look(engine, container, wanted)
        except EngineAwayError as error:
            final, found = False, str(error)
        if found is None or final:
            return found
        if time.monotonic() >= deadline:
            return f"it is not healthy within {wanted.health_deadline_seconds:g} seconds: {found}"
        time.sleep(POLL_SECONDS)


def look(engine: Engine, container: str, wanted: Wanted) -> tuple[bool, str | None]:
    """Whether waiting is of no use, and what is wrong; None where it is healthy."""
    found = engine.container(container)
    if found is None:
        return True, "it was removed"
    state = found["State"]
    if not state["Running"]:
        return True, f"it ended with exit status {state['ExitCode']} {state['Error']}".rstrip()
    health = state.get("Health") or {"Status": "healthy"}
    if health["Status"] != "healthy":
        said = ((health.get("Log") or [{}])[-1].get("Output") or "nothing").strip()
        return health["Status"] == "unhealthy", f"its HEALTHCHECK is {health['Status']} and says: {said}"
    return False, _answer(wanted.health_url) if wanted.health_url else None


def _answer(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - http, see wanted.py
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, ValueError) as error:
        return f"{url} does not answer well: {error}"
