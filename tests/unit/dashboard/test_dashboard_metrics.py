# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus reads of the dashboard."""

from __future__ import annotations

import socket
import ssl
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.dashboard.served import TOKEN, Dashboard, row, until

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]
JOB = "digits-1"


def asked(dashboard: Dashboard, token: str = TOKEN) -> httpx.Response:
    return httpx.get(f"{dashboard.url}/metrics", headers={"Authorization": f"Bearer {token}"}, verify=dashboard.trust)


def numbers(dashboard: Dashboard) -> Numbers:
    answer = asked(dashboard)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def of(found: Numbers, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def of_the_training(found: Numbers, name: str, **labels: str) -> float | None:
    return of(found, f"edge_training_{name}", training=JOB, **labels)


@pytest.fixture
def begun(own: Dashboard) -> Dashboard:
    own.rows([row("nuc-001"), row("nuc-002", outcome="failed"), row("nuc-003")])
    own.begin()
    olga = own.signed_in()
    until(lambda: olga.asked("GET", "/api/rack")["watch"]["asked"], "the status")
    return own


def test_they_are_for_who_has_the_token(begun: Dashboard) -> None:
    answer = asked(begun, "guess")
    assert answer.status_code == 401
    assert "edge_dashboard" not in answer.text
    # Nor for who has signed in: a page has no use for them.
    begun.signed_in().asked("GET", "/metrics", 401)


def test_they_are_those_of_devices_jobs_and_the_training(begun: Dashboard) -> None:
    olga = begun.signed_in()
    found = numbers(begun)
    states = {state: of(found, "edge_dashboard_devices", state=state) for state in ("ok", "failed", "silent")}
    assert states == {"ok": 2, "failed": 1, "silent": 0}
    written = (begun.project / "report/status.json").stat().st_mtime
    with (
        socket.create_connection(("127.0.0.1", begun.port)) as plain,
        begun.trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        ends = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    left = of(found, "edge_dashboard_certificate_seconds")
    assert left is not None and abs(ends - time.time() - left) < 60
    asked_at = of(found, "edge_dashboard_asked_timestamp_seconds")
    assert asked_at is not None and 0 <= written - asked_at < 1
    assert [name for name, _labels in found if name.startswith(("edge_training", "edge_dashboard_jobs"))] == []

    # A training that waits for the test's word tells of two ranks.
    (begun.project / "train.yml").write_text((begun.project / "release.yml").read_text())
    number = olga.job(action="train")["id"]
    hosts = ["nuc-001", "nuc-003"]
    begun.report({"event": "start", "job": JOB, "task": "digits", "ranks": 2, "hosts": hosts})
    step = {"event": "step", "job": JOB, "samples_per_second": 100.0}
    begun.report(
        {**step, "rank": 0, "step": 4, "loss": 1.5, "seconds": 0.02},
        {**step, "rank": 1, "step": 5, "loss": 1.25, "seconds": 0.03},
        {"event": "epoch", "job": JOB, "epoch": 1, "epochs": 12, "loss": 1.4, "accuracy": 0.5},
    )
    found = numbers(begun)
    told = {name: of_the_training(found, name) for name in ("running", "ranks", "epoch", "step", "loss", "accuracy")}
    assert told == {"running": 1, "ranks": 2, "epoch": 1, "step": 5, "loss": 1.25, "accuracy": 0.5}
    assert of_the_training(found, "samples_per_second") == 200
    assert of_the_training(found, "step_seconds", rank="1", device="nuc-003") == 0.03
    assert of(found, "edge_dashboard_jobs", action="train", state="running") == 1

    # It ends without a result: nobody has to be woken for it.
    begun.go()
    assert olga.ended(number)["state"] == "succeeded"
    found = numbers(begun)
    assert of_the_training(found, "running") == 0
    assert of(found, "edge_dashboard_jobs", action="train", state="succeeded") == 1
    assert of(found, "edge_dashboard_jobs", action="train", state="running") is None
