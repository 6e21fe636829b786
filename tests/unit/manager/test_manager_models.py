# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Predictor and its model, by the Device Manager and a real Docker Engine."""

from __future__ import annotations

import base64
import json
import re
import threading
from pathlib import Path
from typing import Any

from tests.unit.health_gate.device import NAME
from tests.unit.health_gate.test_predictor_role import MODEL, predictor
from tests.unit.manager.managed import Managed, served, until

from edge_commit.wanted import Wanted  # isort: skip - its folder is known by now
from edge_training.manager import containers  # isort: skip - its folder is known by now
from edge_training.manager.settings import Settings  # isort: skip


def test_the_releases_model_is_served_in_a_confined_container(managed: Managed) -> None:
    assert managed.deploy("first") == {"digest": managed.models["first"], "previous": None}
    assert managed.device.is_healthy()  # by the engine, which looks for the first time when an interval is over
    status = managed.asked("GET", "/status")
    shown = status["containers"]["predictor"]
    assert (shown["state"], shown["health"], shown["managed"], shown["released"]) == ("running", "healthy", True, True)
    assert status["replacement"]["state"] == "done"
    assert status["release"]["name"] == "2026.11"
    assert status["machine"]["disk"]["free_bytes"] > 0
    host = managed.device.inspect(NAME)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (512 << 20, 1_000_000_000, 128)
    assert (host["Privileged"], host["CapDrop"], host["ReadonlyRootfs"]) == (False, ["ALL"], True)
    assert host["Binds"] == [f"{managed.root}/models:/models:ro", f"{managed.root}/serving:/serving:ro"]
    before = managed.predictor()
    managed.deploy("first")
    assert managed.predictor() == before


def test_a_model_that_is_not_ready_gives_way_to_the_old_one(managed: Managed) -> None:
    managed.deploy("first")
    before = managed.predictor()
    managed.release("second")
    managed.breaks("second")
    problem = managed.deploy("second", 502)
    assert "sample 0 is class 1 here" in problem["detail"]
    assert "The one before still answers" in problem["detail"]
    assert managed.asked("GET", "/model")["digest"] == managed.models["first"]
    assert managed.predictor() == before


def test_a_predictor_that_is_not_ready_gives_way_to_the_old_one(managed: Managed) -> None:
    with served(managed, EDGE_READY_SECONDS="1"):
        managed.deploy("first")
        managed.release("second", predictor=managed.device.images["old"])
        managed.breaks("second")
        problem = managed.deploy("second", 502)
        assert "it is not healthy within 1 seconds" in problem["detail"]
        assert "is back" in problem["detail"]
        status = managed.asked("GET", "/status")
        assert status["model"] == {"digest": managed.models["first"], "previous": None}
        assert status["replacement"]["state"] == "rolled back"


def test_only_the_releases_model_is_deployed_and_only_from_a_whole_bundle(managed: Managed) -> None:
    assert "is not of release 2026.11" in managed.deploy("second", 403)["detail"]
    file = managed.root / "models" / f"{managed.models['first'].removeprefix('sha256:')}.tar"
    file.write_bytes(file.read_bytes()[:-1])
    assert "was damaged" in managed.deploy("first", 422)["detail"]
    file.unlink()
    assert "deploy the model to this device first" in managed.deploy("first", 422)["detail"]
    assert managed.device.containers() == {}


def test_a_rollback_serves_the_model_before_and_a_second_one_undoes_it(managed: Managed) -> None:
    managed.deploy("first")
    assert "replaced no model" in managed.asked("POST", "/model/rollback", 409)["detail"]
    managed.release("second")
    managed.deploy("second")
    first, second = managed.models["first"], managed.models["second"]
    assert managed.asked("POST", "/model/rollback") == {"digest": first, "previous": second}
    assert managed.asked("POST", "/model/rollback") == {"digest": second, "previous": first}


def test_the_image_is_the_releases_by_digest(managed: Managed) -> None:
    managed.release("first", predictor=f"127.0.0.1:5000/edge/predictor@sha256:{'0' * 64}")
    assert "is not on the device" in managed.deploy("first", 409)["detail"]
    managed.release("first", predictor=managed.device.images["old"])
    managed.deploy("first")
    assert managed.device.containers() == {NAME: "old"}


def test_the_second_of_two_requests_is_told_of_the_first(managed: Managed) -> None:
    mark = managed.breaks("first")
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(managed.deploy("first")))
    first.start()
    until(lambda: managed.asked("GET", "/status")["under_way"])
    problem = managed.deploy("first", 409)
    assert problem["holder"]["verb"] == f"deploy {managed.models['first']}"
    assert problem["holder"]["by"] == "127.0.0.1"
    assert "predictor" in managed.asked("POST", "/purge", 409)["title"]
    mark.unlink()
    first.join(60)
    assert answers == [{"digest": managed.models["first"], "previous": None}]
    assert managed.asked("GET", "/status")["under_way"] == {}


def test_another_edge_commit_is_not_waited_for(managed: Managed) -> None:
    from edge_commit.journal import Folder

    with Folder(managed.root / "commits").lock(NAME, 0):
        assert managed.deploy("first", 409)["holder"] == {"verb": "edge-commit"}


def test_the_device_manager_makes_the_very_same_container(managed: Managed, tmp_path: Path) -> None:
    """Or each would replace what the other made."""
    device = managed.device
    said = predictor(device, device.program(tmp_path / "edge-commit"), "new", "--check")
    (diff,) = re.findall(r"DIFF([A-Za-z0-9+/=]+)\.", said)
    role = json.loads(base64.b64decode(diff))["after"]
    environment = {"EDGE_DEVICE_ADDRESS": "127.0.0.1", "EDGE_WORKER_MEMORY": "1g", "EDGE_WORKER_CPUS": "1"}
    ours = containers.predictor(Settings.from_environment(environment), device.images["new"], MODEL)
    image, model = role.pop("image"), role.pop("model")
    assert (image, model) == (ours.image, ours.model)
    # As text: 10 is another label than 10.0, though Python calls them equal.
    assert Wanted(name=NAME, image=image, options=role).label == ours.label
    assert not device.containers()
