"""How long it takes from what a device reports to every open page of the dashboard.

    python -m tests.benchmarks.dashboard_pages          (make bench)

Dashboards with as many devices as SIZES says, one after the other, and PAGES connections that listen as pages do, over
TLS, from one process. Each of ROUNDS rounds reports on REPORTING devices, or all, in one request; the time runs from
that request's begin until the last page has the last event. Each page must have heard each event once and in order.
Beside it: what one page costs to open; and, in a browser, the time from a request's begin until the tile of the last
device that it reports on is another one.

Writes .bench/dashboard_pages.md and .json.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests import registries
from tests.benchmarks import results
from tests.chromium import launched
from tests.unit.dashboard.served import TOKEN, Dashboard, row, until

SIZES = (4, 16, 50, 100, 1000)
PAGES, REPORTING, ROUNDS = 200, 100, 10
GOAL_SECONDS = 1.0


class Page:
    """Hears events; `number` is that of the last one."""

    def __init__(self, client: httpx.AsyncClient, number: int) -> None:
        self._client, self.number, self.heard = client, number, asyncio.Condition()

    async def listen(self, ready: asyncio.Semaphore) -> None:
        query = {"after": str(self.number)}
        async with self._client.stream("GET", "/api/events", params=query, timeout=None) as stream:
            async for line in stream.aiter_lines():
                if line == ": here":
                    ready.release()
                if line.startswith("id: "):
                    number = int(line[4:])
                    assert number == self.number + 1, (number, self.number)
                    async with self.heard:
                        self.number = number
                        self.heard.notify_all()

    async def reaches(self, number: int) -> None:
        async with self.heard:
            await self.heard.wait_for(lambda: self.number >= number)


async def measured(dashboard: Dashboard, devices: int) -> dict[str, Any]:
    reporting = min(REPORTING, devices)
    signed_in = dashboard.signed_in()
    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(
        base_url=dashboard.url, verify=dashboard.trust, cookies=signed_in.http.cookies, limits=limits, timeout=60
    )
    before = time.perf_counter()
    rack = (await client.get("/api/rack")).content
    picture = time.perf_counter() - before
    pages = [Page(client, json.loads(rack)["last"]) for _page in range(PAGES)]
    ready, listening = asyncio.Semaphore(0), []
    for page in pages:
        listening.append(asyncio.create_task(page.listen(ready)))
    for _page in pages:
        await ready.acquire()
    seconds = []
    for number in range(ROUNDS):
        events = [
            {"event": "device", "device": f"nuc-{one:04}", "cpu_percent": number + 1} for one in range(1, reporting + 1)
        ]
        began = time.perf_counter()
        answer = await client.post("/api/events", json={"events": events}, headers={"Authorization": f"Bearer {TOKEN}"})
        await asyncio.gather(*(page.reaches(answer.json()["last"]) for page in pages))
        seconds.append(time.perf_counter() - began)
    for task in listening:
        task.cancel()
    await client.aclose()
    return {
        "devices": devices,
        "pages": PAGES,
        "reporting": reporting,
        "seconds_median": round(statistics.median(seconds), 3),
        "seconds_worst": round(max(seconds), 3),
        "picture_bytes": len(rack),
        "picture_seconds": round(picture, 3),
    }


def tiles(dashboard: Dashboard, devices: int) -> dict[str, float]:
    """Seconds until a tile is drawn anew, in a browser that is alone with the dashboard."""
    reporting = min(REPORTING, devices)
    client, seconds = dashboard.signed_in(), []
    cookies = [{"name": one.name, "value": one.value or "", "url": dashboard.url} for one in client.http.cookies.jar]
    with launched() as browser:
        context = browser.new_context(
            ignore_https_errors=True,
            bypass_csp=True,  # or the page forbids what waits for a tile
            viewport={"width": 1366, "height": 768},
        )
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(dashboard.url)
        page.locator(".tile").nth(devices - 1).wait_for(timeout=60_000)
        for number in range(ROUNDS):
            outcome, word = ("failed", "failed") if number % 2 == 0 else ("ok", "well")
            events = [
                {"event": "device", "device": f"nuc-{one:04}", "outcome": outcome} for one in range(1, reporting + 1)
            ]
            began = time.perf_counter()
            dashboard.report(*events)
            drawn = f"document.querySelector('[data-device=nuc-{reporting:04}] .word').textContent === '{word}'"
            page.wait_for_function(drawn, timeout=60_000)
            seconds.append(time.perf_counter() - began)
    return {"tile_seconds_median": round(statistics.median(seconds), 3), "tile_seconds_worst": round(max(seconds), 3)}


def at_size(devices: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        registries.authority(folder / "certificates", "127.0.0.1")
        dashboard = Dashboard(folder / "dashboard", folder / "certificates")
        dashboard.rows([row(f"nuc-{number:04}") for number in range(1, devices + 1)])
        dashboard.begin()
        try:
            client = dashboard.signed_in()
            until(lambda: client.asked("GET", "/api/rack")["watch"]["asked"], "the status")
            return {**asyncio.run(measured(dashboard, devices)), **tiles(dashboard, devices)}
        finally:
            dashboard.end()


def main() -> None:
    found = [at_size(devices) for devices in SIZES]
    lines = [
        f"{PAGES} open pages; seconds until all have heard what so many devices reported at once.",
        "",
        "| devices | of which report | median s | worst s | a tile follows in s | worst s | page KiB | opens in s |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {one['devices']} | {one['reporting']} | {one['seconds_median']} | {one['seconds_worst']} |"
            f" {one['tile_seconds_median']} | {one['tile_seconds_worst']} |"
            f" {one['picture_bytes'] / 1024:.0f} | {one['picture_seconds']} |"
            for one in found
        ),
        "",
        f"Goal: {GOAL_SECONDS} s.",
    ]
    results.write("dashboard_pages", found, "\n".join(lines))


if __name__ == "__main__":
    main()
