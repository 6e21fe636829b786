# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser for tests: Debian's chromium, installed where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from lab import host

PROGRAM = Path("/usr/bin/chromium")
LOGS = Path(__file__).resolve().parent / "output/logs"


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser, without a page; LOGS is there for screenshots."""
    LOGS.mkdir(parents=True, exist_ok=True)
    if not PROGRAM.exists():
        host.install({"chromium"}, LOGS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()
