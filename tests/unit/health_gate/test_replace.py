# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge-commit keeps and what it puts back, with a real Docker Engine."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.health_gate import steps
from tests.unit.health_gate.device import CHECKOUT, NAME, OPTIONS, WORKER, Device

from edge_commit import cli, swap  # isort: skip - its folder is known by now
from edge_commit.errors import CommitError  # isort: skip
from edge_commit.journal import Deferral, Folder  # isort: skip
from edge_commit.wanted import Wanted  # isort: skip

DEFER = {"container": WORKER, "max_seconds": 3600, "then": "wait"}


@pytest.fixture
def after(device: Device) -> Callable[..., Any]:
    """Apply, and do something else when a step is done for the first time."""

    def apply(step: str, act: Callable[[], object], image: str) -> swap.Result:
        waiting = [step]

        def done(told: str) -> None:
            if told in waiting:
                waiting.clear()
                act()

        with steps.told(done):
            return device.apply(image)

    return apply


def test_the_first_container_is_created_and_a_second_run_changes_nothing(device: Device) -> None:
    first = device.apply("old")
    assert (first.action, first.changed, first.failed) == ("created", True, False)
    assert device.is_healthy()
    changed: list[str] = []
    with steps.told(changed.append):
        second = device.apply("old")
    assert (second.action, second.changed, changed) == ("none", False, [])


def test_the_same_image_from_another_registry_is_no_change(device: Device) -> None:
    device.apply("old")
    elsewhere = device.images["old"].replace("127.0.0.1", "localhost")
    device.api.pull(elsewhere)
    assert device.apply(elsewhere).action == "none"


def test_the_journal_names_the_digest_to_go_back_to_and_the_registry_is_told_to_keep_it(device: Device) -> None:
    device.apply("old")
    result = device.apply("new")
    old = device.images["old"].partition("@")[2]
    assert (result.action, result.previous_digest) == ("replaced", old)
    assert device.journal()["old"]["digest"] == old
    settings = device.folder / "report.json"
    settings.write_text(json.dumps({"device": "nuc-001", "repositories": "edge/"}))
    report = [sys.executable, CHECKOUT / "roles/docker_engine/files/report-images", "--print", "--settings", settings]
    reported = json.loads(subprocess.run(report, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    assert f"edge/predictor@{old}" in reported["rollback"]
    assert device.apply("old").action == "replaced"
    assert device.containers() == {NAME: "old"}


def test_an_unhealthy_container_gives_way_to_the_old_one(device: Device) -> None:
    device.apply("old")
    command = ["sh", "-c", "echo the model is missing; sleep 60"]
    result = device.apply("bad", options={"command": command})
    assert (result.action, result.failed) == ("rolled back", True)
    assert "its HEALTHCHECK is unhealthy" in result.msg
    assert result.log == ["the model is missing"]
    assert device.containers() == {NAME: "old"}
    assert device.is_healthy()


def test_one_that_never_gets_healthy_gives_way_at_the_deadline(device: Device) -> None:
    device.apply("old")
    slow = {"healthcheck": {"test": ["CMD", "sleep", "60"], "interval_seconds": 0.2}}
    result = device.apply("new", options=slow, health_deadline_seconds=1)
    assert "not healthy within 1 seconds: its HEALTHCHECK is starting" in result.msg
    assert device.containers() == {NAME: "old"}


SELDOM = 3600
"""An interval, in seconds, that no test waits for: the engine says `starting` all the time."""


def test_a_healthy_one_is_kept_before_the_engine_first_looks(device: Device) -> None:
    seldom = {"healthcheck": {"test": ["CMD", "ready"], "interval_seconds": SELDOM}}
    device.apply("old", options=seldom)
    assert device.apply("new", options=seldom).action == "replaced"
    assert device.containers() == {NAME: "new"}
    assert device.inspect()["State"]["Health"]["Status"] == "starting"


def test_one_that_is_not_says_why_before_the_engine_first_looks(device: Device) -> None:
    device.apply("old")
    says = {"test": ["CMD-SHELL", "echo no model yet; exit 1"], "interval_seconds": SELDOM}
    result = device.apply("new", options={"healthcheck": says}, health_deadline_seconds=2)
    assert "its HEALTHCHECK is starting and says: no model yet" in result.msg
    assert device.containers() == {NAME: "old"}


def test_one_that_ends_gives_way_at_once(device: Device) -> None:
    device.apply("old")
    result = device.apply("new", options={"command": ["sh", "-c", "exit 7"]}, health_deadline_seconds=600)
    assert "it ended with exit status 7" in result.msg
    assert device.containers() == {NAME: "old"}


def test_one_that_cannot_start_gives_way(device: Device) -> None:
    device.apply("old")
    result = device.apply("new", options={"command": ["/bin/nothing"]})
    assert "the Docker Engine refuses" in result.msg
    assert "/bin/nothing" in result.msg
    assert device.containers() == {NAME: "old"}
    assert device.is_healthy()


def test_an_unhealthy_first_one_leaves_nothing(device: Device) -> None:
    result = device.apply("bad")
    assert result.failed
    assert "There was none before" in result.msg
    assert device.containers() == {}


def test_an_address_of_the_device_is_asked_too(device: Device) -> None:
    device.apply("old")
    result = device.apply("new", health_url="http://127.0.0.1:9/", health_deadline_seconds=1)
    assert "http://127.0.0.1:9/ does not answer well" in result.msg
    assert device.containers() == {NAME: "old"}


def test_the_same_unhealthy_one_is_not_tried_again_where_that_is_not_wanted(device: Device) -> None:
    device.apply("old")
    device.apply("bad")
    begun = device.inspect()["State"]["StartedAt"]
    result = device.apply("bad", retry_failed=False)
    assert result.failed
    assert "retry_failed" in result.msg
    assert device.inspect()["State"]["StartedAt"] == begun
    assert device.apply("bad", retry_failed=True).action == "rolled back"
    assert device.apply("new", retry_failed=False).action == "replaced"


def test_one_that_the_engine_refused_is_tried_again(device: Device) -> None:
    device.apply("old")
    away = {"network_mode": "edge-not-there"}
    assert "the Docker Engine refuses" in device.apply("new", options=away, retry_failed=False).msg
    again = device.apply("new", options=away, retry_failed=False)
    assert (again.action, again.failed) == ("rolled back", True)
    assert "retry_failed" not in again.msg
    assert device.containers() == {NAME: "old"}


def test_check_mode_tells_and_changes_nothing(device: Device) -> None:
    device.apply("old", options={"env": {"MODEL": "1"}})
    changed: list[str] = []
    with steps.told(changed.append):
        result = device.apply("new", options={"env": {"MODEL": "2"}}, check=True)
    assert (result.action, result.changed, changed) == ("replaced", True, [])
    before, after = result.diff["before"], result.diff["after"]
    assert {key: (before[key], after[key]) for key in after if before[key] != after[key]} == {
        "image": (device.images["old"], device.images["new"]),
        "env": ({"MODEL": "1"}, {"MODEL": "2"}),
    }
    assert device.containers() == {NAME: "old"}


def test_check_mode_needs_no_image(device: Device) -> None:
    away = f"registry.invalid/edge/predictor@sha256:{'0' * 64}"
    assert device.apply(away, check=True).action == "created"
    with pytest.raises(CommitError, match="is not on the device"):
        device.apply(away)


def test_a_container_that_stands_still_is_started_again(device: Device) -> None:
    device.apply("old")
    made = device.inspect()["Id"]
    device.api.stop(NAME)
    result = device.apply("old")
    assert (result.action, result.changed) == ("started", True)
    assert device.inspect()["Id"] == made
    assert device.is_healthy()


def test_nothing_is_replaced_during_a_training(device: Device) -> None:
    device.apply("old")
    device.train()
    result = device.apply("new", defer=DEFER)
    assert (result.action, result.changed, result.failed) == ("deferred", False, False)
    assert f"{WORKER} trains" in result.msg
    assert device.containers() == {NAME: "old", WORKER: "new"}
    assert device.apply("old", defer=DEFER).action == "none"
    device.api.remove_container(WORKER, force=True)
    assert device.apply("new", defer=DEFER).action == "replaced"


def test_a_training_is_waited_for_until_a_checkpoint_is_whole(device: Device, tmp_path: Path) -> None:
    mark = tmp_path / "checkpoints/digits-1/whole"
    mark.parent.mkdir(parents=True)
    defer = {**DEFER, "checkpoints_dir": str(tmp_path / "checkpoints")}
    device.apply("old")
    device.train()
    mark.write_text("3\n")
    os.utime(mark, (time.time() - 5, time.time() - 5))
    assert device.apply("new", defer=defer).action == "deferred"
    # That one was there before.
    assert device.apply("new", defer=defer).action == "deferred"
    mark.write_text("4\n")
    assert device.apply("new", defer=defer).action == "replaced"
    assert device.containers()[WORKER] == "new"


def test_a_worker_that_only_waits_is_no_training(device: Device) -> None:
    device.apply("old")
    device.train("sh")
    assert device.apply("new", defer=DEFER).action == "replaced"


def long_since(device: Device) -> None:
    """Deferred for more than the maximum."""
    begun = Deferral.begin()
    Folder(device.state).defer(NAME, replace(begun, since=begun.since - 3601, up=begun.up - 3601))


YEAR = 365 * 86400


@pytest.mark.parametrize("wrong", [-YEAR, YEAR])
def test_a_clock_that_is_wrong_by_a_year_ends_no_deferral(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    device.apply("old")
    device.train()
    checkpoints = {**DEFER, "then": "force", "checkpoints_dir": str(tmp_path)}
    mark = tmp_path / "digits-1/whole"
    mark.parent.mkdir()
    mark.touch()
    os.utime(mark, (time.time() - YEAR / 2,) * 2)  # a checkpoint of half a year ago is none to come either
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + wrong)
    if wrong > 0:
        os.utime(mark, (time.time(),) * 2)
    assert device.apply("new", defer=checkpoints).action == "deferred"
    monkeypatch.setattr(time, "time", right)
    result = device.apply("new", defer=checkpoints)
    assert (result.action, result.deferred_seconds < 60) == ("deferred", True)
    time.sleep(0.01)  # a file's time is coarser than the clock's
    mark.touch()
    assert device.apply("new", defer=checkpoints).action == "replaced"


@pytest.mark.parametrize(
    ("then", "action", "failed"),
    [("force", "replaced", False), ("wait", "deferred", False), ("fail", "deferred", True)],
)
def test_after_the_maximum_the_operator_has_chosen(device: Device, then: str, action: str, failed: bool) -> None:
    device.apply("old")
    device.train()
    assert device.apply("new", defer={**DEFER, "then": then}).action == "deferred"
    long_since(device)
    result = device.apply("new", defer={**DEFER, "then": then})
    assert (result.action, result.failed) == (action, failed)


def test_a_deferral_ends_with_its_training_even_if_the_new_one_fails(device: Device) -> None:
    device.apply("old")
    long_since(device)
    assert device.apply("bad", defer=DEFER, check=True).action == "replaced"
    assert Folder(device.state).deferral(NAME) is not None
    assert device.apply("bad", defer=DEFER).action == "rolled back"
    device.train()
    result = device.apply("new", defer={**DEFER, "then": "force"})
    assert (result.action, result.deferred_seconds) == ("deferred", 0)
    assert device.containers() == {NAME: "old", WORKER: "new"}


def test_a_replacement_that_is_alive_is_not_recovered(device: Device, after: Callable[..., Any]) -> None:
    device.apply("old")
    result = after("POST start", device.recover, "new")
    assert result.action == "replaced"
    assert device.containers() == {NAME: "new"}


def test_two_at_once_are_one_after_the_other(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "LOCK_SECONDS", 0)
    with Folder(device.state).lock(NAME, 0) as mine, pytest.raises(CommitError, match="another edge-commit works on"):
        assert mine
        device.apply("old")


def test_a_shutdown_in_the_middle_puts_the_old_one_back(
    device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device.apply("old")
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(device.wanted("new"))))

    def shut_down(step: str) -> None:
        if step == "POST start":
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with steps.told(shut_down):
            assert cli.main(["--state", str(device.state), "apply"]) == 0
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert "told to stop" in json.loads(capsys.readouterr().out)["msg"]
    assert device.containers() == {NAME: "old"}
    assert device.is_healthy()


@pytest.mark.parametrize("step", ["POST stop", "POST start"])
def test_an_engine_that_restarts_in_the_middle_leaves_one_container(
    device: Device, after: Callable[..., Any], step: str
) -> None:
    device.apply("old")
    result = after(step, device.restart_engine, "new")
    # The engine stops what runs: one that was started is lost with it, one that was not is started by the next step.
    assert result.failed is (step == "POST start")
    assert device.containers() == {NAME: "old" if result.failed else "new"}
    assert device.is_healthy()


def test_what_could_not_be_put_back_is_recovered_later(
    device: Device, after: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "ENGINE_SECONDS", 0)
    device.apply("old")
    result = after("POST rename", device.cut_power, "new")
    assert result.failed
    assert "tries each minute" in result.msg
    device.start()
    device.recover()
    assert device.containers() == {NAME: "old"}
    assert device.is_healthy()


def test_a_late_leftover_of_a_killed_program_is_no_obstacle(device: Device) -> None:
    device.apply("old")
    host = device.api.create_host_config(network_mode="host")
    device.api.create_container(device.images["new"], name=f"{NAME}.next", host_config=host)
    assert device.apply("new").action == "replaced"
    assert device.containers() == {NAME: "new"}


def test_half_a_journal_counts_for_nothing(device: Device) -> None:
    device.apply("old")
    (device.state / f"{NAME}.json.part").write_text('{"name": "edge-pre')
    device.recover()
    assert device.apply("new").action == "replaced"


def test_a_journal_that_cannot_be_read_says_what_to_do(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    device.apply("old")
    (device.state / f"{NAME}.json").write_text("{")
    with pytest.raises(CommitError, match=f"Keep one of the containers {NAME}, {NAME}.next"):
        device.apply("new")
    assert cli.main(["--state", str(device.state), "recover"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_status_says_what_became_of_it(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    device.apply("old")
    device.apply("bad")
    assert cli.main(["--state", str(device.state), "status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)[NAME]
    assert found["state"] == "rolled back"
    assert found["previous_digest"] == device.images["old"].partition("@")[2]
    assert "unhealthy" in found["reason"]
    assert cli.main(["--state", str(device.state), "status"]) == 0
    assert f"{NAME}  rolled back  sha256:" in capsys.readouterr().out


def test_recovery_of_nothing_asks_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing")
    assert cli.main(["--state", str(tmp_path / "commits"), "recover"]) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"image": "registry/edge/predictor:1"}, "image"),
        ({"name": "edge/predictor"}, "name"),
        ({"health_url": "http://192.0.2.1/"}, "health_url"),
        ({"health_url": "file:///etc/passwd"}, "health_url"),
        ({"healthy": True}, "healthy"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    given = {"name": NAME, "image": f"registry/edge/predictor@sha256:{'0' * 64}", "options": OPTIONS, **changes}
    with pytest.raises(CommitError, match=field):
        Wanted.read(json.dumps(given))
    with pytest.raises(CommitError, match="cannot be read"):
        Wanted.read("{")


def test_one_whose_health_nobody_sees_is_refused(device: Device) -> None:
    with pytest.raises(CommitError, match="healthcheck or health_url"):
        device.apply("old", options={"healthcheck": {"test": ["NONE"]}})
    assert device.containers() == {}


def test_a_journal_of_another_version_is_read_as_far_as_it_is_known(device: Device) -> None:
    device.apply("old")
    device.apply("new")
    file = device.state / f"{NAME}.json"
    journal = json.loads(file.read_text())
    file.write_text(json.dumps({**journal, "more": 1, "old": {**journal["old"], "more": 1}}))
    assert device.apply("new").action == "none"
    device.recover()
