# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gradients as two thin factors: what they hold, what comes later, what they weigh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from edge_training import powersgd, train
from edge_training.communicator import Alone
from edge_training.tasks.digits import Digits
from torch import nn

from tests.unit.training import threads
from tests.unit.training.threads import Thread, ring

RANKS = 3
ROWS, COLUMNS = 24, 10

Gradient = Callable[[torch.Generator], torch.Tensor]


class Weighing(Thread):
    """Notes what this rank gives to be averaged, in bytes, by name."""

    def __init__(self, rank: int, slots: list[Any], barrier: Any) -> None:
        super().__init__(rank, slots, barrier)
        self.given: list[tuple[str, int]] = []

    def average(self, tensor: Any, name: str = "average") -> Any:
        self.given.append((name, tensor.numel() * tensor.element_size()))
        return super().average(tensor, name)


def averaged(gradient_of: Gradient, rank: int, steps: int) -> list[dict[str, Any]]:
    """Of each rank: its own gradients of a layer, what became of them in each step, and what is left at the end."""

    def run(communicator: Thread) -> dict[str, Any]:
        torch.set_num_threads(1)
        layer = nn.Linear(COLUMNS, ROWS)
        factors = powersgd.PowerSGD(communicator, layer, rank, seed=7)
        numbers = torch.Generator().manual_seed(communicator.rank)
        own, applied, biases = [], [], []
        for _step in range(steps):
            layer.weight.grad = gradient_of(numbers)
            layer.bias.grad = torch.full((ROWS,), float(communicator.rank))
            own.append(layer.weight.grad.clone())
            factors.average_gradients()
            applied.append(layer.weight.grad.clone())
            biases.append(layer.bias.grad.clone())
        return {"own": own, "applied": applied, "biases": biases, "error": factors.errors[0]}

    return ring(RANKS, run)


def any_matrix(numbers: torch.Generator) -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=numbers)


def of_rank_one(numbers: torch.Generator) -> torch.Tensor:
    """The mean over all ranks is of rank `RANKS`."""
    return torch.outer(torch.randn(ROWS, generator=numbers), torch.randn(COLUMNS, generator=numbers))


def mean_over_ranks(found: list[dict[str, Any]], step: int) -> torch.Tensor:
    return torch.stack([one["own"][step] for one in found]).mean(0)


# -- What two factors hold ----------------------------------------------------------------------


def test_a_gradient_of_no_higher_rank_than_the_factors_arrives_whole() -> None:
    found = averaged(of_rank_one, rank=RANKS, steps=1)
    torch.testing.assert_close(found[0]["applied"][0], mean_over_ranks(found, 0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sum(one["error"] for one in found), torch.zeros(ROWS, COLUMNS), rtol=0, atol=1e-5)


def test_one_of_a_higher_rank_does_not() -> None:
    """Or the one above would prove nothing."""
    found = averaged(of_rank_one, rank=RANKS - 1, steps=1)
    lost = (found[0]["applied"][0] - mean_over_ranks(found, 0)).norm() / mean_over_ranks(found, 0).norm()
    assert 0.01 < lost < 1


def test_what_is_left_out_is_what_is_still_to_come() -> None:
    """All that was applied, and the mean of what ranks keep, are all that there was."""
    found = averaged(any_matrix, rank=2, steps=9)
    there_was = sum(mean_over_ranks(found, step) for step in range(9))
    kept = torch.stack([one["error"] for one in found]).mean(0)
    assert kept.norm() > 0.1 * there_was.norm()
    torch.testing.assert_close(sum(found[0]["applied"]) + kept, there_was, rtol=1e-4, atol=1e-4)


def test_a_steady_gradient_is_found_better_with_every_step() -> None:
    """Q is the last one, a step of the power iteration nearer to the gradient."""
    one = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))
    best = torch.linalg.svdvals(one)[:2].square().sum() / one.square().sum()
    layer = nn.Linear(COLUMNS, ROWS, bias=False)
    factors = powersgd.PowerSGD(Alone(), layer, 2, seed=7)
    held = []
    for _step in range(20):
        factors.errors[0].zero_()
        layer.weight.grad = one.clone()
        factors.average_gradients()
        held.append(float(layer.weight.grad.square().sum() / one.square().sum()))
    assert held[0] < 0.95 * best
    assert held[-1] == pytest.approx(float(best), rel=0.02)


def test_all_ranks_have_the_same_bits_and_vectors_are_averaged_as_they_are() -> None:
    first, *others = averaged(any_matrix, rank=2, steps=3)
    for other in others:
        assert all(torch.equal(*pair) for pair in zip(first["applied"], other["applied"], strict=True))
        assert not torch.equal(first["error"], other["error"])
    assert first["biases"] == [pytest.approx(torch.full((ROWS,), 1.0))] * 3


def test_a_gradient_that_was_zero_is_found_when_it_comes() -> None:
    """A parameter that no example touched: its Q would be zero for ever."""
    layer = nn.Linear(COLUMNS, ROWS, bias=False)
    factors = powersgd.PowerSGD(Alone(), layer, 2, seed=7)
    factors.average_gradients()
    assert not layer.weight.grad.any()
    gradient = of_rank_one(torch.Generator().manual_seed(3))
    layer.weight.grad = gradient.clone()
    factors.average_gradients()
    torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-4, atol=1e-5)
    assert not factors.errors[0].isnan().any()


def test_columns_become_orthonormal_and_one_that_others_make_up_becomes_zero() -> None:
    p = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    found = powersgd.orthonormal(p)
    torch.testing.assert_close(found.T @ found, torch.eye(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(found @ (found.T @ p), p, rtol=1e-5, atol=1e-5)  # the same space
    twice = torch.stack([p[:, 0], 2 * p[:, 0], p[:, 1], torch.zeros(50)], dim=1)
    assert torch.equal(powersgd.orthonormal(twice).any(0), torch.tensor([True, False, True, False]))
    assert powersgd.orthonormal(p * 1e-25).norm() == pytest.approx(3**0.5)


def test_local_steps_end_where_the_mean_of_all_ranks_does() -> None:
    """Each rank goes on alone from where all were; one that saw more examples counts for more."""

    def run(communicator: Thread) -> dict[str, Any]:
        layer = nn.Linear(COLUMNS, ROWS)
        with torch.no_grad():
            layer.weight.fill_(0.5)
            layer.bias.zero_()
        factors = powersgd.PowerSGD(communicator, layer, RANKS, seed=7, local=True)
        numbers = torch.Generator().manual_seed(communicator.rank)
        ways = []
        for _time in range(2):
            ways.append(of_rank_one(numbers))
            with torch.no_grad():
                layer.weight += ways[-1]
                layer.bias += communicator.rank
            factors.average_steps((0.5, 1.0, 1.5)[communicator.rank])
        return {"ways": ways, "weight": layer.weight.detach(), "bias": layer.bias.detach()}

    found = ring(RANKS, run)
    mean = 0.5 + sum(
        part * way / RANKS for part, one in zip((0.5, 1.0, 1.5), found, strict=True) for way in one["ways"]
    )
    for one in found:
        torch.testing.assert_close(one["weight"], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one["bias"], torch.full((ROWS,), 2 * 4 / 3))
        assert torch.equal(one["weight"], found[0]["weight"])


# -- In a training ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "rank", "numbers"),
    [
        ((100, 50), 4, 600),
        ((100, 50), 40, 5000),  # factors would be larger
        ((64, 32, 3, 3), 2, 2 * (64 + 288)),
        ((100,), 1, 100),
        ((), 1, 1),
    ],
)
def test_a_matrix_counts_as_its_factors_where_they_are_smaller(shape: tuple[int, ...], rank: int, numbers: int) -> None:
    model = nn.ParameterList([nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(9), requires_grad=False)])
    assert powersgd.step_bytes(model, rank) == 4 * numbers


@pytest.mark.parametrize(("way", "averagings"), [({"accumulate": 2}, 12), ({"local_steps": 5}, 5)], ids=str)
def test_the_result_has_the_bytes_that_were_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: dict[str, int], averagings: int
) -> None:
    chosen = threads.settings(tmp_path, epochs=1, compression="powersgd", powersgd_rank=2, **way)

    def run(thread: Thread) -> dict[str, Any]:
        one = Weighing(thread.rank, thread.slots, thread.barrier)
        return {**train.run(chosen, one), "given": one.given}

    with threads.training_of(Digits, monkeypatch):
        result = ring(2, run)[0]
    given = [size for name, size in result["given"] if name.startswith("powersgd")]
    assert len(given) == 2 * averagings
    assert given[0] + given[1] == result["allreduce_bytes"]
    # Of two ranks each sends as many bytes as are averaged.
    assert sum(given) == result["wire_bytes_per_epoch"]
    assert result["wire_bytes_per_step"] == round(result["wire_bytes_per_epoch"] / result["steps"])
    assert result["allreduce_bytes"] * 10 < 4 * result["parameters"]


def test_it_learns_about_as_well_as_with_whole_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is above what seeds make of it (docs/less-wire.md), and far below what a fault would."""
    chosen = {
        "whole": threads.settings(tmp_path / "a", epochs=12),
        "each step": threads.settings(tmp_path / "b", epochs=12, compression="powersgd", local_steps=1),
        "each 6": threads.settings(tmp_path / "c", epochs=12, compression="powersgd", local_steps=6),
    }
    with threads.training_of(Digits, monkeypatch):
        plain, *sparing = (
            ring(4, lambda communicator, given=given: train.run(given, communicator))[0] for given in chosen.values()
        )
    assert plain["accuracy"] > 0.95
    for result in sparing:
        assert len(result["parameter_hashes"]) == 1
        assert result["accuracy"] > plain["accuracy"] - 0.03


def test_a_rank_that_is_alone_trains_as_it_would_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with threads.training_of(Digits, monkeypatch):
        plain = train.run(threads.settings(tmp_path / "a", epochs=1), Alone())
        sparing = train.run(threads.settings(tmp_path / "b", epochs=1, compression="powersgd"), Alone())
    assert sparing["parameter_hashes"] == plain["parameter_hashes"]
