# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a container healthy: by its HEALTHCHECK, and by an address of the device that is to answer 200."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from typing import Any

from .engine import NANOSECONDS, Engine
from .errors import CommitError, EngineAwayError
from .wanted import Wanted

POLL_SECONDS = 0.2
# The engine makes its first check when the whole interval is over; until then the same program is run from here.
OWN_SECONDS = 1.0
ENGINE_DEFAULT_SECONDS = 30
ANSWER_SECONDS = 5


def can_be_seen(wanted: Wanted, image: dict[str, Any]) -> bool:
    check = wanted.options.get("healthcheck") or (image.get("Config") or {}).get("Healthcheck") or {}
    return bool(wanted.health_url) or check.get("test", check.get("Test")) not in (None, [], ["NONE"])


def wait(engine: Engine, container: str, wanted: Wanted) -> str | None:
    """None once it is healthy, else why it is not. An engine that restarts meanwhile is waited for."""
    deadline = time.monotonic() + wanted.health_deadline_seconds
    next_own, told = time.monotonic(), ""
    while True:
        own = next_own <= time.monotonic() < deadline
        try:
            final, found = look(engine, container, wanted, own_check_until=deadline if own else None)
        except EngineAwayError as error:
            final, found = False, str(error)
        if found is None or final:
            return found
        if own:
            next_own, told = time.monotonic() + OWN_SECONDS, found
        if time.monotonic() >= deadline:
            return f"it is not healthy within {wanted.health_deadline_seconds:g} seconds: {told or found}"
        time.sleep(POLL_SECONDS)


def look(
    engine: Engine, container: str, wanted: Wanted, *, own_check_until: float | None = None
) -> tuple[bool, str | None]:
    """Whether waiting is of no use, and what is wrong; None where it is healthy.

    With a time (monotonic) for `own_check_until`, one of which the engine knows nothing yet is checked from here.
    """
    found = engine.container(container)
    if found is None:
        return True, "it was removed"
    state = found["State"]
    if not state["Running"]:
        return True, f"it ended with exit status {state['ExitCode']} {state['Error']}".rstrip()
    health = state.get("Health") or {"Status": "healthy"}
    status = health["Status"]
    said = ((health.get("Log") or [{}])[-1].get("Output") or "").strip()
    if status == "starting" and own_check_until is not None:
        passed, own_words = _own_check(engine, found, own_check_until)
        status, said = ("healthy", "") if passed else (status, own_words or said)
    if status != "healthy":
        return status == "unhealthy", f"its HEALTHCHECK is {status} and says: {said or 'nothing'}"
    return False, _answer(wanted.health_url) if wanted.health_url else None


def _own_check(engine: Engine, container: dict[str, Any], until: float) -> tuple[bool, str]:
    """Whether the program of its HEALTHCHECK passes, and its words.

    One that hangs is left to itself: the engine has no way to end it.
    """
    check = container["Config"]["Healthcheck"]
    kind, *words = check["Test"]
    command = [*(container["Config"].get("Shell") or ["/bin/sh", "-c"]), *words] if kind == "CMD-SHELL" else words
    limit = check.get("Timeout", 0) / NANOSECONDS or ENGINE_DEFAULT_SECONDS
    ended: list[tuple[int, str]] = []

    def run() -> None:
        try:
            ended.append(engine.run(container["Id"], command))
        except CommitError as error:  # it ended meanwhile, or the engine went away: the next look says so
            ended.append((1, str(error)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(min(limit, max(OWN_SECONDS, until - time.monotonic())))
    exit_status, said = ended[0] if ended else (1, "")
    return exit_status == 0, said


def _answer(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - http, see wanted.py
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, ValueError) as error:
        return f"{url} does not answer well: {error}"
