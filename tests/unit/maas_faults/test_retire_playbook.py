# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/retire.yml: nothing is wiped that was not asked, and all that can be refused is refused before."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_machine
from docker_engine import Engine
from rack_playbooks import RackPlaybooks

CHECKOUT = Path(__file__).resolve().parents[3]
IMAGE = b"an image" * 10
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
Retire = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


@pytest.fixture
def retire(rack: Any, devices: Any, run_module: Any, docker: Engine, known_hosts: Path, tmp_path: Path) -> Retire:
    """Run the playbook in a rack of two deployed devices, nuc-on and nuc-off, which does not answer; and nuc-ready."""
    rack.region.upload("custom/edge-nuc", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    ids = dict(zip(("nuc-on", "nuc-off", "nuc-ready"), rack.add("nuc-on", "nuc-off", "nuc-ready"), strict=True))
    for names, state in ((["nuc-on", "nuc-off"], "deployed"), (["nuc-ready"], "ready")):
        done = run_module(maas_machine, state=state, image="edge-nuc", machines=[{"hostname": name} for name in names])
        assert not done.get("failed"), done
    known_hosts.write_text(
        "".join(f"{name},{name}.maas,10.99.0.20 {KEY}\n" for name in ("nuc-on", "nuc-off", "nuc-other"))
    )
    playbooks = RackPlaybooks(
        rack,
        docker,
        tmp_path,
        ids,
        silent=["nuc-off"],
        deployed=["nuc-on", "nuc-off"],
        enroll_known_hosts_file=str(known_hosts),
    )

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return playbooks.run("playbooks/retire.yml", *options)

    return run


def machines(rack: Any) -> dict[str, tuple[str, list[str]]]:
    return {m["hostname"]: (m["status_name"], m["tag_names"]) for m in rack.region.call("GET", "machines/").json()}


def test_as_long_as_one_is_not_drained_none_is_wiped(rack: Any, retire: Retire, docker: Engine) -> None:
    before = machines(rack)
    docker.containers = {"edge-predictor"}
    done = retire("-e", "device=nuc-on,nuc-off")
    assert done.returncode != 0
    assert "nuc-off, nuc-on: not drained, for a device did not answer or trains" in done.stdout
    assert docker.removed == []

    docker.containers = {"edge-worker", "edge-predictor"}
    done = retire("-e", "device=nuc-on,nuc-off")
    assert done.returncode != 0
    assert "nuc-on takes part in a training" in done.stdout
    assert docker.removed == []
    assert machines(rack) == before


def test_by_force_what_does_not_answer_is_wiped_too(
    rack: Any, retire: Retire, docker: Engine, known_hosts: Path
) -> None:
    docker.containers = {"edge-worker", "edge-predictor"}
    done = retire("-e", "device=nuc-on,nuc-off,nuc-ready", "-e", "retire_force=true")
    assert done.returncode == 0
    assert docker.removed == ["edge-worker", "edge-predictor"]
    assert machines(rack) == dict.fromkeys(("nuc-on", "nuc-off", "nuc-ready"), ("Ready", ["retired"]))
    assert "Not erased, for nobody owned them: nuc-ready, it is Ready." in done.stdout
    for name in ("nuc-on", "nuc-off"):
        assert "User erasing disk" in rack.events(rack.id(name))
    assert [line.split(",")[0] for line in known_hosts.read_text().splitlines()] == ["nuc-other"]


def test_what_maas_would_refuse_is_refused_before_anything_is_drained(
    rack: Any, retire: Retire, run_module: Any, docker: Engine
) -> None:
    before = machines(rack)
    docker.containers = {"edge-predictor"}
    run_module(maas_machine, state="locked", hostname="nuc-off")
    done = retire("-e", "device=nuc-on,nuc-off", "-e", "retire_force=true")
    assert done.returncode != 0
    assert "nuc-off: it is locked in MAAS" in done.stdout
    assert docker.removed == []
    assert machines(rack) == before
