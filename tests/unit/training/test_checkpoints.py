# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is lost of a training that ends in its middle: nothing that a checkpoint has, whoever has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from edge_training import checkpoint, train
from edge_training.communicator import Alone
from edge_training.interval import Interval
from edge_training.tasks.digits import Digits
from torch import nn

from tests.unit.training import threads
from tests.unit.training.threads import Thread, kept, ring


class Forgetful(Digits):
    """With dropout, so that what a step computes depends on its random numbers."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with threads.training_of(Forgetful, monkeypatch):
        yield


def settings(folder: Path, **changes: Any) -> train.Settings:
    return threads.settings(folder, **{"epochs": 3, **changes})


def notes(chosen: train.Settings) -> list[str]:
    events = map(json.loads, (chosen.folder / "progress.jsonl").read_text().splitlines())
    return [event["text"] for event in events if event["event"] == "note"]


def losses(chosen: train.Settings) -> list[float]:
    found = checkpoint.latest(chosen.checkpoints, chosen.learning())
    assert found is not None
    return [line["loss"] for line in found.history]


class PowerLossError(Exception):
    pass


class HorovodInternalError(Exception):
    """By its name, for Horovod is not installed here."""


class Interrupted(Alone):
    """Calls `then` in the step after so many."""

    def __init__(self, steps: int, then: Callable[[], None]) -> None:
        self.steps, self.then = steps, then

    def distributed(self, model: Any, optimizer: Any, *_how: Any) -> Any:
        def count(*_: Any) -> None:
            self.steps -= 1
            if self.steps < 0:
                self.then()

        optimizer.register_step_pre_hook(count)
        return optimizer


def lose_power() -> None:
    raise PowerLossError


def lose_a_rank() -> None:
    raise HorovodInternalError("Connection reset by peer")


# -- One rank -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "every", "fault", "left"),
    [
        # 45 steps an epoch: the third checkpoint of the second epoch was the last.
        (45 + 39, 12, PowerLossError, "epoch-0001-step-000036-of-000045.pt"),
        (45 + 10, 0, PowerLossError, "epoch-0001-step-000000-of-000045.pt"),
        (45 + 10, 0, HorovodInternalError, "epoch-0001-step-000010-of-000045.pt"),
        (45 + 10, 0, train.StoppedError, "epoch-0001-step-000011-of-000045.pt"),
    ],
)
def test_a_training_that_goes_on_ends_where_an_unbroken_one_does(
    tmp_path: Path, after: int, every: int, fault: type[Exception], left: str
) -> None:
    unbroken = train.run(settings(tmp_path / "a"), Alone())
    stop = threading.Event()
    faults = {PowerLossError: lose_power, HorovodInternalError: lose_a_rank, train.StoppedError: stop.set}
    broken = settings(tmp_path / "b", checkpoint_steps=every)
    with pytest.raises(fault):
        train.run(broken, Interrupted(after, faults[fault]), stop)
    assert kept(broken)[-1] == left
    resumed = settings(tmp_path / "b", resume=True)
    assert train.run(resumed, Alone())["parameter_hashes"] == unbroken["parameter_hashes"]
    assert losses(resumed) == losses(settings(tmp_path / "a"))
    step = int(left.split("-")[3])
    assert notes(resumed)[0].startswith(f"goes on after 1 of 3 epochs and {step} of 45 steps, with the checkpoint of")


def test_with_other_ranks_an_epoch_goes_on_after_the_same_share_of_it() -> None:
    stored = checkpoint.Checkpoint(2, {}, {}, [], step=10, steps=12)
    assert [stored.step_of(steps) for steps in (12, 15, 45, 1)] == [10, 12, 37, 0]


def test_the_newest_is_the_one_with_most_epochs_whatever_their_steps(tmp_path: Path) -> None:
    for epoch, step, steps in ((1, 13, 16), (1, 10, 12), (1, 9, 12)):
        checkpoint.save(tmp_path, checkpoint.Checkpoint(epoch, {}, {}, [], step, steps), {})
    found = checkpoint.latest(tmp_path, {})
    assert found is not None
    assert (found.step, found.steps) == (10, 12)


def test_sigterm_leaves_a_checkpoint(tmp_path: Path) -> None:
    """As mpirun and edge_training.stop send it."""
    chosen = settings(tmp_path, epochs=100_000, checkpoint_minutes=10)
    folders = [
        word for name in ("data", "models", "checkpoints", "state") for word in (f"--{name}-dir", tmp_path / name)
    ]
    command = [sys.executable, "-m", "edge_training.train", "--job", "unit", "--epochs", "100000", *folders]
    environment = {**os.environ, "PYTHONPATH": str(Path(train.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    environment.pop("OMPI_COMM_WORLD_SIZE", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as rank:
        try:
            assert rank.stdout is not None and rank.stderr is not None
            for line in rank.stdout:
                if json.loads(line)["event"] == "epoch":
                    break
            rank.send_signal(signal.SIGTERM)
            said = json.loads(rank.stderr.read().splitlines()[-1])
            assert rank.wait(timeout=60) == 1
        finally:
            rank.kill()
    assert said["cause"] == "stop"
    found = checkpoint.latest(chosen.checkpoints, chosen.learning())
    assert found is not None
    assert f"stopped in epoch {found.epoch + 1} after step {found.step} of 45" in said["message"]
    assert found.step > 0


# -- Many ranks ---------------------------------------------------------------------------------


def devices(folder: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int], **changes: Any) -> list[dict[str, Any]]:
    """Each rank has a device, and its disk, of its own. Threads share random numbers: without dropout."""
    monkeypatch.setattr(train, "load_task", lambda _reference: Digits())
    here = threading.local()
    monkeypatch.setattr(train, "host_name", lambda: f"nuc-{here.number}")

    def run(communicator: Thread) -> dict[str, Any]:
        here.number = numbers[communicator.rank]
        return train.run(settings(folder / f"nuc-{here.number}", **changes), communicator)

    return ring(len(numbers), run)


@pytest.mark.parametrize(("copies", "keepers"), [(0, [0]), (1, [0, 1]), (9, [0, 1, 2])])
def test_so_many_devices_keep_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: int, keepers: list[int]
) -> None:
    devices(tmp_path, monkeypatch, [0, 1, 2], epochs=1, checkpoint_copies=copies)
    found = {path.parts[-4]: path.read_bytes() for path in tmp_path.glob("nuc-*/checkpoints/unit/*.pt")}
    assert sorted(found) == [f"nuc-{number}" for number in keepers]
    assert len(set(found.values())) == 1
    assert len(list(tmp_path.glob("nuc-*/checkpoints/unit/whole"))) == 3


def test_ranks_of_one_device_keep_one_checkpoint() -> None:
    assert checkpoint.keepers(["a", "a", "b", "b", "c"], copies=1) == [0, 2]


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def rest(chosen: train.Settings) -> None:
    """As it was after two of three epochs."""
    (newest,) = chosen.checkpoints.glob("epoch-0003*.pt")
    newest.unlink()


@pytest.mark.parametrize("fault", ["spoiled", "gone"])
def test_where_rank_0_has_no_good_checkpoint_that_of_another_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    whole = devices(tmp_path, monkeypatch, [0, 1, 2])
    for number in (0, 1):
        rest(settings(tmp_path / f"nuc-{number}"))
    first = settings(tmp_path / "nuc-0")
    for path in first.checkpoints.glob("*.pt"):
        spoil(path) if fault == "spoiled" else path.unlink()
    results = devices(tmp_path, monkeypatch, [0, 1, 2], resume=True)
    assert results[0]["parameter_hashes"] == whole[0]["parameter_hashes"]
    assert notes(first) == ["goes on after 2 of 3 epochs and 0 of 15 steps, with the checkpoint of nuc-1"]


@pytest.mark.parametrize(("every", "left"), [(0, "0 of 23"), (5, "15 of 23")])
def test_when_the_device_of_rank_0_is_gone_for_good_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, left: str
) -> None:
    """Of three ranks' 15 steps an epoch 10 were done, and so two thirds of two ranks' 23."""
    devices(tmp_path, monkeypatch, [0, 1, 2], checkpoint_steps=every)
    second, third = settings(tmp_path / "nuc-1"), settings(tmp_path / "nuc-2")
    rest(second)
    known = losses(second)
    results = devices(tmp_path, monkeypatch, [2, 1], resume=True)
    assert notes(third) == [f"goes on after 2 of 3 epochs and {left} steps, with the checkpoint of nuc-1"]
    assert len(results[0]["parameter_hashes"]) == 1
    # Both have it now, so that either may be lost.
    assert kept(third) == kept(second)
    assert losses(third)[:2] == known
    assert len(losses(third)) == 3


# -- When it is due -----------------------------------------------------------------------------


def test_minutes_are_counted_by_one_clock_for_all() -> None:
    """20 seconds a step by rank 0's clock; that of rank 1 stands."""

    def run(communicator: Thread) -> dict[str, Any]:
        time = [0.0]
        interval = Interval(communicator, steps=0, minutes=10, clock=lambda: time[0])
        due = []
        for step in range(1, 100):
            time[0] += 20.0 * (communicator.rank == 0)
            if interval.due():
                due.append(step)
                interval.restart()
        return {"due": due}

    first, second = ring(2, run)
    assert first == second == {"due": [30, 60, 90]}


def test_steps_and_minutes_hold_whichever_comes_first() -> None:
    asked = [0]

    class Counting(Alone):
        def broadcast(self, value: Any) -> Any:
            asked[0] += 1
            return value

    time = [0.0]
    interval = Interval(Counting(), steps=400, minutes=60, clock=lambda: time[0])
    due = []
    for step in range(1, 1001):
        time[0] += 1.0 if step < 500 else 60.0
        if interval.due():
            due.append(step)
            interval.restart()
    first, second = due[:2]
    assert first == 400
    # 99 steps of a second, then slow ones: an hour is over at step 558, and is noticed soon after.
    assert 558 <= second <= 564
    assert asked[0] < 150  # not at each step
