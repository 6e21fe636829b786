# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container serves another model without a stop, or goes on with the one before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.health_gate import steps
from tests.unit.health_gate.device import NAME, OPTIONS, WORKER, Device

from edge_commit import swap  # isort: skip - its folder is known by now
from edge_commit.errors import CommitError  # isort: skip

FIRST, SECOND = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
DEFER = {"container": WORKER, "max_seconds": 3600, "then": "wait"}
STEPS = ["write model.json", "POST exec", "POST start", "write model.json", "write edge-predictor.json"]
SERVED = 4
REPLACEMENT = 13
COMMITTED = 9


class Models:
    """The device, as something that serves models."""

    def __init__(self, device: Device) -> None:
        self.device, self.folder = device, device.folder / "models"
        self.file = device.folder / "serving/model.json"
        self.folder.mkdir()

    def wanted(self, model: str) -> dict[str, Any]:
        volumes = [f"{self.folder}:/models:ro", f"{self.file.parent}:/serving:ro"]
        healthcheck = {**OPTIONS["healthcheck"], "test": ["CMD", "ready"]}  # type: ignore[dict-item]
        options = {"volumes": volumes, "tmpfs": ["/tmp"], "read_only": True, "healthcheck": healthcheck}
        return {"options": options, "model": model, "model_file": str(self.file)}

    def apply(self, model: str, image: str = "old", **more: Any) -> swap.Result:
        return self.device.apply(image, **self.wanted(model), **more)

    def cut(self, step: int, model: str, image: str = "old") -> None:
        self.device.cut(step, image, **self.wanted(model))

    def told(self) -> dict[str, str]:
        return dict(json.loads(self.file.read_text()))

    def served(self) -> str:
        """What the container's program answers with."""
        serve = "cat /tmp/model 2>/dev/null || cat /serving/model.json"
        one = self.device.api.exec_create(NAME, ["sh", "-c", serve])["Id"]
        said = self.device.api.exec_start(one).decode().strip()
        return str(json.loads(said)["digest"]) if said.startswith("{") else f"sha256:{said}"

    def mark(self, model: str, kind: str) -> Path:
        mark = self.folder / f"{model.removeprefix('sha256:')}.tar.{kind}"
        mark.touch()
        return mark


@pytest.fixture
def models(device: Device) -> Iterator[Models]:
    yield Models(device)
    device.empty()
    for folder in ("models", "serving"):
        shutil.rmtree(device.folder / folder, ignore_errors=True)


def test_another_model_is_served_by_the_same_container(models: Models) -> None:
    assert models.apply(FIRST).action == "created"
    before = models.device.inspect()
    result = models.apply(SECOND)
    assert (result.action, result.changed, result.failed) == ("activated", True, False)
    assert result.diff == {"before": {"model": FIRST}, "after": {"model": SECOND}}
    assert (models.told(), models.served()) == ({"digest": SECOND}, SECOND)
    after = models.device.inspect()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    changed: list[str] = []
    with steps.told(changed.append):
        assert models.apply(SECOND).action == "none"
    assert changed == []
    models.device.api.restart(NAME, timeout=1)
    assert models.served() == SECOND


def test_check_mode_says_what_would_be_served(models: Models) -> None:
    models.apply(FIRST)
    result = models.apply(SECOND, check=True)
    assert (result.action, result.changed) == ("activated", True)
    assert (models.told(), models.served()) == ({"digest": FIRST}, FIRST)


def test_a_model_that_is_refused_leaves_the_one_before(models: Models) -> None:
    models.apply(FIRST)
    models.mark(SECOND, "broken")
    result = models.apply(SECOND)
    assert (result.action, result.failed) == ("rolled back", True)
    assert f"does not serve the model {SECOND}: {SECOND}: sample 0 is class 1 here." in result.msg
    assert "The one before still answers" in result.msg
    assert (models.told(), models.served()) == ({"digest": FIRST}, FIRST)
    assert models.device.is_healthy()
    assert models.apply(FIRST).action == "none"


def test_a_new_container_with_a_new_model_gives_way_to_the_old_with_the_old(models: Models) -> None:
    models.apply(FIRST)
    result = models.apply(SECOND, image="bad", health_deadline_seconds=2)
    assert (result.action, result.failed) == ("rolled back", True)
    assert models.device.containers() == {NAME: "old"}
    assert (models.told(), models.served()) == ({"digest": FIRST}, FIRST)
    assert models.apply(SECOND, image="new").action == "replaced"
    assert (models.told(), models.served()) == ({"digest": SECOND}, SECOND)


def test_a_first_container_that_is_not_kept_leaves_no_word_of_its_model(models: Models) -> None:
    assert models.apply(FIRST, image="bad", health_deadline_seconds=2).failed
    assert not models.file.exists()


def test_a_training_is_waited_for_by_a_container_and_not_by_a_model(models: Models) -> None:
    models.apply(FIRST)
    models.device.train()
    assert models.apply(SECOND, image="new", defer=DEFER).action == "deferred"
    assert models.apply(SECOND, defer=DEFER).action == "activated"


def test_one_that_stands_still_is_started_with_the_model(models: Models) -> None:
    models.apply(FIRST)
    models.device.api.stop(NAME, timeout=1)
    assert models.apply(SECOND).action == "activated"
    assert models.served() == SECOND


def test_what_is_not_known_is_tried_again(models: Models) -> None:
    models.apply(FIRST)
    mark = models.mark(SECOND, "lost")
    result = models.apply(SECOND)
    assert (result.failed, "activate ended with 2" in result.msg) == (True, True)
    assert models.told() == {"digest": FIRST, "trying": SECOND}
    # The one before is surely served only once it was activated, too.
    assert models.apply(FIRST).action == "activated"
    mark.unlink()
    assert models.apply(SECOND).action == "activated"
    assert models.told() == {"digest": SECOND}


def test_a_file_that_says_nothing_is_written_anew(models: Models) -> None:
    models.apply(FIRST)
    models.file.write_text("[]")
    assert models.apply(FIRST).action == "activated"
    assert models.told() == {"digest": FIRST}


def test_an_activation_has_these_steps(models: Models) -> None:
    models.apply(FIRST)
    done: list[str] = []
    with steps.told(done.append):
        models.apply(SECOND)
    assert done == STEPS


@pytest.mark.parametrize("whole_device", [False, True], ids=["program", "power"])
@pytest.mark.parametrize("step", range(1, len(STEPS) + 1))
def test_a_cut_leaves_one_model_and_the_next_run_ends_it(models: Models, step: int, whole_device: bool) -> None:
    models.apply(FIRST)
    models.cut(step, SECOND)
    if whole_device:
        models.device.cut_power()
        models.device.start()
        assert models.device.is_healthy()
        assert models.served() == models.told()["digest"]
    models.device.recover()
    assert models.told()["digest"] == (SECOND if step >= SERVED else FIRST)
    assert not models.apply(SECOND).failed
    assert (models.told(), models.served()) == ({"digest": SECOND}, SECOND)
    assert models.device.containers() == {NAME: "old"}


def test_a_replacement_with_a_model_has_so_many_steps(models: Models) -> None:
    models.apply(FIRST)
    done: list[str] = []
    with steps.told(done.append):
        models.apply(SECOND, image="new")
    assert len(done) == REPLACEMENT - 1
    assert done[COMMITTED - 1] == "write edge-predictor.json"


@pytest.mark.parametrize("step", range(1, REPLACEMENT))
def test_a_cut_leaves_the_old_one_with_its_model_or_the_new_one_with_its_own(models: Models, step: int) -> None:
    models.apply(FIRST)
    models.cut(step, SECOND, "new")
    models.device.recover()
    image, model = ("new", SECOND) if step >= COMMITTED else ("old", FIRST)
    assert models.device.containers() == {NAME: image}
    assert models.device.is_healthy()
    assert (models.told(), models.served()) == ({"digest": model}, model)


@contextmanager
def no_room(models: Models, others: int = 0) -> Iterator[None]:
    """For more than so many files beside the one that says what is served."""
    folder, kept = models.file.parent, models.file.read_text()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=4k,nr_inodes={2 + others}", "tmpfs", str(folder)], check=True)
    try:
        models.file.write_text(kept)
        yield
        assert models.file.read_text() == kept
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_model_before(models: Models) -> None:
    models.apply(FIRST)
    with no_room(models), pytest.raises(CommitError, match=r"model\.json cannot be written: No space left on device"):
        models.apply(SECOND)
    assert models.served() == FIRST


def test_a_full_disk_leaves_the_container_before_and_it_runs(models: Models) -> None:
    models.apply(FIRST)
    with no_room(models), pytest.raises(CommitError, match=r"model\.json\.before cannot be made"):
        models.apply(SECOND, image="new")
    with no_room(models, others=1):
        result = models.apply(SECOND, image="new")
        assert (result.action, result.failed) == ("rolled back", True)
        assert "No space left on device" in result.msg
        assert models.device.containers() == {NAME: "old"}
        assert models.device.is_healthy()


def test_a_model_that_was_refused_is_not_tried_again_unless_it_is_asked_for(models: Models) -> None:
    models.apply(FIRST)
    mark = models.mark(SECOND, "broken")
    assert models.apply(SECOND).failed
    assert "sample 0 is class 1 here" in models.device.journal()["reason"]
    mark.unlink()
    again = models.apply(SECOND, retry_failed=False)
    assert (again.action, again.failed) == ("none", True)
    assert "retry_failed is false" in again.msg
    assert models.apply(SECOND).action == "activated"
    assert models.device.journal()["state"] == "done"


def test_the_image_to_go_back_to_is_known_after_another_model(models: Models) -> None:
    models.apply(FIRST)
    models.apply(FIRST, image="new")
    models.apply(SECOND, image="new")
    assert models.device.journal()["old"]["digest"] == models.device.images["old"].partition("@")[2]


def test_who_serves_may_read_what_to_serve_whatever_the_umask(models: Models) -> None:
    before = os.umask(0o077)
    try:
        models.apply(FIRST)
    finally:
        os.umask(before)
    assert (models.file.parent.stat().st_mode & 0o777, models.file.stat().st_mode & 0o777) == (0o755, 0o644)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "latest"}, "model: 'latest' is not sha256:DIGEST"),
        ({"model_file": None}, "model and model_file belong together"),
    ],
)
def test_what_is_wanted_is_checked_first(models: Models, more: dict[str, Any], said: str) -> None:
    with pytest.raises(CommitError, match=said):
        models.device.apply("old", **{**models.wanted(FIRST), **more})
    assert models.device.containers() == {}
