"""torch without its compiler, for ranks that share a small device's memory."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any


def _disable(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    if function is None:
        return lambda wrapped: wrapped
    return function


def without_compiler() -> bool:
    """Put an empty torch._dynamo in the way of the real one; call before the first `optimizer.step()`.

    The first step imports torch._dynamo only to switch it off for that step: 70 MiB and 2 s per rank. The worker image
    has no C++ compiler, so nothing is lost. Returns whether the stand-in is in place.
    """
    if "torch._dynamo" in sys.modules:
        return isinstance(sys.modules["torch._dynamo"], _StandIn)
    import torch

    stand_in = _StandIn("torch._dynamo")
    sys.modules["torch._dynamo"] = stand_in
    torch._dynamo = stand_in
    return True


class _StandIn(types.ModuleType):
    """As much of torch._dynamo as torch's optimizers and exporter ask for."""

    disable = staticmethod(_disable)

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Break no graph: there is none."""

    @staticmethod
    def is_compiling() -> bool:
        return False
