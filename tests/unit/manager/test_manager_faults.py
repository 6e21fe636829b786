# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a device: its engine restarts, its power goes, and somebody sends whatever comes to mind."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode, openapi

from tests.unit.health_gate.device import NAME
from tests.unit.manager.managed import TOKEN, Managed, process, served, until


def test_an_engine_that_restarts_is_waited_for_by_nobody_and_found_again(managed: Managed) -> None:
    managed.deploy("first")
    managed.device.cut_power()
    for path in ("/healthz", "/status"):
        assert managed.asked("GET", path, 503)["title"] == "The Docker Engine does not answer"
    managed.deploy("first", 503)
    managed.device.start()
    assert managed.asked("GET", "/healthz") == {"status": "ready"}
    assert managed.asked("GET", "/status")["model"]["digest"] == managed.models["first"]
    managed.deploy("first")
    assert managed.device.inspect()["State"]["Running"]


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_killed_in_the_middle_it_comes_back_and_knows_what_runs(managed: Managed, tmp_path: Path, port: int) -> None:
    log = tmp_path / "manager.log"
    managed.device.state = managed.root / "commits"
    first = process(managed, port, log)
    try:
        managed.deploy("first")
        old = managed.predictor()
        managed.release("second", predictor=managed.device.images["old"])
        managed.breaks("second")  # so that it stays in the middle

        def deploy() -> None:
            with contextlib.suppress(httpx.TransportError):
                managed.deploy("second")

        asking = threading.Thread(target=deploy)
        asking.start()
        until(lambda: {NAME, f"{NAME}.previous"} <= set(managed.device.containers()))
        until(lambda: managed.device.inspect()["State"]["Running"])
    finally:
        first.kill()
        first.wait()
    asking.join(60)
    second = process(managed, port, log)
    try:
        assert managed.asked("GET", "/status")["replacement"]["state"] == "open"
        managed.device.recover()  # as the device does each minute
        status = managed.asked("GET", "/status")
        assert status["replacement"]["state"] == "rolled back"
        assert status["model"] == {"digest": managed.models["first"], "previous": None}
        assert status["containers"]["predictor"]["state"] == "running"
        assert managed.predictor() == old
    finally:
        managed.client.close()
        second.terminate()
        assert second.wait(30) in (0, -15)


def test_it_ends_once_its_socket_leads_nowhere_so_that_it_is_started_with_the_new_one(
    managed: Managed, tmp_path: Path, port: int
) -> None:
    """As after a restart of docker.socket: what is mounted is the old file."""
    engines = managed.device.folder / "docker.sock"
    log, away = tmp_path / "manager.log", engines.with_suffix(".away")
    running = process(managed, port, log)
    try:
        engines.rename(away)
        assert running.wait(120) == 0
        assert "no Docker Engine behind its socket" in log.read_text()
    finally:
        away.rename(engines)
        managed.client.close()
        running.kill()
        running.wait()


def test_a_full_disk_is_said_and_changes_nothing(managed: Managed) -> None:
    managed.deploy("first")
    folder = managed.root / "manager"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], check=True)
    try:
        (folder / "full").write_bytes(b"0" * 4096)
        managed.release("second")
        before = managed.predictor()
        assert managed.asked("PUT", "/lock", 507, holder="alice", reason="disk")["title"] == "The disk is full"
        assert managed.deploy("second", 507)["title"] == "The disk is full"
        assert managed.predictor() == before
        assert managed.asked("GET", "/lock") is None
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_state_that_cannot_be_read_is_named(managed: Managed) -> None:
    (managed.root / "manager").mkdir()
    (managed.root / "manager" / "state.json").write_text("{")
    with pytest.raises(SystemExit, match=r"state\.json cannot be read"), served(managed):
        pass


@pytest.mark.parametrize(
    ("mode", "each", "least"), [(GenerationMode.POSITIVE, 15, 50), (GenerationMode.NEGATIVE, 150, 1000)]
)
def test_requests_of_all_kinds_end_in_no_server_error(
    managed: Managed, mode: GenerationMode, each: int, least: int
) -> None:
    """Made of the service's own OpenAPI document, and of what breaks it."""
    document = managed.asked("GET", "/openapi.json")
    for path in document["paths"].values():
        for described in path.values():
            described.pop("security", None)  # the wait after wrong tokens would soon be all that is seen
    schema = openapi.from_dict(document)
    schema.config.update(base_url=str(managed.client.base_url), tls_verify=str(managed.config / "ca.crt"))
    statuses: list[int] = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(
            max_examples=each, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
        )
        def asked(case: schemathesis.Case) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
            statuses.append(answer.status_code)
            case.validate_response(answer)

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong about it
            asked()
    assert len(statuses) >= least
    assert (422 if mode is GenerationMode.NEGATIVE else 204) in statuses
    assert max(statuses) < 500
