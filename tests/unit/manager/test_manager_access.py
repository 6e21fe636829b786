# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is admitted, and what everybody may see."""

from __future__ import annotations

import pytest

from tests.unit.manager.managed import Managed

from edge_training.manager import access  # isort: skip - its folder is known by now


@pytest.mark.parametrize("path", ["/status", "/openapi.json", "/metrics", "/nothing", "/healthz/"])
def test_nothing_but_health_is_told_without_the_token(managed: Managed, path: str) -> None:
    answer = managed.client.get(path, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    del managed.client.headers["Authorization"]
    assert managed.client.get(path).status_code == 401
    assert managed.client.get("/healthz").json() == {"status": "ready"}


def test_a_new_token_counts_at_once_and_an_empty_one_admits_nobody(managed: Managed) -> None:
    (managed.config / "token").write_text("another\n")
    managed.asked("GET", "/lock", 401)
    assert managed.client.get("/lock", headers={"Authorization": "Bearer another"}).status_code == 200
    (managed.config / "token").write_text("\n")
    assert managed.client.get("/lock", headers={"Authorization": "Bearer"}).status_code == 401
    (managed.config / "token").unlink()
    managed.asked("GET", "/lock", 503)


def test_who_guesses_has_to_wait(managed: Managed) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    for _ in range(access.ATTEMPTS):
        assert managed.client.get("/lock", headers=wrong).status_code == 401
    problem = managed.client.get("/lock")
    assert problem.status_code == 429
    assert 0 < int(problem.headers["Retry-After"]) <= access.SECONDS
    assert managed.client.get("/healthz").status_code == 200


def test_the_wait_is_an_addresss_own_and_goes_by() -> None:
    now = [0.0]
    attempts = access.Attempts(lambda: now[0])
    for _ in range(access.ATTEMPTS):
        assert attempts.wait_seconds("a") == 0
        attempts.failed("a")
    assert attempts.wait_seconds("a") == access.SECONDS
    assert attempts.wait_seconds("b") == 0
    now[0] += access.SECONDS
    assert attempts.wait_seconds("a") == 0
    for number in range(access.ADDRESSES):
        attempts.failed(str(number))
    assert len(attempts._failures) == access.ADDRESSES


def test_a_large_request_is_not_read(managed: Managed) -> None:
    answer = managed.client.put("/lock", content=b" " * (access.BODY_BYTES + 1))
    assert answer.status_code == 413
    assert managed.client.put("/lock", content=iter([b"{}"])).status_code == 411


def test_prometheus_reads_what_is_done_and_what_the_device_is_like(managed: Managed) -> None:
    managed.deploy("first")
    assert managed.device.is_healthy()
    managed.client.get("/secret/path", headers={"Authorization": "Bearer wrong"})
    text = managed.client.get("/metrics").text
    assert 'edge_manager_requests_total{method="PUT",route="/model",status="200"} 1.0' in text
    assert 'edge_manager_requests_total{method="GET",route="none",status="401"} 1.0' in text
    assert 'edge_manager_healthy{container="predictor"} 1.0' in text
    assert 'edge_manager_running{container="worker"} 0.0' in text
    assert "secret" not in text
