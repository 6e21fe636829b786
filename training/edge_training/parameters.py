"""Is it one model? A hash over parameters that is equal exactly where they are."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def parameter_hash(model: Any) -> str:
    """sha256 (hex) over all parameters in order of name: name, dtype, shape, then little-endian values, row by row.

    Buffers are left out: batch statistics are each rank's own by design.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        values = np.ascontiguousarray(parameter.detach().cpu().numpy())
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}\0{values.dtype.str}\0{values.shape}\0".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def trained(model: Any) -> list[Any]:
    """The parameters that are trained, in their order, which is the same on every rank."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def parameter_count(model: Any) -> int:
    """Trainable numbers in the model."""
    return sum(parameter.numel() for parameter in trained(model))


def gradient_bytes(model: Any) -> int:
    """Bytes that one step has to average over all ranks."""
    return sum(parameter.numel() * parameter.element_size() for parameter in trained(model))
