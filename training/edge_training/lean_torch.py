"""torch without its compiler, for ranks that share a small device's memory. To be imported before torch.

Importing torch also loads how a tensor without data (`device="meta"`, for the compiler) goes through each operation, in
Python: 20 to 30 MiB and a fifth of the time, for nothing that trains. With this module it is loaded when something of
`torch._meta_registrations` is first asked for.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

FOR_LATER = "torch._meta_registrations"


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


class _ForLater(types.ModuleType):
    """A module that loads itself when it is first used; importlib.util.LazyLoader would at its second import."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks for them
            raise AttributeError(name)
        spec = PathFinder.find_spec(self.__name__, sys.modules["torch"].__path__)
        if spec is None or spec.loader is None:
            raise ImportError(f"no module named {self.__name__!r}", name=self.__name__)
        self.__class__ = types.ModuleType  # type: ignore[assignment]
        self.__spec__, self.__loader__, self.__file__ = spec, spec.loader, spec.origin
        spec.loader.exec_module(self)
        return getattr(self, name)


class _Finder:
    """Finds the one module that is for later."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None = None, _target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, _Finder) if name == FOR_LATER else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> types.ModuleType:
        return _ForLater(spec.name)

    @staticmethod
    def exec_module(_module: types.ModuleType) -> None:
        """Run nothing yet."""


sys.meta_path.insert(0, _Finder)
