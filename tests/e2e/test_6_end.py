"""What takes from a rack: a retired device, and the end of the lab. Nothing can be tested on it afterwards."""

from __future__ import annotations

import sys
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
