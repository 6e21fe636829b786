# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/power.yml: no power is cut under a training, and all that can be refused is refused before."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine
from docker_engine import Engine
from maas_bmc import Bmc
from rack_playbooks import RackPlaybooks

from tests.unit.servers import running

IMAGE = b"an image" * 10
Power = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hung() -> Iterator[Bmc]:
    """The controller of the device that does not answer."""
    with running(Bmc()) as server:
        yield server


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """What the device was told to do, in the place of systemd: this machine must stay on."""
    programs = tmp_path / "bin"
    programs.mkdir()
    told = tmp_path / "told"
    told.touch()
    (programs / "systemd-run").write_text(f'#!/bin/sh\necho "$@" >>{told}\n')
    (programs / "systemd-run").chmod(0o755)
    return told


@pytest.fixture
def power(
    rack: Any, devices: Any, run_module: Any, docker: Engine, bmc: Bmc, hung: Bmc, told: Path, tmp_path: Path
) -> Power:
    """Run the playbook in a rack of deployed devices: nuc-on, nuc-off, which does not answer, and nuc-hand."""
    rack.region.upload("custom/edge-nuc", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    ids = {
        name: rack.add(name, **more)[0] for name, more in (("nuc-on", bmc.parameters()), ("nuc-off", hung.parameters()))
    }
    ids["nuc-hand"] = rack.add("nuc-hand")[0]
    done = run_module(maas_machine, state="deployed", image="edge-nuc", machines=[{"hostname": name} for name in ids])
    assert not done.get("failed"), done
    rack.settle()
    playbooks = RackPlaybooks(rack, docker, tmp_path, ids, silent=["nuc-off"], deployed=ids)
    path = f"{told.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    assert shutil.which("systemd-run", path=path) == str(told.parent / "bin/systemd-run")

    def run(device: str, power: str, *options: str) -> subprocess.CompletedProcess[str]:
        given = ("-e", f"device={device}", "-e", f"power={power}", "-e", "power_timeout_seconds=60")
        return playbooks.run("playbooks/power.yml", *given, *options, PATH=path)

    return run


def changed(done: subprocess.CompletedProcess[str], host: str = "localhost") -> bool:
    assert done.returncode == 0
    (number,) = re.findall(rf"^{host} +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE)
    return number != "0"


def switched(bmc: Bmc) -> list[str]:
    """What MAAS did to its power since it was asked last."""
    paths = [path for method, path, *_ in bmc.calls if method == "POST"]
    bmc.calls.clear()
    return paths


def test_a_device_shuts_down_and_is_switched_on_again(power: Power, bmc: Bmc, told: Path) -> None:
    switched(bmc)
    done = power("nuc-on", "off", "--check", "--diff")
    assert changed(done)
    assert "-    power_state: 'on'\n+    power_state: 'off'" in done.stdout
    assert (bmc.on, switched(bmc), told.read_text()) == (True, [], "")

    bmc.goes_off_after = 3
    assert changed(power("nuc-on", "off"))
    assert (bmc.on, switched(bmc)) == (False, [])
    assert told.read_text().split()[-2:] == ["systemctl", "poweroff"]
    done = power("nuc-on", "off")
    assert not changed(done) and not changed(done, "nuc-on")

    assert changed(power("nuc-on", "on"))
    assert (bmc.on, switched(bmc)) == (True, ["/on"])
    assert not changed(power("nuc-on", "on"))
    # Who does not shut down in time is switched off.
    assert changed(power("nuc-on", "cycle", "-e", "power_shutdown_seconds=1"))
    assert (bmc.on, switched(bmc)) == (True, ["/off", "/on"])
    assert len(told.read_text().splitlines()) == 2


def test_power_is_told_and_what_maas_cannot_ask_too(power: Power, hung: Bmc) -> None:
    hung.broken = True
    done = power("nuc-on,nuc-off,nuc-hand", "status")
    said = " ".join(done.stdout.split())
    assert not changed(done)
    assert "nuc-on is Deployed, its power on, switched by webhook" in said
    assert "nuc-off is Deployed, its power error, switched by webhook. Failed to query node" in said
    assert "nuc-hand is Deployed, its power unknown, switched by manual" in said


def test_as_long_as_one_trains_or_does_not_answer_all_stay_on(
    power: Power, docker: Engine, bmc: Bmc, hung: Bmc, told: Path
) -> None:
    switched(bmc), switched(hung)
    docker.containers = {"edge-worker"}
    done = power("nuc-on", "off")
    assert done.returncode != 0
    assert "nuc-on takes part in a training" in done.stdout
    docker.containers = set()
    done = power("nuc-on,nuc-off", "cycle")
    assert done.returncode != 0
    assert "msg: 'nuc-off: a device did not answer or trains (see above), so none was" in done.stdout
    assert (switched(bmc), switched(hung), told.read_text()) == ([], [], "")

    docker.containers = {"edge-worker"}
    done = power("nuc-on,nuc-off", "off", "-e", "power_force=true", "-e", "power_shutdown_seconds=1")
    assert changed(done)
    assert (switched(bmc), switched(hung)) == (["/off"], ["/off"])


def test_what_maas_cannot_do_is_refused_before_anything_is_switched(
    power: Power, rack: Any, run_module: Any, bmc: Bmc, hung: Bmc, told: Path
) -> None:
    switched(bmc)
    hung.broken = True
    run_module(maas_machine, state="locked", hostname="nuc-on")
    done = power("nuc-on,nuc-off,nuc-hand", "off", "-e", "power_force=true")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "nuc-on: it is locked in MAAS" in said
    assert "nuc-off: MAAS cannot ask for its power (Failed to query node's BMC" in said
    assert "nuc-hand: its power type is manual, so MAAS cannot switch it" in said
    for wrong, message in (
        (("nuc-on", "up"), "power is up: say -e power=on, off, cycle or status."),
        (("nuc-17", "on"), "MAAS knows no device nuc-17"),
        (("nuc-on", "off", "-e", "power_shutdown_seconds=2m"), "power_shutdown_seconds is 2m: give whole seconds"),
    ):
        done = power(*wrong)
        assert done.returncode != 0
        assert message in " ".join(done.stdout.split())
    assert (switched(bmc), told.read_text()) == ([], "")


def test_power_is_not_cut_while_maas_is_at_work(power: Power, rack: Any, devices: Any, bmc: Bmc) -> None:
    devices.dead.add("nuc-on")
    rack.region.call("POST", f"machines/{rack.id('nuc-on')}/?op=release")
    rack.region.wait(rack.id("nuc-on"), 4)
    rack.begin_deployment(rack.id("nuc-on"), "custom/edge-nuc")
    rack.region.wait(rack.id("nuc-on"), 9)
    while not bmc.on:
        rack.region.machine(rack.id("nuc-on"))
    done = power("nuc-on", "off")
    assert done.returncode != 0
    assert "nuc-on is Deploying: without power that fails." in " ".join(done.stdout.split())
    assert bmc.on
