"""From a trained torch model to an ONNX graph, proven on real inputs by what torch itself answers."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch

INPUT, OUTPUT = "input", "logits"
OPSET = 18


def to_onnx(model: Any, example: Any) -> bytes:
    """The model as ONNX, batch dimension free.

    torch's older exporter is asked for on purpose: the newer one needs torch._dynamo and two more packages, for a
    graph that ONNX Runtime answers alike.
    """
    buffer = io.BytesIO()
    was_training = model.training
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # GroupNorm has some. Whether the graph answers as the model does, the check and the Predictor try.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            torch.onnx.export(
                model,
                (example,),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            )
    finally:
        model.train(was_training)
    return buffer.getvalue()
