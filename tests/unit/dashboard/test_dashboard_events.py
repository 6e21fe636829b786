# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told to open pages: in order, nothing twice, nothing lost."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest

from tests.unit.dashboard.served import Client, Dashboard, row, until


def step(number: int, rank: int = 0, **fields: Any) -> dict[str, Any]:
    about = {"event": "step", "job": "digits-1", "rank": rank, "step": number, "loss": 2.0 / (number + 1)}
    return {**about, "seconds": 0.02, "samples_per_second": 1600.0, **fields}


def last(client: Client) -> int:
    return int(client.asked("GET", "/api/rack")["last"])


@pytest.fixture
def begun(own: Dashboard) -> Dashboard:
    """It knows nuc-001 and nuc-002."""
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    return own


def test_what_a_device_reports_is_told_to_every_page_and_stays(begun: Dashboard) -> None:
    olga, viktor = begun.signed_in("olga"), begun.signed_in("viktor")
    with olga.listening() as one, viktor.listening() as other:
        begun.report({"event": "device", "device": "nuc-001", "outcome": "failed", "fault": "hot", "cpu_percent": 97})
        for told in (next(one), next(other)):
            assert (told.kind, told.data["device"], told.data["state"]) == ("device", "nuc-001", "failed")
            # What it did not speak of is as it was.
            assert (told.data["cpu_percent"], told.data["running"]) == (97, "2026.11")
    (device,) = [one for one in olga.asked("GET", "/api/rack")["devices"] if one["device"] == "nuc-001"]
    assert (device["state"], device["fault"]) == ("failed", "hot")


def test_the_same_again_is_not_told_again(begun: Dashboard) -> None:
    olga = begun.signed_in()
    before = last(olga)
    event = {"event": "device", "device": "nuc-001", "cpu_percent": 50}
    assert begun.report(event).json()["last"] == before + 1
    assert begun.report(event).json()["last"] == before + 1


def test_after_a_lost_connection_nothing_is_lost_and_nothing_comes_twice(begun: Dashboard) -> None:
    olga = begun.signed_in()
    with olga.listening() as told:
        begun.report(step(0), step(1))
        first, second = next(told), next(told)
    begun.report(*(step(number) for number in range(2, 700)))  # more than are sent at once
    with olga.listening(last=second.number) as told:
        missed = [next(told) for _one in range(698)]
        begun.report(step(700))
        live = next(told)
    heard = [first, second, *missed, live]
    assert [one.data["step"] for one in heard] == list(range(701))
    assert [one.number for one in heard] == list(range(first.number, first.number + 701))


def test_after_a_restart_of_the_dashboard_a_page_goes_on_where_it_was(begun: Dashboard) -> None:
    olga = begun.signed_in()
    with olga.listening() as told:
        begun.report(step(0))
        heard = next(told)
    begun.report(step(1), step(2))
    begun.end()
    begun.begin()
    begun.report(step(3))
    with olga.listening(last=heard.number) as told:
        steps = (one.data["step"] for one in told if one.kind == "training")  # it asks the rack as it begins, too
        assert [next(steps) for _one in range(3)] == [1, 2, 3]


def test_a_page_begins_at_the_event_that_its_picture_was_of(begun: Dashboard) -> None:
    olga = begun.signed_in()
    picture = last(olga)
    begun.report(step(0))
    with olga.listening(after=picture) as told:
        assert next(told).data["step"] == 0
    # A browser that comes back sends both; where it has got to is what counts.
    with olga.listening(after=picture, last=last(olga)) as told:
        begun.report(step(1))
        assert next(told).data["step"] == 1


def test_an_open_page_lets_the_dashboard_end(begun: Dashboard) -> None:
    with begun.signed_in().listening() as told:
        begun.end()  # raises where it does not
        with contextlib.suppress(httpx.RemoteProtocolError):  # cut, as a page that comes back takes it
            assert list(told) == []


def test_who_cannot_catch_up_is_told_to_begin_anew(own: Dashboard) -> None:
    own.environment["EDGE_DASHBOARD_EVENTS_KEPT"] = "100"
    own.begin()
    own.report(*(step(number) for number in range(300)))
    own.end()
    own.begin()  # what it had in memory besides is gone
    olga = own.signed_in()
    for forgotten_or_never in (10, 10**9):
        with olga.listening(last=forgotten_or_never) as told:
            reset = next(told)
        assert (reset.kind, reset.data) == ("reset", {})
    assert reset.number == last(olga) >= 300
    assert olga.asked("GET", "/api/training")["by_rank"][0]["step"] == 299


def test_a_training_is_followed_from_its_start_to_its_result(dashboard: Dashboard) -> None:
    olga = dashboard.signed_in()
    # As edge_training.train writes them, with fields that nobody here needs.
    start = {"event": "start", "job": "digits-1", "task": "digits", "ranks": 2, "hosts": ["nuc-001", "nuc-002"]}
    dashboard.report({**start, "time": "2026-11-29T12:00:00Z", "parameters": 2410})
    dashboard.report(*(step(number, loss=1.0) for number in range(1000)))
    dashboard.report(*(step(number, 1, loss=2.0, seconds=0.05) for number in range(999)))
    epoch = {"event": "epoch", "job": "digits-1", "epoch": 1, "epochs": 12, "loss": 0.5, "accuracy": 0.9}
    dashboard.report(epoch, {**epoch, "epoch": 2, "loss": 0.4}, {**epoch, "epoch": 2, "loss": 0.4})
    training = olga.asked("GET", "/api/training")
    assert (training["job"], training["start"]["hosts"], training["result"]) == (
        "digits-1",
        ["nuc-001", "nuc-002"],
        None,
    )
    assert [one["epoch"] for one in training["epochs"]] == [1, 2]
    assert [(one["rank"], one["step"], one["seconds"]) for one in training["by_rank"]] == [
        (0, 999, 0.02),
        (1, 998, 0.05),
    ]
    # Thinned out for the page, and the mean of all ranks.
    assert 300 <= len(training["points"]) <= 400
    assert training["points"][0] == [0, 1.5]
    dashboard.report({"event": "result", "job": "digits-1", "accuracy": 0.97, "slowest_host": "nuc-002"})
    assert olga.asked("GET", "/api/training")["result"]["slowest_host"] == "nuc-002"
    # Begun anew under the same name, by `train_force`.
    dashboard.report(start)
    anew = olga.asked("GET", "/api/training")
    assert (anew["points"], anew["epochs"], anew["result"]) == ([], [], None)


def test_links_belong_to_the_training_that_they_were_measured_for(begun: Dashboard) -> None:
    olga = begun.signed_in()
    ends = (("nuc-001", "nuc-002", 941_000_000), ("nuc-002", "nuc-001", 94_000_000))
    links = [{"from": one, "to": other, "bits_per_second": bits} for one, other, bits in ends]
    start = {"event": "start", "job": "digits-1", "ranks": 2}
    with olga.listening() as told:
        begun.report({"event": "links", "job": "digits-1", "links": links})
        heard = next(told)
    assert (heard.data["event"], heard.data["links"]) == ("links", links)
    assert (shown := olga.asked("GET", "/api/training"))["links"] == links and shown["start"] is None
    # It starts, and again after a fault; then there is another one, whose links nobody measured.
    for _time in range(2):
        begun.report(start, step(0))
        assert olga.asked("GET", "/api/training")["links"] == links
    begun.report({"event": "result", "job": "digits-1", "accuracy": 0.97}, start)
    assert olga.asked("GET", "/api/training")["links"] == []


def test_a_training_that_tells_of_few_steps_has_its_curve_all_the_same(begun: Dashboard) -> None:
    """As edge_training.train does: every ten seconds, counted anew in each epoch."""
    told = [(1, 117), (1, 233), (2, 119), (2, 235), (3, 121)]
    about = {"event": "step", "job": "digits-1", "rank": 0, "epochs": 3, "steps": 235, "loss": 0.5, "eta_seconds": 9.0}
    begun.report(*({**about, "epoch": epoch, "step": step} for epoch, step in told))
    training = begun.signed_in().asked("GET", "/api/training")
    assert [step for step, _loss in training["points"]] == [116, 232, 353, 469, 590]


def test_a_record_that_comes_twice_counts_once(begun: Dashboard) -> None:
    first = begun.report(step(0), step(1)).json()["last"]
    assert begun.report(step(0), step(1), step(2)).json()["last"] == first + 1


def test_a_loss_that_is_no_number_any_more_is_none(dashboard: Dashboard) -> None:
    body = '{"events": [{"event": "step", "job": "nan-1", "rank": 0, "step": 0, "loss": NaN}]}'
    client = dashboard.signed_in()
    headers = {"Authorization": f"Bearer {(dashboard.config / 'token').read_text().strip()}"}
    answer = client.http.post("/api/events", content=body, headers={**headers, "Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert client.asked("GET", "/api/training")["points"] == [[0, None]]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"event": "nonsense"}, "event"),
        ({"event": "device", "device": "../x"}, "device"),
        ({"event": "device", "device": "nuc-001", "cpu_percent": 140}, "cpu_percent"),
        ({"event": "device", "device": "nuc-001", "state": "well"}, "state"),
        ({"event": "step", "job": "digits-1", "rank": -1, "step": 0}, "rank"),
        ({"event": "links", "job": "digits-1", "links": [{"from": "nuc-001", "bits_per_second": 1}]}, "to"),
        ({"event": "step", "job": "Digits 1", "rank": 0, "step": 0}, "job"),
        ({"event": "step", "job": "digits-1", "rank": 0, "step": 1e300}, "step"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_whole(dashboard: Dashboard, event: Any, field: str) -> None:
    olga = dashboard.signed_in()
    before = last(olga)
    answer = dashboard.report({"event": "device", "device": "nuc-001", "cpu_percent": 33.25}, event, status=422)
    assert field in answer.json()["detail"]
    assert last(olga) == before


def test_devices_that_the_status_has_no_more_are_gone_and_measurements_stay(begun: Dashboard) -> None:
    olga = begun.signed_in()
    begun.report({"event": "device", "device": "nuc-001", "temperature_celsius": 61.5})
    begun.rows([row("nuc-001", outcome="corrective"), row("shelf2-slot7", maas_status="Deploying", outcome="silent")])
    with olga.listening() as told:
        olga.job(action="status")
        changes = (one for one in told if one.kind in ("device", "gone"))
        heard = [next(changes) for _one in range(3)]
    assert sorted((one.kind, one.data["device"]) for one in heard) == [
        ("device", "nuc-001"),
        ("device", "shelf2-slot7"),
        ("gone", "nuc-002"),
    ]
    devices = {one["device"]: one for one in olga.asked("GET", "/api/rack")["devices"]}
    assert (devices["nuc-001"]["state"], devices["nuc-001"]["temperature_celsius"]) == ("drift", 61.5)
    placed = devices["shelf2-slot7"]
    assert (placed["state"], placed["shelf"], placed["slot"]) == ("away", 2, 7)
