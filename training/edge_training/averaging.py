"""Local SGD: every rank learns alone for some steps, then all go on from the mean of what they have become.

Stich, "Local SGD converges fast and communicates little", arXiv 1805.09767. The moments of Adam are averaged with the
parameters, as in Chen et al., "Toward communication efficient adaptive gradient method", arXiv 2109.05109: three times
the bytes, but all ranks are in one state again, so that any device's checkpoint is that of all.
"""

from __future__ import annotations

from typing import Any

import torch

from edge_training.communicator import Communicator
from edge_training.parameters import gradient_bytes, trained

PARTS = 3  # a parameter, and Adam's two moments of it


def complete(model: Any) -> None:
    """Give a parameter that this rank's examples did not touch a gradient of zero, as Horovod does.

    Others may have one, and all must have the same moments to average.
    """
    for parameter in trained(model):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def average(communicator: Communicator, model: Any, optimizer: Any, weight: float) -> None:
    """Set parameters and moments to their mean over all ranks; `weight` is what this one counts for, 1 on average."""
    tensors = [tensor for parameter in trained(model) for tensor in _parts(parameter, optimizer)]
    with torch.no_grad():
        means = mean_of(communicator, [tensor * weight for tensor in tensors], "local-steps")
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean)


def mean_of(communicator: Communicator, tensors: list[Any], name: str) -> list[Any]:
    """The mean of each over all ranks, in one allreduce; `name` as in `Communicator.average`."""
    mean = communicator.average(torch.cat([tensor.reshape(-1) for tensor in tensors]), name)
    parts = mean.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def average_bytes(model: Any) -> int:
    """What one averaging takes."""
    return PARTS * gradient_bytes(model)


def _parts(parameter: Any, optimizer: Any) -> list[Any]:
    """Not its count of steps, which is the same everywhere."""
    state = optimizer.state[parameter]
    return [parameter, state["exp_avg"], state["exp_avg_sq"]]
