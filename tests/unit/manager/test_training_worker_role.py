# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the role training_worker has a device's Device Manager start and remove its worker."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.unit.health_gate.device import CHECKOUT, WORKER
from tests.unit.manager.managed import JOB, TOKEN, Managed
from tests.unit.playbook_runs import ansible_playbook, assert_refused_or_taken

NOBODY = "https://127.0.0.1:9"
LOOK = {
    "community.docker.docker_container_info": {"name": WORKER},
    "register": "training_worker_present",
}
OTHER = "registry.invalid:5000/edge/worker@sha256:" + "0" * 64


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"ansible.builtin.include_role": {"name": "edge.rack.training_worker", "tasks_from": name}, **more}


def played(
    managed: Managed, tasks: Iterable[dict[str, Any]], *argv: str, **devices: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """The tasks on `devices`, each of which is this machine, in one play."""
    folder = managed.root.parent
    digest = managed.device.images["new"].partition("@")[2]
    shared = {
        "ansible_connection": "local",
        "ansible_host": "127.0.0.1",
        "ansible_python_interpreter": sys.executable,
        "device_manager_config_dir": str(managed.config),
        "edge_release": {"name": "2026.11", "images": {"manager": {"tag": "1"}}},
        "manager_url": str(managed.client.base_url),
        "training_worker_image": f"registry.invalid:5000/edge/worker@{digest}",
        "training_worker_job": JOB,
        "training_worker_keys_dir": str(managed.keys),
        "training_worker_launcher": "nuc-001",
    }
    hosts = {name.replace("_", "-"): given for name, given in (devices or {"nuc_001": {}}).items()}
    inventory = {"all": {"hosts": hosts, "vars": shared}}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [*tasks]}]))
    here = {"training_worker_manager_url": "{{ manager_url }}", "training_worker_manager_retries": 0}
    done = ansible_playbook(
        *("-i", folder / "inventory.json", folder / "play.json", "-e", json.dumps(here), *argv),
        stderr=subprocess.STDOUT,
        ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default",
    )
    print(done.stdout)
    assert TOKEN not in done.stdout
    return done


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_the_device_manager_starts_the_worker_once_and_removes_it(managed: Managed) -> None:
    managed.job()
    start = [step("check"), step("data"), LOOK, step("by_manager")]
    task_data = {"training_worker_data_dirs": ["/usr/share/doc"]}
    # With all that Ansible would tell of its modules.
    begun = played(managed, start, "-vvv", nuc_001=task_data)
    assert "changed=1 unreachable=0 failed=0" in words(begun)
    worker = managed.device.inspect(WORKER)
    assert worker["Config"]["Labels"]["edge.job"] == JOB
    assert "/usr/share/doc:/usr/share/doc:ro" in worker["HostConfig"]["Binds"]
    assert distrusted(managed) == []
    ended = played(managed, [*start, step("remove"), step("remove")], nuc_001=task_data)
    # The worker that is there stays; then it goes, and the job's keys.
    assert "changed=2 unreachable=0 failed=0" in words(ended)
    assert managed.device.containers() == {}
    assert not (managed.keys / JOB).exists()


def mounts(container: dict[str, Any]) -> set[tuple[str, str, bool]]:
    return {(one["Source"], one["Destination"], one["RW"]) for one in container["Mounts"]}


def distrusted(managed: Managed) -> list[str]:
    """What the chain of trust says against how the worker was started."""
    differences = runpy.run_path(str(CHECKOUT / "roles/trust/files/edge_trust/start.py"))["differences"]
    worker = managed.device.inspect(WORKER)
    found: list[str] = differences("worker", worker, managed.device.api.inspect_image(worker["Image"]))
    return found


def test_without_a_device_manager_the_role_starts_the_worker(managed: Managed) -> None:
    managed.job()
    given = {
        "release_pull_reference": managed.device.images["new"].replace("predictor", "worker"),
        "training_worker_data_dirs": ["/usr/share/doc"],
        "training_worker_state_dir": str(managed.root),
    }
    assert "changed=1 unreachable=0 failed=0" in words(played(managed, [step("container")], nuc_001=given))
    assert distrusted(managed) == []
    role = managed.device.inspect(WORKER)
    managed.device.empty()
    managed.asked("POST", "/training", job=JOB, data_dirs=["/usr/share/doc"])
    manager = managed.device.inspect(WORKER)
    same = ("CapDrop", "Init", "NetworkMode", "PidsLimit", "ReadonlyRootfs", "RestartPolicy", "SecurityOpt", "Tmpfs")
    assert [role["HostConfig"][key] for key in same] == [manager["HostConfig"][key] for key in same]
    assert sorted(role["Config"]["Env"]) == sorted(manager["Config"]["Env"])
    assert mounts(role) == mounts(manager)


def test_what_a_device_refuses_is_said_with_its_name(managed: Managed) -> None:
    """Its Device Manager has a worker of another job, in all cases."""
    managed.job()
    managed.job("other")
    managed.asked("POST", "/training", job="other")
    (managed.root.parent / "new").mkdir()
    wrong = managed.root.parent / "wrong"
    wrong.mkdir()
    (wrong / "token").write_text("wrong")
    (wrong / "ca.crt").write_bytes((managed.config / "ca.crt").read_bytes())
    only = "when"
    steps = [
        step("check", **{only: "'check' in steps"}),
        step("data", **{only: "'data' in steps"}),
        {**LOOK, only: "'by_manager' in steps"},
        step("by_manager", **{only: "'by_manager' in steps"}),
    ]
    devices: dict[str, dict[str, Any]] = {
        "fit": {"steps": ["check"]},
        "busy": {"steps": ["by_manager"]},
        "away": {"steps": ["check"], "manager_url": NOBODY},
        "new": {"steps": ["check"], "device_manager_config_dir": str(managed.root.parent / "new")},
        "stranger": {"steps": ["check"], "device_manager_config_dir": str(wrong)},
        "older": {"steps": ["check"], "training_worker_image": OTHER},
        "empty": {"steps": ["data"], "training_worker_data_dirs": ["/usr/share/doc", "/srv/none"]},
        "secrets": {"steps": ["data", "by_manager"], "training_worker_data_dirs": ["/etc"]},
    }
    said = words(played(managed, steps, **devices))
    refused = {
        "busy": "The Device Manager of busy (https://127.0.0.1:",
        "away": f"The Device Manager of away ({NOBODY}) does not have it train:",
        "new": f"{managed.root.parent / 'new'}/token cannot be read on new, and edge_release.images.manager is set:",
        "stranger": "does not have it train: Not admitted: Send",
        "older": f"training_worker_image of older is {OTHER}, but its Device Manager may start sha256:",
        "empty": "training_worker_data_dirs: /srv/none is no folder on empty.",
        "secrets": "The request is not understood: body.data_dirs.0: Value error, '/etc' is no normalized path",
    }
    for host in devices:
        assert_refused_or_taken(said, host, refused)
    assert "The device takes part in a training: edge-worker runs for the job other. Stop that" in said
    assert "Connection refused" in said
    assert managed.asked("GET", "/training")["job"] == "other"


def test_a_locked_device_says_by_whom_and_why(managed: Managed) -> None:
    managed.job()
    managed.asked("PUT", "/lock", holder="alice", reason="new disk")
    steps = [step("check", when="early"), {**LOOK, "when": "not early"}, step("by_manager", when="not early")]
    said = words(played(managed, steps, nuc_001={"early": True}, nuc_002={"early": False}))
    refused = {
        "nuc-001": "nuc-001 is locked and takes part in no training: alice has locked it since",
        "nuc-002": "does not have it train: The device is locked: alice has locked it since",
    }
    for host in refused:
        assert_refused_or_taken(said, host, refused)
    assert ": new disk" in said
    assert managed.device.containers() == {}


def test_an_image_that_is_not_on_the_device_is_named(managed: Managed) -> None:
    managed.job()
    managed.release("first", worker=OTHER)
    said = words(played(managed, [LOOK, step("by_manager")]))
    assert "does not have it train: The image is not on the device: edge/worker@sha256:000" in said


def test_a_worker_that_is_not_ready_is_told_with_its_last_words(managed: Managed) -> None:
    """As if that were the answer."""
    problem = {"title": "The worker is not ready", "detail": "edge-worker was removed again", "log": ["no", "keys"]}
    steps = [LOOK, step("by_manager")]
    said = words(played(managed, steps, "-e", json.dumps({"training_worker_problem": problem})))
    assert "The worker is not ready: edge-worker was removed again (the worker said: no | keys)" in said
    assert "docker logs" not in said


def test_check_mode_changes_nothing_and_asks_nobody(managed: Managed) -> None:
    managed.job()
    managed.asked("POST", "/training", job=JOB)
    nobody = {"manager_url": NOBODY, "training_worker_data_dirs": ["/srv/none"]}
    steps = [step("check"), step("data"), LOOK, step("by_manager"), step("remove")]
    assert played(managed, steps, "--check", nuc_001=nobody).returncode == 0
    assert managed.device.containers() == {WORKER: "new"}
    assert (managed.keys / JOB).exists()


@pytest.mark.parametrize("end", ["away", "locked", "without", "stranger"])
def test_whatever_the_end_nothing_stays_behind(managed: Managed, end: str) -> None:
    """`without`: the release has no Device Manager; `stranger`: it is not let go by the Device Manager."""
    managed.job()
    managed.asked("POST", "/training", job=JOB)
    if end == "locked":
        managed.asked("PUT", "/lock", holder="alice", reason="new disk")
    if end == "stranger":
        managed.device.empty()
        managed.device.train()
    given: dict[str, Any] = {
        "away": {"manager_url": NOBODY},
        "without": {"edge_release": {"name": "2026.11", "images": {}}, "device_manager_config_dir": "/none"},
    }.get(end, {})
    done = played(managed, [step("remove")], nuc_001=given)
    assert "changed=2 unreachable=0 failed=0" in words(done)
    assert managed.device.containers() == {}
    assert not (managed.keys / JOB).exists()
