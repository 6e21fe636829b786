# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module edge.rack.container_release, which runs the program on a device with a real Docker Engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit import collection
from tests.unit.health_gate.device import NAME, WORKER, Device
from tests.unit.module_runs import RunModule, runner

collection.find()

from ansible_collections.edge.rack.plugins.modules import container_release  # noqa: E402

HEALTHCHECK = {"test": ["CMD-SHELL", 'test "$HEALTH" = good'], "interval_seconds": 0.2, "retries": 2}


@pytest.fixture
def run(
    device: Device, program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunModule:
    run = runner(
        monkeypatch,
        capsys,
        name=NAME,
        network_mode="host",
        healthcheck=HEALTHCHECK,
        stop_seconds=5,
        program=str(program),
    )

    def of(image: str, check: bool = False, **options: Any) -> dict[str, Any]:
        return run(container_release, check=check, image=device.images[image], **options)

    return of


def test_every_option_reaches_the_container_and_is_no_change_the_second_time(run: RunModule, device: Device) -> None:
    options: dict[str, Any] = {
        "command": ["sh", "-c", "trap exit TERM; sleep 60 & wait"],
        "env": {"PORT": 8480},
        "volumes": [f"{device.folder}:/models:ro"],
        "published_ports": ["127.0.0.1:8480:80", "53:53/udp"],
        "user": "1000",
        "memory": "64m",
        "cpus": 0.5,
        "pids_limit": 16,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opts": ["no-new-privileges"],
        "labels": {"edge.job": 7},
    }
    # The engine here makes no networks: of the ports it only knows.
    first = run("old", network_mode="none", **options)
    assert first.get("action") == "created", first["msg"]
    made = device.inspect()
    host, config = made["HostConfig"], made["Config"]
    assert "PORT=8480" in config["Env"]
    assert config["Labels"]["edge.job"] == "7"
    assert (config["User"], config["Cmd"]) == ("1000", options["command"])
    assert host["Binds"] == options["volumes"]
    assert host["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8480"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 16)
    assert (host["ReadonlyRootfs"], list(host["Tmpfs"]), host["CapDrop"]) == (True, ["/tmp"], ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    again = run("old", network_mode="none", **options)
    assert (again["changed"], again["action"]) == (False, "none")


def test_check_mode_shows_the_old_and_the_new_digest(run: RunModule, device: Device) -> None:
    run("old")
    result = run("new", check=True)
    assert (result["changed"], result["action"]) == (True, "replaced")
    assert (result["diff"]["before"]["image"], result["diff"]["after"]["image"]) == (
        device.images["old"],
        device.images["new"],
    )
    assert device.containers() == {NAME: "old"}


def test_what_was_put_back_is_a_failure_with_the_reason(run: RunModule, device: Device) -> None:
    run("old")
    result = run("bad", command=["sh", "-c", "echo no model; sleep 60"])
    assert result["failed"]
    assert result["action"] == "rolled back"
    assert "HEALTHCHECK is unhealthy" in result["msg"]
    assert result["log"] == ["no model"]
    assert device.containers() == {NAME: "old"}


def test_a_training_puts_it_off_unless_it_is_forced(run: RunModule, device: Device) -> None:
    run("old")
    device.train()
    result = run("new")
    assert (result["deferred"], result["changed"], result.get("failed", False)) == (True, False, False)
    assert device.containers() == {NAME: "old", WORKER: "new"}
    assert run("new", force=True)["action"] == "replaced"


def test_options_that_do_not_go_together_put_the_old_one_back(run: RunModule, device: Device) -> None:
    run("old")
    result = run("new", published_ports=["8480:8480"])
    assert "no container can be made of these options" in result["msg"]
    assert device.containers() == {NAME: "old"}
    assert device.is_healthy()


def test_a_refusal_of_the_program_is_the_modules_message(run: RunModule) -> None:
    result = run("old", healthcheck=None)
    assert result["failed"]
    assert "Give healthcheck or health_url" in result["msg"]


def test_a_device_without_the_program_is_told_what_to_do(run: RunModule) -> None:
    result = run("old", program="/nonexistent/edge-commit")
    assert result["failed"]
    assert "edge.rack.configure" in result["msg"]
