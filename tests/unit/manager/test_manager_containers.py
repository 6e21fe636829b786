# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, stop, logs, lock and purge: what is ours, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from edge_commit.wanted import LABEL

from tests.unit.health_gate.device import NAME, WORKER
from tests.unit.manager.managed import JOB, Managed, until

ROOT = "/:/host"


def test_a_container_is_stopped_started_and_restarted(managed: Managed) -> None:
    managed.deploy("first")
    before = managed.predictor()
    assert managed.asked("POST", "/containers/predictor/stop")["state"] == "exited"
    assert managed.asked("POST", "/containers/predictor/start")["state"] == "running"
    began = managed.device.inspect()["State"]["StartedAt"]
    assert managed.asked("POST", "/containers/predictor/restart")["started"] != began
    assert managed.predictor() == before
    managed.asked("POST", "/containers/worker/start", 404)


@pytest.mark.parametrize(
    "path", ["/containers/registry/start", "/containers/..%2f/start", "/containers/edge-manager/stop"]
)
def test_there_are_two_containers_and_no_others(managed: Managed, path: str) -> None:
    assert managed.client.post(path).status_code in (404, 422)


@pytest.mark.parametrize(
    "more", [{"image": "registry/evil@sha256:0"}, {"volumes": [ROOT]}, {"privileged": True}, {"command": ["sh"]}]
)
def test_a_request_can_name_no_image_no_mount_and_no_right(managed: Managed, more: dict[str, Any]) -> None:
    assert "Extra inputs are not permitted" in managed.deploy("first", 422, **more)["detail"]
    managed.job()
    assert "Extra inputs are not permitted" in managed.asked("POST", "/training", 422, job=JOB, **more)["detail"]
    managed.asked("POST", "/training", 422, job="../../etc")
    assert managed.device.containers() == {}


def stranger(
    managed: Managed, name: str, image: str = "new", labels: dict[str, str] | None = None, **host: Any
) -> None:
    api = managed.device.api
    config = api.create_host_config(cap_drop=["ALL"], **host)
    api.create_container(managed.device.images[image], name=name, labels=labels, host_config=config)


def test_a_container_that_somebody_else_made_is_left_alone(managed: Managed) -> None:
    stranger(managed, NAME)
    stranger(managed, WORKER)
    managed.job()
    for method, path in (("POST", "start"), ("POST", "stop"), ("POST", "restart"), ("GET", "logs")):
        assert "was made neither by" in managed.asked(method, f"/containers/predictor/{path}", 409)["detail"]
    managed.deploy("first", 409)
    managed.asked("POST", "/training", 409, job=JOB)
    managed.asked("DELETE", "/training", 409)
    assert managed.asked("POST", "/purge")["containers"] == []
    assert managed.device.containers() == {NAME: "new", WORKER: "new"}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"image": "old"}, "names another"),
        ({"binds": [ROOT]}, "needs: /."),
        ({"privileged": True}, "needs: Privileged."),
        ({"cap_add": ["SYS_ADMIN"]}, "needs: CapAdd."),
        ({"pid_mode": "host"}, "needs: PidMode."),
        ({"network_mode": "host"}, "needs: NetworkMode."),
    ],
)
def test_a_copied_label_starts_nothing(managed: Managed, made: dict[str, Any], reason: str) -> None:
    stranger(managed, NAME, labels={LABEL: "{}"}, **made)
    for verb in ("start", "restart"):
        assert reason in managed.asked("POST", f"/containers/predictor/{verb}", 403)["detail"]
    assert managed.device.inspect()["State"]["Status"] == "created"
    managed.device.empty()
    stranger(managed, NAME, labels={LABEL: "{}"})
    managed.asked("POST", "/containers/predictor/start")


def test_logs_are_told_and_followed(managed: Managed) -> None:
    managed.deploy("first")
    said = managed.device.api.exec_create(NAME, ["sh", "-c", "echo hello > /proc/1/fd/1"])["Id"]
    managed.device.api.exec_start(said)
    until(lambda: "hello" in managed.client.get("/containers/predictor/logs").text)
    assert managed.client.get("/containers/predictor/logs", params={"tail": 0}).text == ""
    with managed.client.stream("GET", "/containers/predictor/logs", params={"follow": True, "tail": 0}) as answer:
        again = managed.device.api.exec_create(NAME, ["sh", "-c", "echo again > /proc/1/fd/1"])["Id"]
        managed.device.api.exec_start(again)
        assert next(answer.iter_lines()).endswith(" again")
    managed.asked("GET", "/containers/worker/logs", 404)


def test_who_follows_logs_and_goes_away_leaves_room_for_others(managed: Managed) -> None:
    managed.deploy("first")
    path = "/containers/predictor/logs?follow=true"
    for _round in range(2):
        streams = [managed.client.stream("GET", path) for _ in range(4)]
        for stream in streams:
            until(lambda stream=stream: stream.__enter__().status_code == 200)
        until(lambda: managed.client.get("/containers/predictor/logs").status_code == 429)
        for stream in streams:
            stream.__exit__(None, None, None)
        until(lambda: managed.client.get("/containers/predictor/logs").status_code == 200)


def test_a_locked_device_is_left_as_it_is_and_says_by_whom(managed: Managed) -> None:
    managed.deploy("first")
    managed.asked("PUT", "/lock", holder="alice", reason="new disk")
    changes = [
        managed.deploy("first", 423),
        managed.asked("POST", "/containers/predictor/restart", 423),
        managed.asked("DELETE", "/training", 423),
        managed.asked("POST", "/purge", 423),
        managed.asked("PUT", "/lock", 409, holder="bob", reason="mine"),
    ]
    assert {one["holder"]["holder"] for one in changes} == {"alice"}
    assert managed.asked("GET", "/status")["lock"]["reason"] == "new disk"
    managed.asked("DELETE", "/lock", 204)
    assert managed.asked("GET", "/lock") is None
    managed.asked("POST", "/containers/predictor/restart")


def test_a_purge_keeps_what_serves_what_was_released_and_what_a_rollback_needs(managed: Managed) -> None:
    managed.deploy("first")
    managed.release("second")
    managed.deploy("second")
    models = managed.root / "models"
    (models / f"{'0' * 64}.tar").write_bytes(b"old")
    (managed.root / "outside").mkdir()
    (managed.root / "outside" / "file").touch()
    (managed.root / "checkpoints" / JOB).mkdir()
    (managed.root / "checkpoints" / JOB / "epoch-0001.pt").touch()
    (managed.root / "checkpoints" / "link").symlink_to(managed.root / "outside")
    managed.job()
    managed.asked("POST", "/training", job=JOB)
    managed.asked("POST", "/containers/worker/stop")
    gone = managed.asked("POST", "/purge")
    assert gone["containers"] == [WORKER]
    assert gone["models"] == [f"sha256:{'0' * 64}"]
    assert gone["checkpoints"] == [JOB]
    assert sorted(f"sha256:{one.stem}" for one in models.iterdir()) == sorted(managed.models.values())
    assert (managed.root / "outside" / "file").exists()
    assert managed.device.containers() == {NAME: "new"}
