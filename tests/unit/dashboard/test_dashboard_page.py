# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser: Debian's chromium."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.chromium import LOGS, launched
from tests.unit.dashboard.openid import ANNA, NORA, OpenId
from tests.unit.dashboard.served import PASSWORDS, Dashboard, row, until

# Texts that do not fit.
CUT = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"


Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def loaded(browser: Browser, own: Dashboard) -> Iterator[Opened]:
    """Loads the page. What pages complain of until they are closed fails the test: a callback cannot, it would end the
    connection to the browser."""
    errors: list[str] = []

    def one(**context: Any) -> Page:
        page = browser.new_context(ignore_https_errors=True, **context).new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(own.url)
        return page

    yield one
    for context in browser.contexts:
        context.close()
    assert errors == []


@pytest.fixture
def opened(loaded: Opened) -> Opened:
    """The page, signed in and live."""

    def one(name: str = "olga", **context: Any) -> Page:
        page = loaded(**context)
        sign_in(page, name)
        # As long as nobody loads the page anew, it is there.
        page.evaluate("window.theSame = true")
        return page

    return one


@pytest.fixture
def hundred(own: Dashboard) -> Dashboard:
    own.rows([row(f"nuc-{number:03}", power="on") for number in range(1, 101)])
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    return own


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live")).to_have_text("Live")


class Cut:
    """Questions that get no answer until they are mended."""

    def __init__(self, page: Page, *urls: str) -> None:
        self._page, self._asked = page, dict.fromkeys(urls, 0)
        for url in urls:
            page.route(url, partial(self._abort, url))

    def _abort(self, url: str, route: Route) -> None:
        self._asked[url] += 1
        route.abort()

    def until_asked_twice(self) -> None:
        def twice() -> bool:
            self._page.wait_for_timeout(20)  # routes are called only while the browser is waited for
            return min(self._asked.values()) >= 2

        until(twice, "questions asked again")

    def mend(self) -> None:
        for url in self._asked:
            self._page.unroute(url)


def test_a_tile_follows_its_device_and_catches_up_after_a_lost_connection(opened: Opened, hundred: Dashboard) -> None:
    page = opened(viewport={"width": 1366, "height": 768})
    tiles = page.locator(".tile")
    expect(tiles).to_have_count(100)
    expect(page.locator(".shelf")).to_have_count(10)
    # All of them are on a laptop's screen, and none of the names is cut.
    last = tiles.last.bounding_box()
    assert last and last["y"] + last["height"] <= 768
    assert page.locator(".tile .name").evaluate_all(CUT) == []

    tile = page.locator("[data-device=nuc-042]")
    expect(tile).to_have_accessible_name("nuc-042, well, power on, release 2026.11")
    hundred.report({"event": "device", "device": "nuc-042", "outcome": "failed", "fault": "<b>no</b> disk"})
    expect(tile).to_have_accessible_name("nuc-042, failed: <b>no</b> disk, power on, release 2026.11")
    expect(tile.locator(".word")).to_have_text("failed")
    expect(page.locator("#counts")).to_contain_text("1 failed")

    # The connection is lost, the dashboard begins anew, and meanwhile the rack lives on.
    page.context.set_offline(True)
    hundred.end()
    expect(page.locator("#live")).to_contain_text("Connection lost")
    # It asks the rack as it begins, and is told the same.
    outcomes = {7: "silent"}
    hundred.rows([row(f"nuc-{one:03}", power="on", outcome=outcomes.get(one, "ok")) for one in range(1, 101)])
    hundred.begin()
    hundred.report({"event": "device", "device": "nuc-042", "outcome": "ok", "fault": ""})
    hundred.report({"event": "device", "device": "nuc-007", "outcome": "silent"})
    expect(tile.locator(".word")).to_have_text("failed")
    page.context.set_offline(False)
    expect(page.locator("#live")).to_have_text("Live")
    expect(tile.locator(".word")).to_have_text("well")
    expect(page.locator("[data-device=nuc-007] .word")).to_have_text("silent")
    assert page.evaluate("window.theSame") is True


def test_a_button_asks_first_and_then_a_job_runs_before_everybodys_eyes(
    opened: Opened, hundred: Dashboard, tmp_path: Path
) -> None:
    page, other = opened(), opened("viktor")
    expect(other.get_by_role("button", name="Release…")).to_have_count(0)

    # By the keyboard alone.
    page.locator("[data-device=nuc-001]").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="nuc-001")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("[data-device=nuc-001]")).to_be_focused()

    page.get_by_role("button", name="Release…").click()
    page.get_by_role("dialog", name="Release?").get_by_role("button", name="Cancel").click()
    assert hundred.signed_in().asked("GET", "/api/jobs") == []
    page.get_by_role("button", name="Release…").click()
    asked = page.get_by_role("dialog", name="Release?")
    asked.get_by_label("Name of the release").fill("2026.12")
    asked.get_by_role("button", name="Release").click()
    expect(page.locator("#note")).to_have_text("Job 1 has begun.")
    expect(page.locator("#output")).to_contain_text("began with 2026.12")
    expect(other.locator("[data-job='1'] .state")).to_have_text("running")
    hundred.go()
    for one in (page, other):
        expect(one.locator("[data-job='1'] .state")).to_have_text("succeeded")
    expect(page.locator("#output")).to_have_text(re.compile(r"PLAY RECAP[\s\S]*failed=0"))
    assert page.locator("#output").inner_text().count("PLAY RECAP") == 1

    # What runs may be cancelled, which asks, too.
    page.get_by_role("button", name="Release…").click()
    asked.get_by_label("Name of the release").fill("2026.13")
    asked.get_by_role("button", name="Release").click()
    expect(page.locator("#output")).to_contain_text("began with 2026.13")
    expect(other.get_by_role("button", name="Cancel job 2")).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Cancel job 2").click()
    assert [line["event"] for line in hundred.audit()] == ["begin", "end", "begin"]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel job 2").click()
    expect(page.locator("[data-job='2'] .state")).to_have_text("cancelled")
    until(lambda: [line["event"] for line in hundred.audit()][3:] == ["cancel", "end"], "its lines in the audit")


def test_what_is_asked_for_while_the_connection_breaks_comes_later(opened: Opened, hundred: Dashboard) -> None:
    olga = hundred.signed_in()
    ended = olga.ended(olga.job(action="doctor")["id"])
    page = opened()
    cut = Cut(page, f"**/api/jobs/{ended['id']}/output*", "**/api/training")
    page.locator(f"[data-job='{ended['id']}']").click()
    hosts = ["nuc-001", "nuc-002"]
    hundred.report({"event": "start", "job": "digits-1", "task": "digits", "ranks": 2, "hosts": hosts})
    cut.until_asked_twice()
    expect(page.locator("#output")).to_be_empty()
    cut.mend()
    expect(page.locator("#output")).to_have_text(re.compile(r"PLAY RECAP[\s\S]*failed=0"))
    assert page.locator("#output").inner_text().count("PLAY RECAP") == 1
    expect(page.locator("#training")).to_contain_text("runs")

    # A button that could not be asked for says so, and is there again.
    job = olga.job(action="release", name="2026.12")
    page.context.set_offline(True)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Cancel job {job['id']}").click()
    expect(page.locator("#note")).to_have_text("The dashboard does not answer.")
    page.context.set_offline(False)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Cancel job {job['id']}").click()
    expect(page.locator(f"[data-job='{job['id']}'] .state")).to_have_text("cancelled")


# Device or "", button, what is filled in -> action and parameters of the job.
BUTTONS: list[tuple[str, str, dict[str, str], str, dict[str, Any]]] = [
    ("", "Status", {}, "status", {}),
    ("", "Doctor", {}, "doctor", {}),
    ("", "Converge", {}, "converge_now", {}),
    ("", "Train", {"Task": "digits", "Epochs": "3"}, "train", {"task": "digits", "epochs": 3}),
    ("", "Stop training", {}, "stop_training", {}),
    ("", "Serve", {}, "serve", {}),
    ("", "Release", {"Name of the release": "2026.12"}, "release", {"name": "2026.12"}),
    ("", "Roll back", {"Name of the release": "2026.11"}, "rollback", {"name": "2026.11"}),
    ("nuc-001", "Converge", {}, "converge_now", {"devices": ["nuc-001"]}),
    ("nuc-001", "Power", {}, "power", {"device": "nuc-001", "power": "cycle"}),
    ("nuc-001", "Retire", {}, "retire", {"device": "nuc-001"}),
]


@pytest.mark.long
def test_each_button_asks_first_has_its_playbook_run_and_leaves_its_lines_in_the_audit(
    opened: Opened, own: Dashboard
) -> None:
    own.rows([row("nuc-001")])
    own.rows([row("nuc-001")], "rows_after.json")
    own.environment["EDGE_DASHBOARD_REPORTS_URL"] = "https://control.example.com:8444"
    own.begin()
    page = opened()
    tile = page.locator("[data-device=nuc-001]")
    tile.click()
    of_the_device = page.locator("#device-actions button").all_text_contents()
    page.keyboard.press("Escape")
    there = [("", name) for name in page.locator("#actions button").all_text_contents()]
    there += [("nuc-001", name) for name in of_the_device]
    assert there == [(device, f"{button}…") for device, button, *_rest in BUTTONS]

    for number, (device, button, filled, action, parameters) in enumerate(BUTTONS, 1):
        if device:
            tile.click()
            place = page.get_by_role("dialog", name=device, exact=True)
        else:
            place = page.get_by_role("navigation", name="Actions")
        place.get_by_role("button", name=f"{button}…", exact=True).click()
        asked = page.get_by_role("dialog", name=f"{button} {device}".strip() + "?", exact=True)
        for label, text in filled.items():
            asked.get_by_label(label).fill(text)
        assert len(own.audit()) == 2 * (number - 1) if number > 1 else not (own.state / "audit.jsonl").exists()
        asked.get_by_role("button", name=button, exact=True).click()
        expect(asked).to_have_count(0)
        if action in ("release", "retire"):
            own.go()
        expect(page.locator(f"[data-job='{number}'] .state")).to_have_text("succeeded")
        expect(page.locator("#output")).to_contain_text("PLAY RECAP")
        # Written after the page was told.
        until(lambda count=2 * number: len(own.audit()) == count, "the job's last line in the audit")
        begin, end = own.audit()[-2:]
        report = page.get_by_role("link", name="Report").get_attribute("href")
        about = {"job": number, "who": "olga", "action": action, "report": report}
        assert begin == {**begin, **about, "event": "begin", "parameters": parameters, "address": "127.0.0.1"}
        assert end == {**end, **about, "event": "end", "outcome": "succeeded", "rc": 0}
        assert begin["time"] <= end["time"]


def test_a_tile_has_its_power_and_a_button_switches_it(opened: Opened, own: Dashboard) -> None:
    states = ("on", "off", "unknown", "error", "")
    rows = [row(f"nuc-{number:03}", power=power) for number, power in enumerate(states, 1)]
    own.rows(rows)
    own.rows([row("nuc-001", power="off", outcome="silent"), *rows[1:]], "rows_after.json")
    own.environment["EDGE_DASHBOARD_REPORTS_URL"] = "https://control.example.com:8444"
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    page = opened(viewport={"width": 390, "height": 844})
    shown = page.locator(".tile").evaluate_all("all => all.map(one => one.querySelector('.power')?.textContent ?? '')")
    assert shown == ["on", "off", "?", "!", ""]
    expect(page.locator("[data-device=nuc-003]")).to_have_accessible_name(
        "nuc-003, well, power unknown, release 2026.11"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # The state's word is whole beside it, and on a laptop the release, too.
    for width, parts in ((390, ".tile .word, .tile .power"), (1366, ".tile span")):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.locator(parts).evaluate_all(CUT) == []

    page.locator("[data-device=nuc-001]").click()
    page.get_by_role("dialog", name="nuc-001").get_by_role("button", name="Power…").click()
    asked = page.get_by_role("dialog", name="Power nuc-001?")
    asked.get_by_label("Power").select_option("off")
    asked.get_by_label("Though it trains, or does not answer").check()
    asked.get_by_role("button", name="Power").click()
    expect(page.locator("[data-job='1'] .what")).to_have_text("1 power off nuc-001")
    expect(page.locator("#output")).to_contain_text("nuc-001 off True")
    expect(page.locator("[data-device=nuc-001] .power")).to_have_text("off")
    expect(page.locator("[data-device=nuc-001] .word")).to_have_text("not up")
    found = re.compile(r"^https://control\.example\.com:8444/\?label=run:[0-9a-f-]{36}$")
    expect(page.get_by_role("link", name="Report")).to_have_attribute("href", found)


def test_a_release_is_drawn_from_wave_to_wave(opened: Opened, own: Dashboard) -> None:
    own.begin()
    page = opened("viktor")
    card = page.get_by_role("region", name="Release")
    expect(card).to_have_count(0)
    about = {"release": "2026.12", "before": "2026.11", "waves": [["nuc-001"], ["nuc-002", "nuc-003"]]}
    taken, failed = {"verdict": "taken", "why": ""}, {"verdict": "failed", "why": "<b>not</b> healthy"}
    own.release({**about, "state": "running", "wave": 1, "devices": {}})
    expect(card).to_contain_text("2026.12 wave 1 of 2 is open")
    expect(card).to_contain_text("3 to go")
    own.release({**about, "state": "running", "wave": 2, "devices": {"nuc-001": taken}})
    expect(card).to_contain_text("2026.12 wave 2 of 2 is open")
    expect(card).to_contain_text("1 taken, 2 to go")
    stop = {"wave": 2, "why": "1 of 2 devices failed", "failed": True}
    verdicts = {"nuc-001": taken, "nuc-002": failed, "nuc-003": taken}
    own.release({**about, "state": "stopped", "wave": 2, "devices": verdicts, "stopped": stop})
    expect(card).to_contain_text("2026.12 stopped in wave 2 of 2")
    expect(card).to_contain_text("1 of 2 devices failed")
    expect(card).to_contain_text("nuc-002 failed: <b>not</b> healthy")
    shown = own.signed_in("viktor").asked("GET", "/api/release")
    assert (shown["verdicts"], shown["devices"]) == ({"taken": 2, "failed": 1}, 3)
    # What makes no sense is said, and what was known stays.
    own.release({"waves": []})
    expect(card).to_contain_text("release: Field required")
    expect(card).to_contain_text("2026.12 stopped")


def test_a_training_is_drawn_as_it_goes_and_on_a_phone_nothing_sticks_out(opened: Opened, hundred: Dashboard) -> None:
    page = opened("viktor", viewport={"width": 390, "height": 844}, color_scheme="dark")
    expect(page.locator("#training")).to_contain_text("No training has reported yet.")
    job = "2026.11-digits-1"
    ring = (("nuc-001", "nuc-002", 800_000_000), ("nuc-002", "nuc-001", 400_000_000))
    links = [{"from": one, "to": other, "bits_per_second": bits} for one, other, bits in ring]
    start = {"event": "start", "job": job, "task": "digits", "ranks": 2, "wire_bytes_per_step": 450_000}
    hundred.report(
        {"event": "links", "job": job, "links": links},
        {**start, "hosts": ["nuc-001", "nuc-002"]},
        *(
            {
                "event": "step",
                "job": job,
                "rank": rank,
                "step": step,
                "loss": 2.0 - step / 10,
                "seconds": 0.02 + rank / 100,
                "samples_per_second": 1000.0,
            }
            for step in range(10)
            for rank in (0, 1)
        ),
    )
    curve = page.get_by_role("img", name="Loss from 2.0000 at step 0 to 1.1000 at step 9")
    expect(curve).to_be_visible()
    expect(page.locator("#training")).to_contain_text("nuc-002 (slowest)")
    expect(page.locator("[data-device=nuc-002] .more")).to_have_text("#1 · 30 ms")
    assert page.locator(".tile .more, .tile .power").evaluate_all(CUT) == []
    hundred.report({"event": "step", "job": job, "rank": 0, "step": 10, "loss": 0.5, "seconds": 0.02})
    expect(page.get_by_role("img", name=re.compile("to 0.5000 at step 10"))).to_be_visible()
    # What a step takes beside the least that its bytes take on the slowest link.
    figures = page.locator("#training .figures div")
    expect(figures.filter(has_text="Slowest step")).to_contain_text("30 ms")
    expect(figures.filter(has_text="Ring's bound")).to_contain_text("9 ms")
    hundred.report(
        *({"event": "epoch", "job": job, "epoch": one, "epochs": 3, "accuracy": one / 4} for one in (1, 2, 3))
    )
    expect(page.get_by_role("img", name="Accuracy from 25.0 % at epoch 1 to 75.0 % at epoch 3")).to_be_visible()
    bytes_sent = {"wire_bytes_per_step": 450_000, "wire_bytes_per_step_measured": 461_000}
    hundred.report({"event": "result", "job": job, "accuracy": 0.75, **bytes_sent})
    expect(figures.filter(has_text="Sent a step")).to_contain_text("461 kB (bound 450 kB)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".tile .name").evaluate_all(CUT) == []


@pytest.mark.parametrize("count", [2, 8, 100])
def test_the_ring_is_drawn_with_what_its_links_carry(opened: Opened, hundred: Dashboard, count: int) -> None:
    page = opened("viktor", viewport={"width": 390, "height": 844})
    names = [f"nuc-{number:03}" for number in range(1, count + 1)]
    links = [
        {"from": one, "to": other, "bits_per_second": 94_000_000 if one == "nuc-002" else 941_000_000}
        for one, other in zip(names, [*names[1:], names[0]], strict=True)
    ]
    hundred.report({"event": "links", "job": "digits-1", "links": links})
    usual = 518 if count == 2 else 941
    slowest = f"the slowest, from nuc-002 to {names[2 % count]}, 94 Mbit/s"
    words = f"Ring of {count} devices. Links carry {usual} Mbit/s; {slowest}"
    ring = page.get_by_role("img", name=words)
    expect(ring).to_be_visible()
    expect(ring.locator(".link")).to_have_count(count)
    expect(ring.locator(".slow")).to_have_count(1)
    assert ring.locator("text").all_text_contents() == (names if count <= 12 else [])
    expect(page.locator("#training")).to_contain_text("begins")
    # Nothing of it is cut off at the edge of the drawing.
    box = ring.bounding_box()
    assert box is not None
    for part in ring.locator("text, circle").all():
        inner = part.bounding_box()
        assert inner is not None and box["x"] <= inner["x"] and inner["x"] + inner["width"] <= box["x"] + box["width"]
    page.locator("#training").screenshot(path=LOGS / f"ring-{count}.png")
    # Steps go on beneath it.
    hundred.report({"event": "start", "job": "digits-1", "task": "digits", "ranks": count, "hosts": names})
    expect(page.locator("#training")).to_contain_text("runs")
    expect(ring).to_be_visible()


def faults_for_readers(page: Page) -> list[str]:
    """What axe-core finds: names and roles that a screen reader lacks, text of too little contrast, and the like."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1366), ("dark", 390)])
def test_who_sees_little_or_nothing_can_use_it(loaded: Opened, own: Dashboard, scheme: str, width: int) -> None:
    states: list[dict[str, Any]] = [
        *(
            {"outcome": outcome, "power": "on"}
            for outcome in ("ok", "corrective", "failed", "silent", "waiting", "never")
        ),
        {"maas_status": "Deploying", "power": "off"},
        {"power": "error"},
    ]
    own.rows([row(f"nuc-{number:03}", **state) for number, state in enumerate(states, 1)])
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    hosts = ["nuc-001", "nuc-002"]
    links = [{"from": one, "to": other, "bits_per_second": 94_000_000} for one, other in (hosts, hosts[::-1])]
    own.report(
        {"event": "links", "job": "digits-1", "links": links},
        {"event": "start", "job": "digits-1", "task": "digits", "ranks": 2, "hosts": hosts},
        *(
            {"event": "step", "job": "digits-1", "rank": one % 2, "step": one, "loss": 1 / (one + 1)}
            for one in range(4)
        ),
        *({"event": "epoch", "job": "digits-1", "epoch": one, "epochs": 3, "accuracy": one / 4} for one in (1, 2)),
    )
    verdicts = {"nuc-001": {"verdict": "taken", "why": ""}, "nuc-002": {"verdict": "failed", "why": "not healthy"}}
    about = {"release": "2026.12", "before": "2026.11", "waves": [["nuc-001"], ["nuc-002"]], "wave": 2}
    own.release({**about, "state": "running", "devices": verdicts})
    olga.ended(olga.job(action="doctor")["id"])

    page = loaded(viewport={"width": width, "height": 844}, color_scheme=scheme)
    expect(page.get_by_label("Name")).to_be_focused()
    assert faults_for_readers(page) == []
    sign_in(page, "olga")
    expect(page.locator("#training .curve")).to_have_count(2)
    expect(page.locator("#release")).to_contain_text("nuc-002")
    page.locator("[data-job='1']").click()
    expect(page.locator("#output")).to_contain_text("PLAY RECAP")
    page.screenshot(path=LOGS / f"page-{width}-{scheme}.png", full_page=True)
    assert faults_for_readers(page) == []
    page.locator("[data-device=nuc-003]").click()
    assert faults_for_readers(page) == []
    page.get_by_role("button", name="Power…").click()
    assert faults_for_readers(page) == []


def test_a_button_leads_to_the_provider_and_back_to_the_rack(
    loaded: Opened, own_openid: OpenId, own: Dashboard
) -> None:
    own.begin()
    page = loaded(viewport={"width": 1366, "height": 768})
    button = page.get_by_role("button", name="Sign in with Test ID")
    # It is away: the page says so, and has name and password still.
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("Test ID does not answer")
    assert faults_for_readers(page) == []
    page.screenshot(path=LOGS / "sign-in-away.png")
    page.get_by_label("Name").fill("viktor")
    page.get_by_label("Password").fill(PASSWORDS["viktor"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#who")).to_have_text("viktor (viewer)")
    page.get_by_role("button", name="Sign out").click()

    own_openid.begin()
    button.click()
    # It is another site, to which the session's cookie is not sent, nor is it on the way back.
    expect(page).to_have_url(re.compile(f"^{own_openid.issuer}/"))
    page.get_by_role("button", name=NORA).click()
    expect(page.get_by_role("alert")).to_have_text("None of your groups may sign in")
    expect(page.locator("main")).to_contain_text("<b>nora</b> is in none of rack-operators, rack-viewers.")
    assert faults_for_readers(page) == []
    page.screenshot(path=LOGS / "sign-in-refused.png")
    page.get_by_role("button", name="Back").click()

    button.click()
    page.get_by_role("button", name=ANNA).click()
    expect(page).to_have_url(f"{own.url}/")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#who")).to_have_text("oidc:anna (operator)")
    expect(page.locator("[data-device=nuc-001] .word")).to_have_text("well")
    strict = {cookie["name"]: cookie.get("sameSite") for cookie in page.context.cookies(own.url)}
    assert strict == {"__Host-edge": "Strict"}
    page.get_by_role("button", name="Doctor…").click()
    page.get_by_role("dialog", name="Doctor?").get_by_role("button", name="Doctor").click()
    expect(page.locator("[data-job='1'] .state")).to_have_text("succeeded")
    page.screenshot(path=LOGS / "sign-in-rack.png")
    page.get_by_role("button", name="Sign out").click()
    expect(button).to_be_visible()
