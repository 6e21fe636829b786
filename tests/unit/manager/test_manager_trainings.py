# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This device's part in a training, by the Device Manager and a real Docker Engine."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

import pytest

from tests.unit.health_gate.device import CHECKOUT, NAME, WORKER
from tests.unit.manager.managed import JOB, Managed, served
from tests.unit.manager.test_manager_containers import stranger

from edge_training.manager import containers, status  # isort: skip - its folder is known by now

# On every machine with Debian's packages; the second one is named twice.
DATA_DIRS = ["/usr/share/misc", "/usr/share/doc", "/usr/share/misc"]


def test_a_worker_is_made_for_one_job_and_is_gone_at_its_end(managed: Managed) -> None:
    assert managed.asked("GET", "/training")["state"] == "none"
    managed.job()
    began = managed.asked("POST", "/training", job=JOB)
    assert (began["job"], began["state"]) == (JOB, "ready")
    worker = managed.device.inspect(WORKER)
    host = worker["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 1_500_000_000, 512)
    assert host["Binds"][0] == f"{managed.keys}/{JOB}:/run/edge-job:ro"
    assert worker["Config"]["Image"] == f"127.0.0.1:5000/edge/worker@{managed.device.images['new'].partition('@')[2]}"
    assert managed.asked("POST", "/training", job=JOB)["began"] == began["began"]
    assert managed.asked("POST", "/training", 409, job="digits-2")["job"] == JOB
    assert managed.asked("DELETE", "/training")["state"] == "none"
    assert managed.asked("DELETE", "/training")["state"] == "none"
    assert managed.device.containers() == {}


def test_a_worker_reads_its_tasks_data(managed: Managed) -> None:
    managed.job()
    managed.asked("POST", "/training", job=JOB, data_dirs=DATA_DIRS)
    mounts = {one["Destination"]: one for one in managed.device.inspect(WORKER)["Mounts"]}
    for folder in DATA_DIRS:
        assert (mounts[folder]["Source"], mounts[folder]["RW"]) == (folder, False)
    managed.asked("POST", "/training", job=JOB, data_dirs=DATA_DIRS[:1])
    problem = managed.asked("POST", "/training", 409, job=JOB, data_dirs=["/srv/more", *DATA_DIRS])
    assert "edge-worker runs without /srv/more." in problem["detail"]
    for verb in ("stop", "start", "restart"):
        managed.asked("POST", f"/containers/worker/{verb}")


@pytest.mark.parametrize(
    "folder",
    [
        "/etc",
        "/srv",
        "/srv/",
        "/srv/x/",
        "/srv//x",
        "/srv/../etc",
        "/srv/x/..",
        "/srv/.x",
        "srv/x",
        "/usr/shared/x",
        "/srv/x:/etc",
        "/srv/x\n",
        1,
    ],
)
def test_a_worker_reads_nothing_else_of_the_device(managed: Managed, folder: object) -> None:
    managed.job()
    problem = managed.asked("POST", "/training", 422, job=JOB, data_dirs=["/srv/x", folder])
    assert "body.data_dirs.1: " in problem["detail"]
    assert managed.device.containers() == {}


@pytest.mark.parametrize(
    "bind", ["/usr/share/doc:/usr/share/doc", "/usr/share/doc:/var/lib/edge/data:ro", "/etc:/srv:ro"]
)
def test_a_copied_label_of_a_job_gives_no_other_folder(managed: Managed, bind: str) -> None:
    stranger(managed, WORKER, labels={containers.JOB: JOB}, binds=[bind], network_mode="host")
    problem = managed.asked("POST", "/containers/worker/start", 403)
    assert f"has more than it needs: {bind.partition(':')[0]}." in problem["detail"]


def test_the_chain_of_trust_admits_the_same_data() -> None:
    program = runpy.run_path(str(CHECKOUT / "roles/trust/files/edge_trust/start.py"))
    assert program["DATA"] == containers.DATA


def test_an_image_that_is_not_on_the_device_is_not_fetched(managed: Managed) -> None:
    managed.job()
    managed.release("first", worker=f"edge/worker@sha256:{'0' * 64}")
    assert managed.asked("POST", "/training", 409, job=JOB)["title"] == "The image is not on the device"


def test_a_locked_device_takes_part_in_no_training(managed: Managed) -> None:
    managed.job()
    managed.asked("PUT", "/lock", holder="alice", reason="new disk")
    assert "alice has locked it" in managed.asked("POST", "/training", 423, job=JOB)["detail"]
    assert managed.device.containers() == {}


def test_a_worker_of_an_ansible_run_is_stopped_like_its_own(managed: Managed) -> None:
    """edge.rack.train makes it with a label of its job (role training_worker)."""
    image = f"127.0.0.1:5000/edge/worker@{managed.device.images['new'].partition('@')[2]}"
    host = managed.device.api.create_host_config(network_mode="host")
    made = managed.device.api.create_container(
        image, ["mpirun"], name=WORKER, labels={"edge.job": JOB}, host_config=host
    )
    managed.device.api.start(made)
    assert managed.asked("GET", "/training")["job"] == JOB
    assert managed.asked("POST", "/training", 409, job="digits-2")["job"] == JOB
    assert managed.asked("DELETE", "/training")["state"] == "none"
    assert managed.device.containers() == {}


def test_a_job_without_keys_is_not_begun(managed: Managed) -> None:
    assert "holds no keys of the job" in managed.asked("POST", "/training", 409, job=JOB)["detail"]
    assert managed.device.containers() == {}


def test_a_worker_that_is_not_ready_is_removed_again(managed: Managed) -> None:
    managed.job()
    managed.release("first", worker=managed.device.images["bad"])
    managed.device.api.tag(managed.device.images["bad"], "127.0.0.1:5000/edge/worker", "bad")
    managed.device.api.push("127.0.0.1:5000/edge/worker", "bad")
    with served(managed, EDGE_READY_SECONDS="1"):
        problem = managed.asked("POST", "/training", 502, job=JOB)
    assert "it is not healthy within 1 seconds" in problem["detail"]
    assert managed.device.containers() == {}


def test_a_worker_that_was_cut_before_it_ran_is_made_anew(managed: Managed) -> None:
    managed.job()
    managed.asked("POST", "/training", job=JOB)
    managed.device.api.kill(WORKER)
    assert managed.asked("GET", "/training")["exit_status"] == 137
    assert managed.asked("POST", "/training", job=JOB)["state"] == "ready"


def test_a_training_does_not_put_a_new_model_off(managed: Managed) -> None:
    managed.deploy("first")
    managed.train()
    managed.release("second")
    assert managed.deploy("second")["digest"] == managed.models["second"]


def test_a_training_puts_a_new_predictor_off_until_its_next_checkpoint_unless_it_is_forced(managed: Managed) -> None:
    managed.deploy("first")
    managed.train()
    mark = managed.root / "checkpoints" / JOB / "whole"
    mark.parent.mkdir()
    mark.touch()
    managed.release("second", predictor=managed.device.images["old"])
    assert managed.deploy("second", 409)["title"] == "The device trains"
    assert managed.asked("POST", "/purge", 409)["title"] == "The device takes part in a training"
    mark.touch()
    assert managed.deploy("second")["digest"] == managed.models["second"]
    assert managed.device.containers() == {NAME: "old", WORKER: "new"}
    managed.release("first")
    assert managed.deploy("first", force=True)["digest"] == managed.models["first"]
    assert managed.device.containers() == {NAME: "new", WORKER: "new"}


def test_the_launcher_tells_how_far_the_job_is(managed: Managed) -> None:
    managed.job()
    managed.asked("POST", "/training", job=JOB)
    folder = managed.root / "state" / "jobs" / JOB
    folder.mkdir(parents=True)
    lines = [json.dumps({"event": "epoch", "epoch": epoch}) for epoch in (1, 2, 3)]
    (folder / "progress.jsonl").write_text("\n".join(lines)[:-4])
    assert managed.asked("GET", "/training")["progress"] == {"event": "epoch", "epoch": 2}
    (folder / "result.json").write_text('{"accuracy": 0.97}')
    assert managed.asked("GET", "/training")["result"] == {"accuracy": 0.97}


@pytest.mark.parametrize(
    "text", [b"[1]", b"{", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"[" * 9999, b"\xff"]
)
def test_what_a_container_wrote_may_be_anything(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "file").write_bytes(text)
    assert status.last_object(tmp_path / "file", tmp_path, whole=True) is None


def test_a_link_or_a_pipe_that_a_container_made_is_not_followed(tmp_path: Path) -> None:
    inside = tmp_path / "edge"
    inside.mkdir()
    (tmp_path / "secret").write_text('{"a": 1}')
    (inside / "file").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    assert [status.last_object(inside / name, inside) for name in ("file", "folder/secret", "pipe")] == [None] * 3
