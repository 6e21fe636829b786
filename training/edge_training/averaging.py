"""Local SGD: every rank learns alone for some steps, then all go on from the mean of what they have become.

Stich, "Local SGD converges fast and communicates little", arXiv 1805.09767. The moments of Adam are averaged with the
parameters, as in Chen et al., "Toward communication efficient adaptive gradient method", arXiv 2109.05109: three times
the bytes, but all ranks are in one state again, so that any device's checkpoint is that of all.
"""

from __future__ import annotations

from typing import Any

import torch

from edge_training.communicator import Communicator
from edge_training.parameters import gradient_bytes

PARTS = 3  # a parameter, and Adam's two moments of it


def complete(model: Any) -> None:
    """Give a parameter that this rank's examples did not touch a gradient of zero, as Horovod does.

    Others may have one, and all must have the same moments to average.
    """
    for parameter in _trained(model):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def average(communicator: Communicator, model: Any, optimizer: Any, weight: float) -> None:
    """Set parameters and moments to their mean over all ranks; `weight` is what this one counts for, 1 on average."""
    tensors = [tensor for parameter in _trained(model) for tensor in _parts(parameter, optimizer)]
    mean = communicator.average(torch.cat([tensor.detach().reshape(-1) for tensor in tensors]) * weight)
    with torch.no_grad():
        for tensor, part in zip(tensors, mean.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def average_bytes(model: Any) -> int:
    """What one averaging takes."""
    return PARTS * gradient_bytes(model)


def _trained(model: Any) -> list[Any]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _parts(parameter: Any, optimizer: Any) -> list[Any]:
    """Not its count of steps, which is the same everywhere."""
    state = optimizer.state[parameter]
    return [parameter, state["exp_avg"], state["exp_avg_sq"]]
