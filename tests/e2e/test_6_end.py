"""What takes from a rack: a retired device, and the end of the lab. Nothing can be tested on it afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from lab import engine
from tests.e2e.rack import (
    Lab,
    inventory,
    remains,
)


@contextmanager
def training(lab: Lab, *options: str) -> Iterator[tuple[Path, Future[subprocess.CompletedProcess[str]]]]:
    """One that is at work, with epochs enough to do something to it meanwhile: the job's folder, and its end."""
    before = set(lab.state.glob("jobs/*"))

    def begun() -> list[Path]:
        return [one.parent for one in lab.state.glob("jobs/*/progress.jsonl") if one.parent not in before]

    with ThreadPoolExecutor() as pool:
        end = pool.submit(lab.playbook, "playbooks/train.yml", "-e", "train_epochs=60", *options)
        while not any("epoch" in (one / "progress.jsonl").read_text() for one in begun()):
            assert not end.done(), end.result().stdout
            time.sleep(0.2)
        (folder,) = begun()
        yield folder, end


def progress(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "job.json").read_text())["result"]
    return found


def test_a_training_that_loses_a_worker_goes_on_with_the_others(lab: Lab, first: dict[str, Any]) -> None:
    """Its container is killed, with the two ranks in it, after the first epochs."""
    with training(lab, "-e", "train_seed=7", "-e", "train_slots=2") as (folder, end):
        # As only the device's own Device Manager marks it.
        assert "edge.commit.options" in lab.inside("nuc-002", "docker", "inspect", "edge-worker")
        lab.inside("nuc-002", "docker", "kill", "edge-worker")
    assert end.result().returncode == 0
    came = result(folder)
    assert (came["ranks"], came["hosts"], came["lost_workers"]) == (2, ["nuc-001", "nuc-001"], ["nuc-002"])
    assert [one["workers"] for one in came["restarts"]] == [["nuc-001"]]
    assert came["accuracy"] >= 0.93
    epochs = [one["epoch"] for one in progress(folder) if one["event"] == "epoch"]
    assert epochs == sorted(set(epochs))  # none was trained twice
    assert epochs[-1] == 60
    notes = [one["text"] for one in progress(folder) if one["event"] == "note"]
    assert any("going on with 1 of 2 workers" in note for note in notes)
    for name in ("nuc-001", "nuc-002"):
        assert lab.inside(name, "docker", "ps", "--all", "--quiet", "--filter", "name=edge-worker") == ""


@pytest.mark.long
def test_a_training_that_loses_the_device_that_started_it_goes_on_with_another(lab: Lab, first: dict[str, Any]) -> None:
    with training(lab, "-e", "train_seed=8") as (folder, end), lab.without_power("nuc-001"):
        done = end.result()
    assert "nuc-001 cannot start the training: it does not answer any more" in " ".join(done.stdout.split())
    assert done.returncode == 0
    came = result(folder)
    assert came["hosts"] == ["nuc-002"]
    assert [one["name"] for one in came["left_out"]] == ["nuc-001"]
    assert came["accuracy"] >= 0.93
    notes = [one["text"] for one in progress(folder) if one["event"] == "note"]
    assert any("with the checkpoint of nuc-002" in note for note in notes)


def test_a_retired_device_is_wiped_and_forgotten(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.playbook("playbooks/retire.yml", "-e", "device=nuc-009")
    assert done.returncode != 0
    assert "MAAS knows no device nuc-009" in done.stdout
    done = lab.playbook("playbooks/retire.yml", "-e", "device=nuc-002")
    assert done.returncode == 0
    host = inventory(lab)["_meta"]["hostvars"]["nuc-002"]
    assert (host["maas_status"], host["maas_tags"]) == ("Ready", ["retired"])
    assert "nuc-002" not in (lab.state / "known_hosts_devices").read_text()
    url = engine.answering()
    assert url is not None
    with engine.connect(url) as client, pytest.raises(docker.errors.NotFound):
        client.containers.get("edge-e2e-nuc-002")
    # Nobody takes it back unasked, and nobody waits for it: the rack's expectation is still two devices.
    done = lab.playbook("playbooks/enroll.yml")
    assert done.returncode == 0
    assert "nuc-002: it is Ready, retired" in done.stdout
    assert inventory(lab)["_meta"]["hostvars"]["nuc-002"]["maas_status"] == "Ready"


def test_a_subnet_that_is_taken_is_refused(lab: Lab, first: dict[str, Any], tmp_path: Path) -> None:
    done = lab.up(LAB_NAME="other", LAB_STATE=str(tmp_path))
    assert done.returncode == 1
    assert "subnet 10.78.0.0/24 is taken: 10.78.0.0/24 is routed through br-edge-e2e" in done.stdout


def test_a_rack_does_not_shrink_or_move_by_itself(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.up(LAB_DEVICES="1")
    assert done.returncode == 1
    assert "the rack holds 2 devices and LAB_DEVICES=1" in done.stdout
    done = lab.up(LAB_SUBNET="10.79.0.0/24")
    assert done.returncode == 1
    assert "LAB_SUBNET says 10.79.0.0/24" in done.stdout


def test_down_removes_all_of_it(lab: Lab, first: dict[str, Any]) -> None:
    done = lab.run(sys.executable, "-m", "lab", "down")
    assert done.returncode == 0
    assert not lab.state.exists()
    url = engine.answering()
    if url is not None:
        with engine.connect(url) as client:
            assert remains(client) == []
