# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer bytes on the wire: what each way to spare them still computes, and how it goes on after a fault."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from edge_training import averaging, bandwidth, schedule, train
from edge_training.communicator import Alone, Horovod
from edge_training.task import Examples, Split, TaskError
from edge_training.tasks.digits import Digits
from torch import nn

from tests.unit.training import threads
from tests.unit.training.threads import Thread, kept, ring

WAYS: list[dict[str, Any]] = [
    {"accumulate": 3},
    {"local_steps": 4},
    {"compression": "fp16"},
    {"accumulate": 3, "compression": "fp16"},
]
# Ranks keep of gradients what no checkpoint has.
FORGETFUL: list[dict[str, Any]] = [
    {"compression": "powersgd", "powersgd_rank": 2},
    {"accumulate": 3, "compression": "powersgd"},
    {"local_steps": 2, "compression": "powersgd", "powersgd_rank": 2},
]
SIZES = (300, 50, 0)


class Uneven(Digits):
    """Of three ranks one has most, and one nothing."""

    def model(self) -> nn.Module:
        """From numbers of its own: threads share torch's."""
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        numbers = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1, generator=numbers)
        return model

    def dataset(self, split: Split, rank: int, size: int) -> Examples:
        if split == "held-out" or size != len(SIZES):
            return super().dataset(split, rank, size)
        whole, start = super().dataset(split, 0, 1), sum(SIZES[:rank])
        return Examples(whole.inputs[start : start + SIZES[rank]], whole.targets[start : start + SIZES[rank]])


@pytest.fixture(autouse=True)
def uneven(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with threads.training_of(Uneven, monkeypatch):
        yield


def settings(folder: Path, **changes: Any) -> train.Settings:
    return threads.settings(folder, **{"epochs": 2, "batch_size": 4, **changes})


def trained(ranks: int, chosen: train.Settings) -> dict[str, Any]:
    return ring(ranks, lambda communicator: train.run(chosen, communicator))[0]


# -- All of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS + FORGETFUL, ids=str)
def test_it_learns_and_all_ranks_have_one_model(tmp_path: Path, way: dict[str, Any]) -> None:
    result = trained(3, settings(tmp_path, epochs=6, **way))
    assert result["examples_by_rank"] == list(SIZES)
    assert len(result["parameter_hashes"]) == 1
    assert result["loss_last"] < result["loss_first"] / 2
    assert result["accuracy"] > 0.8


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_training_that_goes_on_in_the_middle_of_an_epoch_ends_where_an_unbroken_one_does(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    unbroken = trained(3, settings(tmp_path / "a", **way))
    chosen = settings(tmp_path / "b", checkpoint_steps=9, **way)
    whole = trained(3, chosen)
    assert whole["parameter_hashes"] == unbroken["parameter_hashes"], "to keep a checkpoint changes the model"
    middle, end = kept(chosen)
    assert middle.startswith("epoch-0001-step-0000")
    assert "step-000000" not in middle
    (chosen.checkpoints / end).unlink()
    resumed = trained(3, settings(tmp_path / "b", resume=True, **way))
    assert resumed["parameter_hashes"] == unbroken["parameter_hashes"]


@pytest.mark.parametrize("way", WAYS + FORGETFUL, ids=str)
def test_it_goes_on_with_fewer_ranks(tmp_path: Path, way: dict[str, Any]) -> None:
    chosen = settings(tmp_path, checkpoint_steps=9, **way)
    trained(3, chosen)
    (chosen.checkpoints / kept(chosen)[-1]).unlink()
    result = trained(2, settings(tmp_path, resume=True, **way))
    assert len(result["parameter_hashes"]) == 1
    assert result["accuracy"] > 0.5


@pytest.mark.parametrize("way", WAYS + FORGETFUL, ids=str)
def test_a_checkpoint_of_another_way_is_not_gone_on_from(way: dict[str, Any]) -> None:
    assert settings(Path(), **way).learning() != settings(Path()).learning()


# -- Accumulation -------------------------------------------------------------------------------


def test_batches_that_are_accumulated_are_one_large_batch(tmp_path: Path) -> None:
    """Whatever a rank has of them; the learning rate counts them as it counts ranks."""
    one = trained(3, settings(tmp_path / "a", batch_size=4, accumulate=4))
    other = trained(3, settings(tmp_path / "b", batch_size=16, learning_rate=0.002 * math.sqrt(4)))
    assert one["steps"] == other["steps"]
    assert one["loss_last"] == pytest.approx(other["loss_last"], rel=1e-3)
    assert one["accuracy"] == pytest.approx(other["accuracy"], abs=0.01)


def test_with_so_many_batches_a_step_an_epoch_sends_so_much_less(tmp_path: Path) -> None:
    plain = trained(2, settings(tmp_path / "a", epochs=1, batch_size=8))
    fewer = trained(2, settings(tmp_path / "b", epochs=1, batch_size=8, accumulate=3))
    assert (plain["steps"], fewer["steps"]) == (90, 30)
    assert fewer["wire_bytes_per_step"] == plain["wire_bytes_per_step"]
    for told in (plain, fewer):
        assert told["allreduce"]["bytes"] == told["allreduce_bytes"]
        assert sum(told["share_of_time"].values()) == pytest.approx(1, abs=0.001)
        assert min(told["share_of_time"].values()) >= 0
    assert fewer["wire_bytes_per_epoch"] * 3 == plain["wire_bytes_per_epoch"] == 90 * plain["wire_bytes_per_step"]


# -- Local steps --------------------------------------------------------------------------------


def test_ranks_that_learned_alone_count_by_their_examples() -> None:
    """Parameters and moments; the count of steps is left alone."""

    def run(communicator: Thread) -> dict[str, Any]:
        model = nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.Adam(model.parameters())
        weight = model.weight
        if communicator.rank == 0:
            weight.grad = torch.ones_like(weight)
        averaging.complete(model)
        optimizer.step()
        with torch.no_grad():
            weight.fill_(float(communicator.rank + 1))
            optimizer.state[weight]["exp_avg"].fill_(float(10 * communicator.rank))
        plan = schedule.Plan((30, 10), steps=5)
        averaging.average(communicator, model, optimizer, plan.weight(communicator.rank, 0, 1, 2, 3))
        state = optimizer.state[weight]
        return {"weight": float(weight.detach()), "moment": float(state["exp_avg"]), "step": float(state["step"])}

    one, other = ring(2, run)
    assert one == other
    assert one == pytest.approx({"weight": 0.75 * 1 + 0.25 * 2, "moment": 2.5, "step": 1.0})


def test_local_steps_end_with_the_epoch() -> None:
    plan = schedule.Plan((10, 10), steps=10)
    assert [list(plan.together(step, 4)) for step in (0, 3, 4, 9)] == [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert all(list(plan.together(step, 1)) == [step] for step in range(10))


def test_local_steps_send_parameters_and_moments_once_in_a_while(tmp_path: Path) -> None:
    sent: list[int] = []

    class Weighing(Thread):
        def average(self, tensor: Any, name: str = "average") -> Any:
            sent.append(tensor.numel() * tensor.element_size())
            return super().average(tensor, name)

    chosen = settings(tmp_path, epochs=1, local_steps=8)

    def run(thread: Thread) -> dict[str, Any]:
        return train.run(chosen, Weighing(thread.rank, thread.slots, thread.barrier))

    result = ring(2, run)[0]
    averagings = math.ceil(result["steps"] / 8)
    # Beside those that measure the ring.
    assert sent == [result["allreduce_bytes"]] * 2 * (averagings + 1 + bandwidth.REPEATS)
    assert result["wire_bytes_per_epoch"] == result["allreduce_bytes"] * averagings


@pytest.mark.parametrize("ends", ["stop", "ring"])
def test_what_is_left_after_local_steps_is_what_all_ranks_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """A rank that is to stop goes on until ranks average; one whose ring is broken has nothing that others have."""
    chosen, stop, averaged = settings(tmp_path, local_steps=4), threading.Event(), []

    class HorovodInternalError(Exception):
        """By its name, for Horovod is not installed here."""

    class Ending(Alone):
        def average(self, tensor: Any, name: str = "average") -> Any:
            averaged.append(tensor)
            if len(averaged) == 3 and ends == "ring":
                raise HorovodInternalError
            return tensor

    def seeded(seed: int, epoch: int, step: int, rank: int) -> int:
        if step == 9 and ends == "stop":
            stop.set()
        return 1

    monkeypatch.setattr(schedule, "step_seed", seeded)
    with pytest.raises(train.StoppedError if ends == "stop" else HorovodInternalError):
        train.run(chosen, Ending(), stop)
    assert len(averaged) == 3
    assert [name[:22] for name in kept(chosen)] == (["epoch-0000-step-000012"] if ends == "stop" else [])


# -- Compression --------------------------------------------------------------------------------


def test_fp16_sends_half_and_learns_almost_the_same(tmp_path: Path) -> None:
    plain = trained(3, settings(tmp_path / "a", epochs=3))
    half = trained(3, settings(tmp_path / "b", epochs=3, compression="fp16"))
    assert half["wire_bytes_per_epoch"] * 2 == plain["wire_bytes_per_epoch"]
    assert half["parameter_hashes"] != plain["parameter_hashes"]
    assert half["loss_last"] == pytest.approx(plain["loss_last"], rel=0.02)


@pytest.mark.parametrize("fp16", [False, True])
def test_horovod_is_told_how_gradients_travel(monkeypatch: pytest.MonkeyPatch, fp16: bool) -> None:
    told: dict[str, Any] = {}
    hvd = SimpleNamespace(
        init=lambda: None,
        rank=lambda: 0,
        size=lambda: 2,
        Average="average",
        Compression=SimpleNamespace(none="none", fp16="fp16"),
        DistributedOptimizer=lambda optimizer, named_parameters, **how: told.update(how),
        allreduce_=lambda tensor, op, name: (tensor, op, name),
    )
    monkeypatch.setitem(sys.modules, "horovod", SimpleNamespace(torch=hvd))
    monkeypatch.setitem(sys.modules, "horovod.torch", hvd)
    communicator = Horovod()
    communicator.distributed(nn.Linear(1, 1), None, 3, fp16)
    assert told == {"compression": "fp16" if fp16 else "none", "backward_passes_per_step": 3, "op": "average"}
    assert communicator.average("tensor") == ("tensor", "average", "average")
    assert communicator.average("tensor", "powersgd-p") == ("tensor", "average", "powersgd-p")


# -- What makes no sense ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accumulate": 0}, "accumulate: 0: must be greater than 0"),
        ({"local_steps": 0}, "local_steps: 0: must be greater than 0"),
        ({"compression": "zip"}, "compression: 'zip': there are none, fp16, powersgd"),
        ({"compression": "powersgd", "powersgd_rank": 0}, "powersgd_rank: 0: must be greater than 0"),
        ({"powersgd_rank": 8}, "powersgd_rank: 8 with compression none: only powersgd has a rank"),
        ({"local_steps": 4, "compression": "fp16"}, "compression: fp16 with local_steps 4: .* local steps send none"),
        ({"local_steps": 3}, "local_steps: 3: .* give 1, or 4 or more"),
        ({"local_steps": 4, "accumulate": 3}, "local_steps: 4 with accumulate 3: .* leave one of them at 1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        settings(tmp_path, **wrong)
