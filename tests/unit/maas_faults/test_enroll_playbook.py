# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/enroll.yml against a region whose machines play their part, some of them badly."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from maas_region import API_KEY

CHECKOUT = Path(__file__).resolve().parents[3]
IMAGE = b"an image" * 10
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
Enroll = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


@pytest.fixture
def enroll(rack: Any, tmp_path: Path, known_hosts: Path) -> Enroll:
    """Run the playbook with these variables; there is an image, and our key."""
    rack.region.upload("custom/edge-nuc", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA rack\n")
    interpreter = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables = {
        "maas_url": rack.region.url,
        "maas_api_key": API_KEY,
        "enroll_wait_seconds": 9,
        "enroll_deploy_wait_seconds": 120,
        "enroll_host_key_wait_seconds": 60,
        "enroll_commissioning_scripts": [],
        "enroll_ssh_public_key_file": str(tmp_path / "key.pub"),
        "enroll_known_hosts_file": str(known_hosts),
    }

    def run(*options: str, **more: Any) -> subprocess.CompletedProcess[str]:
        inventory = {"all": {"hosts": {"localhost": interpreter}, "vars": {**variables, **more}}}
        (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "playbooks/enroll.yml", *options],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_INVENTORY": str(tmp_path / "inventory.yml"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        print(done.stdout)
        return done

    return run


def machines(rack: Any) -> dict[str, dict[str, Any]]:
    return {m["hostname"]: m for m in rack.region.call("GET", "machines/").json()}


def changed(done: subprocess.CompletedProcess[str]) -> bool:
    return "changed=0 " not in done.stdout


def test_who_fails_is_set_aside_and_the_rest_go_on(rack: Any, devices: Any, enroll: Enroll, known_hosts: Path) -> None:
    rack.add("good-1", "bad", "good-2", "silent")
    devices.keys = {"good-1": [KEY], "good-2": [KEY]}
    devices.failing = {"bad": "/dev/sda is dying"}
    done = enroll(enroll_failed_percent_max=50, enroll_host_key_wait_seconds=20)
    assert done.returncode == 0
    assert {name: m["status_name"] for name, m in machines(rack).items()} == {
        "good-1": "Deployed",
        "good-2": "Deployed",
        "silent": "Deployed",
        "bad": "Failed commissioning",
    }
    assert "bad: it is Failed commissioning" in done.stdout
    assert "silent: it reported no SSH host key within 20 s" in done.stdout
    lines = [line for line in known_hosts.read_text().splitlines() if not line.startswith("#")]
    assert [line.split(",")[0] for line in lines] == ["good-1", "good-2"]
    assert all(line.endswith(f" {KEY}") for line in lines)

    # The disk was replaced, and the silent one found its voice.
    devices.failing = {}
    devices.keys = {name: [KEY] for name in ("good-1", "good-2", "bad", "silent")}
    devices.report_keys_of("silent", machines(rack)["silent"]["system_id"])
    done = enroll()
    assert done.returncode == 0
    assert {m["status_name"] for m in machines(rack).values()} == {"Deployed"}
    assert len(known_hosts.read_text().splitlines()) == 5
    assert not changed(enroll())


def test_many_failures_are_one_failure(rack: Any, devices: Any, enroll: Enroll) -> None:
    rack.add("good", "bad")
    devices.keys = {"good": [KEY]}
    devices.failing = {"bad": "/dev/sda is dying"}
    done = enroll()
    assert done.returncode != 0
    assert "1 of 2 devices failed, more than enroll_failed_percent_max" in done.stdout
    assert machines(rack)["good"]["status_name"] == "Deployed"


def test_devices_get_their_names_and_places_from_the_table(rack: Any, devices: Any, enroll: Enroll) -> None:
    rack.add("happy-cat", "sleepy-dog")
    devices.keys = {"nuc-02-07": [KEY], "sleepy-dog": [KEY]}
    for pool in ("edge", "spares"):
        rack.region.call("POST", "resourcepools/", data={"name": pool})
    place = {"mac_address": "52-54-00-00-00-01", "shelf": 2, "slot": 7, "tags": ["left"], "pool": "spares"}
    done = enroll(enroll_places=[place], enroll_pool="edge", enroll_at_once=1)
    assert done.returncode == 0
    found = machines(rack)
    assert sorted(found) == ["nuc-02-07", "sleepy-dog"]
    assert found["nuc-02-07"]["pool"]["name"] == "spares"
    assert sorted(found["nuc-02-07"]["tag_names"]) == ["left", "trainer"]
    assert found["sleepy-dog"]["pool"]["name"] == "edge"
    assert devices.most_at_once == 1


def test_a_place_that_is_given_twice_is_refused(rack: Any, enroll: Enroll) -> None:
    rack.add("one")
    places = [{"mac_address": "52:54:00:00:00:01", "shelf": 1, "slot": 1}] * 2
    done = enroll(enroll_places=places)
    assert done.returncode != 0
    assert "enroll_places names a device twice: 52:54:00:00:00:01, nuc-01-01" in done.stdout
    assert machines(rack)["one"]["status_name"] == "New"


def test_a_retired_device_is_left_alone(rack: Any, devices: Any, enroll: Enroll) -> None:
    (gone, _) = rack.add("gone", "here")
    devices.keys = {"here": [KEY]}
    rack.region.call("POST", "tags/", data={"name": "retired"})
    rack.region.call("POST", "tags/retired/?op=update_nodes", data={"add": gone})
    done = enroll()
    assert done.returncode == 0
    assert {name: m["status_name"] for name, m in machines(rack).items()} == {"gone": "New", "here": "Deployed"}


def test_check_mode_changes_nothing(rack: Any, enroll: Enroll, known_hosts: Path) -> None:
    rack.add("one")
    done = enroll("--check", "--diff")
    assert done.returncode == 0
    assert machines(rack)["one"]["status_name"] == "New"
    assert not known_hosts.exists()
