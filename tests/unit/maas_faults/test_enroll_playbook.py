# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/enroll.yml against a region whose machines play their part, some of them badly."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine
from maas_region import API_KEY

from tests.unit.playbook_runs import ansible_playbook

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

    def run(*options: str, devices: dict[str, dict[str, Any]] | None = None, **more: Any) -> Any:
        """With the devices as hosts, where some are given; each as it can be reached."""
        hosts = {name: {**interpreter, "ansible_become": False, **how} for name, how in (devices or {}).items()}
        inventory = {
            "all": {
                "hosts": {"localhost": interpreter, **hosts},
                "vars": {**variables, **more},
                "children": {name: {"hosts": {host: {} for host in hosts}} for name in ("devices", "status_deployed")},
            }
        }
        (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
        inventory_file = str(tmp_path / "inventory.yml")
        done = ansible_playbook(
            "playbooks/enroll.yml", *options, seconds=300, stderr=subprocess.STDOUT, ANSIBLE_INVENTORY=inventory_file
        )
        print(done.stdout, file=sys.stderr)  # what modules print is read from stdout
        return done

    return run


def machines(rack: Any) -> dict[str, dict[str, Any]]:
    return {m["hostname"]: m for m in rack.region.call("GET", "machines/").json()}


def changed(done: subprocess.CompletedProcess[str]) -> bool:
    return "changed=0 " not in done.stdout


def test_who_fails_is_set_aside_and_the_rest_go_on(
    rack: Any, devices: Any, enroll: Enroll, run_module: Any, known_hosts: Path
) -> None:
    rack.region.upload("custom/other", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    names = ("good-1", "bad", "good-2", "silent", "foreign", "nuc-01-01", "newcomer")
    ids = dict(zip(names, rack.add(*names), strict=True))
    devices.keys = {"good-1": [KEY], "good-2": [KEY]}
    devices.failing = {"bad": "/dev/sda is dying"}
    # One that runs another image, and one whose place a retired machine still holds.
    run_module(maas_machine, state="deployed", image="custom/other", hostname="foreign", tags=["trainer", "theirs"])
    run_module(maas_machine, state="present", hostname="nuc-01-01", tags=["retired"])
    place = {"mac_address": "52:54:00:00:00:07", "shelf": 1, "slot": 1}
    off = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    hosts = {name: {"maas_system_id": ids[name], **(off if name == "silent" else {})} for name in ("good-1", "silent")}
    done = enroll(devices=hosts, enroll_places=[place], enroll_failed_percent_max=70, enroll_host_key_wait_seconds=20)
    assert done.returncode == 0
    assert {name: m["status_name"] for name, m in machines(rack).items()} == {
        "good-1": "Deployed",
        "good-2": "Deployed",
        "silent": "Deployed",
        "bad": "Failed commissioning",
        "foreign": "Deployed",
        "nuc-01-01": "New",
        "newcomer": "New",
    }
    assert "bad: it is Failed commissioning" in done.stdout
    assert "silent: it reported no SSH host key within 20 s" in done.stdout
    assert "foreign: it is Deployed with the image custom/other, not custom/edge-nuc." in done.stdout
    assert f"newcomer: the name nuc-01-01 belongs to the machine {ids['nuc-01-01']}" in done.stdout
    # Only who can be worked with is in the group, and is asked whether it answers.
    tags = {name: m["tag_names"] for name, m in machines(rack).items()}
    assert {name for name in tags if "trainer" in tags[name]} == {"good-1", "good-2"}
    assert tags["foreign"] == ["theirs"]
    assert [line.split()[0] for line in done.stdout.partition("PLAY RECAP")[2].splitlines()[1:] if line] == [
        "good-1",
        "localhost",
    ]
    lines = [line for line in known_hosts.read_text().splitlines() if not line.startswith("#")]
    assert [line.split(",")[0] for line in lines] == ["good-1", "good-2"]
    assert all(line.endswith(f" {KEY}") for line in lines)

    # The disk was replaced, the place is free, the silent one found its voice. MAAS has forgotten how good-1 began.
    run_module(maas_machine, state="released", hostname="foreign")
    run_module(maas_machine, state="absent", hostname="nuc-01-01")
    devices.failing = {}
    devices.keys = {name: [KEY] for name in ("good-1", "good-2", "bad", "silent", "foreign", "nuc-01-01")}
    devices.report_keys_of("silent", ids["silent"])
    with sqlite3.connect(rack.settings.data / "region.sqlite3") as db:
        starts = "('Deploying', 'User starting deployment')"
        db.execute(f"DELETE FROM event WHERE system_id = ? AND type IN {starts}", (ids["good-1"],))
    done = enroll(enroll_places=[place])
    assert done.returncode == 0
    assert {name: (m["status_name"], m["tag_names"]) for name, m in machines(rack).items()} == {
        **dict.fromkeys(("good-1", "good-2", "bad", "silent", "nuc-01-01"), ("Deployed", ["trainer"])),
        "foreign": ("Deployed", ["theirs", "trainer"]),
    }
    assert len(known_hosts.read_text().splitlines()) == 7
    assert not changed(enroll(enroll_places=[place]))


@pytest.mark.long
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


def test_a_retired_device_is_left_alone(rack: Any, devices: Any, enroll: Enroll, run_module: Any) -> None:
    rack.add("gone", "here")
    devices.keys = {"here": [KEY]}
    rack.region.call("POST", "resourcepools/", data={"name": "edge"})
    run_module(maas_machine, state="present", hostname="gone", tags=["retired"])
    before = machines(rack)["gone"]
    # It counts as one of the devices that are expected.
    done = enroll(enroll_expected_devices=2, enroll_pool="edge")
    assert done.returncode == 0
    assert "gone: it is New, retired" in done.stdout
    found = machines(rack)
    assert (found["here"]["status_name"], found["here"]["pool"]["name"]) == ("Deployed", "edge")
    for name in ("status_name", "pool", "tag_names", "power_type"):
        assert found["gone"][name] == before[name], name


def test_check_mode_changes_nothing(rack: Any, enroll: Enroll, known_hosts: Path) -> None:
    rack.add("one")
    done = enroll("--check", "--diff")
    assert done.returncode == 0
    assert machines(rack)["one"]["status_name"] == "New"
    assert not known_hosts.exists()
