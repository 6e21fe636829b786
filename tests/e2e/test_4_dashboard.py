"""The dashboard of a rack that is there: a training is begun by its button, and drawn as it goes."""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.chromium import LOGS, launched
from tests.e2e.rack import Lab, reports

URL = "https://10.78.0.12:8443"
# A training, with all that goes before and after it.
MINUTES = 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.mark.long
def test_a_training_that_a_button_begins_is_drawn_as_it_goes(lab: Lab, first: dict[str, Any], browser: Browser) -> None:
    # The browser does not know the rack's authority; that the certificate is the authority's is looked at here.
    context = ssl.create_default_context(cafile=str(lab.state / "ca/ca.crt"))
    with urllib.request.urlopen(f"{URL}/healthz", timeout=10, context=context) as answer:
        assert json.load(answer) == {"status": "ready"}
    page = browser.new_context(ignore_https_errors=True, viewport={"width": 1366, "height": 900}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    expect.set_options(timeout=MINUTES * 60_000)
    page.goto(URL)
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill((lab.state / "secrets/dashboard_password").read_text().strip())
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("button", name="Status…").click()
    page.get_by_role("dialog", name="Status?").get_by_role("button", name="Status").click()
    expect(page.locator("[data-job='1'] .state")).to_have_text("succeeded")
    names = [device["name"] for device in first["devices"]]
    expect(page.locator(".tile .word")).to_have_text(["well"] * len(names))
    assert page.locator(".tile .name").all_text_contents() == names

    page.get_by_role("button", name="Train…").click()
    asked = page.get_by_role("dialog", name="Train?")
    asked.get_by_label("Epochs").fill("3")
    asked.get_by_role("button", name="Train").click()
    # What its links carry is there before the first step; then ranks stand on the tiles, and a curve grows.
    expect(page.get_by_role("img", name=re.compile(f"^Ring of {len(names)} devices. Links carry "))).to_be_visible()
    page.screenshot(path=LOGS / "lab-training.png")
    expect(page.locator("[data-job='2'] .state")).to_have_text("succeeded")
    expect(page.locator("#training")).to_contain_text("ended")
    expect(page.locator("#training")).to_contain_text("3 of 3")
    assert 0.8 < float(page.locator("#training dd", has_text="%").inner_text().split()[0]) / 100 <= 1
    page.screenshot(path=LOGS / "lab-trained.png")
    assert errors == []
    link = page.get_by_role("link", name="Report").get_attribute("href")
    assert link is not None
    address, _, label = link.partition("?label=")
    assert address == "https://10.78.0.12:8444/"
    (run,) = reports(lab, label=label)
    assert (run["name"], run["status"]) == ("train", "completed")
