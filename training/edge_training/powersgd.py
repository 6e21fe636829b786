"""PowerSGD: a gradient that is a matrix travels as two thin factors, and what they leave out goes with the next one.

Vogels et al., "PowerSGD: practical low-rank gradient compression for distributed optimization", arXiv 1905.13727,
algorithms 1 and 2. torch's own powerSGD_hook is bound to DistributedDataParallel and to torch.distributed's process
groups; Horovod has neither.
"""

from __future__ import annotations

from typing import Any

import torch

from edge_training.averaging import complete, mean_of
from edge_training.communicator import Communicator
from edge_training.parameters import trained

# What is left of a column, of what it was, if it is the sum of others and the rest is rounding.
NOTHING = 1e-10


class PowerSGD:
    """Of one rank. `errors` is what it has not sent yet of each matrix, (rows, columns) each.

    A gradient M, of first dimension x all others, becomes P (rows, rank) and Q (columns, rank), so that P Q^T is what
    they hold of its mean. Errors begin at zero, and Q with numbers that are the same on every rank, also after a
    restart: what was not sent by then is lost, as a batch would be, and no device's checkpoint is another one's.
    """

    def __init__(self, communicator: Communicator, model: Any, rank: int, seed: int, local: bool = False) -> None:
        self._communicator = communicator
        self._model = model
        self._pays = [_pays(parameter, rank) for parameter in trained(model)]
        matrices = [parameter for parameter in trained(model) if _pays(parameter, rank)]
        self._numbers = torch.Generator().manual_seed(seed)
        self._factors = [self._random(_sides(one)[1], rank).to(one.dtype) for one in matrices]
        self.errors = [torch.zeros(_sides(one), dtype=one.dtype) for one in matrices]
        # What all ranks had when they averaged last, if it is local steps that they average.
        self._last = [parameter.detach().clone() for parameter in trained(model)] if local else []

    def average_gradients(self) -> None:
        """Before a step: each is what its mean over all ranks has of two factors."""
        complete(self._model)
        self.average([parameter.grad for parameter in trained(self._model)])

    def average_steps(self, weight: float) -> None:
        """After some that each rank took alone: all go on from where the mean of their ways since the last time ends.

        `weight` is what this rank's counts for, 1 on average. Adam's moments stay each rank's own.
        """
        with torch.no_grad():
            ways = [
                (parameter - last) * weight for parameter, last in zip(trained(self._model), self._last, strict=True)
            ]
            self.average(ways)
            for parameter, last, way in zip(trained(self._model), self._last, ways, strict=True):
                last += way
                parameter.copy_(last)

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def average(self, tensors: list[Any]) -> None:
        """Set each to its mean over all ranks, a matrix to what two factors hold of that; twice all wait."""
        matrices = [tensor for tensor, pays in zip(tensors, self._pays, strict=True) if pays]
        others = [tensor for tensor, pays in zip(tensors, self._pays, strict=True) if not pays]
        for error, matrix in zip(self.errors, matrices, strict=True):
            error += matrix.reshape(error.shape)
        left = [error @ factor for error, factor in zip(self.errors, self._factors, strict=True)]
        means = mean_of(self._communicator, left + others, "powersgd-p")
        for tensor, mean in zip(others, means[len(left) :], strict=True):
            tensor.copy_(mean)
        if not left:
            return
        left = [orthonormal(mean) for mean in means[: len(left)]]
        right = [error.T @ one for error, one in zip(self.errors, left, strict=True)]
        self._factors = mean_of(self._communicator, right, "powersgd-q")
        for error, matrix, p, q in zip(self.errors, matrices, left, self._factors, strict=True):
            held = product(p, q)
            error -= held
            matrix.copy_(held.view_as(matrix))
            dead = ~q.any(0)  # it would find nothing ever again: the gradient was zero, or of a lower rank
            q[:, dead] = self._random(len(q), int(dead.sum())).to(q.dtype)

    def _random(self, rows: int, columns: int) -> Any:
        return torch.randn(rows, columns, generator=self._numbers)


def step_bytes(model: Any, rank: int) -> int:
    """What the two averagings of a step take together."""
    return sum(
        parameter.element_size() * (rank * sum(_sides(parameter)) if _pays(parameter, rank) else parameter.numel())
        for parameter in trained(model)
    )


def orthonormal(p: Any) -> Any:
    """The columns of a matrix, made orthogonal and of length 1 one after the other; one that others make up is zero.

    Not torch.linalg.qr, whose last bits depend on the processor: every rank must have the same ones, or their models
    would drift apart. So sums are taken in order, in 64 bits.
    """
    done = p.double()
    for number in range(p.shape[1]):
        column = done[:, number]
        before = _dot(column, column)
        for earlier in range(number):
            column -= _dot(done[:, earlier], column) * done[:, earlier]
        rest = _dot(column, column)
        if rest > NOTHING**2 * before:
            column /= rest.sqrt()
        else:
            column.zero_()
    return done.to(p.dtype)


def product(p: Any, q: Any) -> Any:
    """P Q^T, column after column: the same bits on every processor, which a library's product does not promise."""
    whole = torch.outer(p[:, 0], q[:, 0])
    for number in range(1, p.shape[1]):
        whole += torch.outer(p[:, number], q[:, number])
    return whole


def _dot(one: Any, other: Any) -> Any:
    return (one * other).cumsum(0)[-1]


def _sides(parameter: Any) -> tuple[int, int]:
    """Rows and columns, as a matrix; a vector is one column."""
    rows = parameter.shape[0] if parameter.dim() > 1 else parameter.numel()
    return rows, parameter.numel() // rows


def _pays(parameter: Any, rank: int) -> bool:
    """Whether its factors are smaller than itself."""
    return bool(rank * sum(_sides(parameter)) < parameter.numel())
