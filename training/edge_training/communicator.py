"""The few words that ranks exchange, with and without Horovod."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Communicator(Protocol):
    """All ranks call each method in the same order; every call waits for all."""

    rank: int
    size: int

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in rank order, on every rank."""

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""

    def share_start(self, model: Any, optimizer: Any) -> None:
        """Give every rank rank 0's parameters and optimizer state."""

    def distributed(self, model: Any, optimizer: Any, accumulate: int, fp16: bool) -> Any:
        """The optimizer, made to average gradients over all ranks before each step, of so many backward passes.

        With `fp16` they travel, and are added, as 16-bit floating point numbers.
        """

    def average(self, tensor: Any, name: str = "average") -> Any:
        """The mean of all ranks' tensors, the same bits on every rank; the one that was given may be overwritten.

        What is averaged again and again has a `name` of its own, by which Horovod remembers its size.
        """

    def versions(self) -> dict[str, str | None]:
        """Of what carries the words: `horovod` and `mpi`."""


class Alone:
    """One process that is its own ring."""

    rank = 0
    size = 1

    def gather(self, value: T) -> list[T]:
        return [value]

    def broadcast(self, value: T) -> T:
        return value

    def share_start(self, model: Any, optimizer: Any) -> None:
        return None

    def distributed(self, model: Any, optimizer: Any, accumulate: int, fp16: bool) -> Any:
        return optimizer

    def average(self, tensor: Any, name: str = "average") -> Any:
        return tensor

    def versions(self) -> dict[str, str | None]:
        return {"horovod": None, "mpi": None}


class Horovod:
    """Ranks started by mpirun; Horovod is imported here and nowhere else."""

    def __init__(self) -> None:
        import horovod.torch as hvd

        hvd.init()
        self._hvd = hvd
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()

    def gather(self, value: T) -> list[T]:
        # By a name, for Horovod's own is the type's: ranks with None and with something else would wait for each other.
        gathered: list[T] = self._hvd.allgather_object(value, name="gather")
        return gathered

    def broadcast(self, value: T) -> T:
        shared: T = self._hvd.broadcast_object(value, root_rank=0, name="broadcast")
        return shared

    def share_start(self, model: Any, optimizer: Any) -> None:
        self._hvd.broadcast_parameters(model.state_dict(), root_rank=0)
        self._hvd.broadcast_optimizer_state(optimizer, root_rank=0)

    def distributed(self, model: Any, optimizer: Any, accumulate: int, fp16: bool) -> Any:
        compression = self._hvd.Compression
        return self._hvd.DistributedOptimizer(
            optimizer,
            named_parameters=model.named_parameters(),
            compression=compression.fp16 if fp16 else compression.none,
            backward_passes_per_step=accumulate,
            op=self._hvd.Average,
        )

    def average(self, tensor: Any, name: str = "average") -> Any:
        return self._hvd.allreduce_(tensor, op=self._hvd.Average, name=name)

    def versions(self) -> dict[str, str | None]:
        import horovod

        return {"horovod": horovod.__version__, "mpi": _mpi_version()}


def connect() -> Communicator:
    """Horovod where mpirun started this process, alone otherwise."""
    return Horovod() if "OMPI_COMM_WORLD_SIZE" in os.environ else Alone()


def host_name() -> str:
    """This device's name, as its peers see it."""
    return platform.node()


def _mpi_version() -> str | None:
    try:
        answer = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\(([^)]+)\) (\S+)", answer.stdout)
    return f"{found[1]} {found[2]}" if found else None
