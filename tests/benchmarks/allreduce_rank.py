"""One rank of tests.benchmarks.allreduce; mpirun starts it in a worker's container, where nothing else of ours is.

    python allreduce_rank.py horovod|bare '[[67108864, 1], ...]' REPEATS

Each pair is the bytes of an allreduce and in how many pieces they come. Rank 0 prints one line of JSON: for each pair,
{"seconds": of each repeat, of each rank; "sent": [bytes, frames] of each rank, in all repeats}.
"""

from __future__ import annotations

import array
import ctypes
import json
import math
import socket
import struct
import sys
import time
from typing import Any, Protocol

DEVICE = "eth0"
TINY = 1024


class Mpi(Protocol):
    """All ranks call each method in the same order; every call waits for all."""

    def prepare(self, pieces: list[int]) -> None:
        """Make tensors of so many bytes."""

    def allreduce(self) -> None: ...

    def check(self, times: int) -> None:
        """After so many allreduces each number is what it should be."""

    def gather(self, numbers: list[float]) -> list[list[float]] | None:
        """The numbers of every rank, on rank 0."""

    def barrier(self) -> None: ...


class Horovod:
    """As edge_training.communicator averages, and as its DistributedOptimizer does with many gradients."""

    def __init__(self) -> None:
        import horovod.torch as hvd
        import torch

        hvd.init()
        self._hvd, self._torch = hvd, torch

    def prepare(self, pieces: list[int]) -> None:
        own = float(self._hvd.rank() + 1)
        self._tensors = [self._torch.full((size // 4,), own) for size in pieces]

    def allreduce(self) -> None:
        hvd = self._hvd
        name = f"bench-{len(self._tensors)}-{self._tensors[-1].numel()}"
        handles = [
            hvd.allreduce_async_(tensor, op=hvd.Average, name=f"{name}-{number}")
            for number, tensor in enumerate(self._tensors)
        ]
        for handle in handles:
            hvd.synchronize(handle)

    def check(self, times: int) -> None:
        mean = (self._hvd.size() + 1) / 2  # which the mean of means stays
        assert all(bool((tensor == mean).all()) for tensor in self._tensors), "a mean is wrong"

    def gather(self, numbers: list[float]) -> list[list[float]] | None:
        gathered: list[list[float]] = self._hvd.allgather_object(numbers, name="gather")
        return gathered if self._hvd.rank() == 0 else None

    def barrier(self) -> None:
        self._hvd.barrier()


class Bare:
    """MPI itself, by its C functions."""

    def __init__(self) -> None:
        # Open MPI's own plugins look for its symbols among those of all.
        self._lib = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
        self._call("MPI_Init", None, None)
        self._world = self._symbol("ompi_mpi_comm_world")
        self.rank, self.size = (self._count(name) for name in ("MPI_Comm_rank", "MPI_Comm_size"))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._lib, name)(*arguments)
        assert status == 0, f"{name}: {status}"

    def _symbol(self, name: str) -> ctypes.c_void_p:
        return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(self._lib, name)))

    def _count(self, name: str) -> int:
        answer = ctypes.c_int()
        self._call(name, self._world, ctypes.byref(answer))
        return answer.value

    def prepare(self, pieces: list[int]) -> None:
        self._numbers = [array.array("f", [1.0]) * (size // 4) for size in pieces]

    def allreduce(self) -> None:
        in_place = ctypes.c_void_p(1)
        kind, add = self._symbol("ompi_mpi_float"), self._symbol("ompi_mpi_op_sum")
        for numbers in self._numbers:
            address, count = numbers.buffer_info()
            self._call("MPI_Allreduce", in_place, ctypes.c_void_p(address), count, kind, add, self._world)

    def check(self, times: int) -> None:
        right = float(self.size) ** times
        for numbers in self._numbers:
            found = (min(numbers), max(numbers))
            assert all(math.isclose(one, right, rel_tol=1e-6 * times) for one in found), "a sum is wrong"

    def gather(self, numbers: list[float]) -> list[list[float]] | None:
        own, count = array.array("d", numbers), len(numbers)
        all_of_them = array.array("d", [0.0]) * (count * self.size)
        ends = [ctypes.c_void_p(one.buffer_info()[0]) for one in (own, all_of_them)]
        kind = self._symbol("ompi_mpi_double")
        self._call("MPI_Gather", ends[0], count, kind, ends[1], count, kind, 0, self._world)
        if self.rank != 0:
            return None
        return [list(all_of_them[rank * count : (rank + 1) * count]) for rank in range(self.size)]

    def barrier(self) -> None:
        self._call("MPI_Barrier", self._world)

    def end(self) -> None:
        self._call("MPI_Finalize")


def sent(device: str) -> tuple[int, int]:
    """Bytes and frames that the device's queueing discipline has sent.

    The device's own statistics take for one frame what the kernel cuts into many afterwards (segmentation offload); the
    queue, which lets pass so many bytes a second, counts each with its headers. rtnetlink(7), linux/pkt_sched.h.
    """
    get_queues, dump, root = 38, 0x301, 0xFFFFFFFF
    wanted = socket.if_nametoindex(device)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(struct.pack("=IHHIIBxxxiIII", 36, get_queues, dump, 1, 0, 0, wanted, 0, 0, 0))
        while True:
            answer = kernel.recv(1 << 16)
            while answer:
                length, kind = struct.unpack_from("=IH", answer)
                message, answer = answer[16:length], answer[(length + 3) & ~3 :]
                if kind <= 3:  # NLMSG_DONE, or an error
                    raise OSError(f"{device} has no queueing discipline at its root")
                index, _handle, parent = struct.unpack_from("=iII", message, 4)
                if (index, parent) == (wanted, root):
                    basic = attributes(attributes(message[20:])[7])[1]  # TCA_STATS2, TCA_STATS_BASIC
                    return struct.unpack_from("=QI", basic)


def attributes(packed: bytes) -> dict[int, bytes]:
    found = {}
    while len(packed) >= 4:
        length, kind = struct.unpack_from("=HH", packed)
        found[kind & 0x3FFF] = packed[4:length]
        packed = packed[(length + 3) & ~3 :]
    return found


def pieces_of(payload: int, count: int) -> list[int]:
    """As a network's parameters are: every other one tiny (a bias), the others the rest, in whole numbers of floats."""
    tiny = count // 2
    large = (payload - tiny * TINY) // (count - tiny) // 4 * 4
    sizes = [TINY if number % 2 else large for number in range(count)]
    sizes[-2 if count > 1 else 0] += payload - sum(sizes)
    return sizes


def measure(mpi: Mpi, payload: int, count: int, repeats: int) -> tuple[list[float], tuple[int, int]]:
    """Seconds of each repeat on this rank, and what this rank sent in all of them."""
    mpi.prepare(pieces_of(payload, count))
    mpi.allreduce()  # connections are made with the first one, and memory is touched
    mpi.barrier()
    before, seconds = sent(DEVICE), []
    for _repeat in range(repeats):
        mpi.barrier()
        began = time.perf_counter()
        mpi.allreduce()
        seconds.append(time.perf_counter() - began)
    mpi.barrier()  # what others have received has left this device
    after = sent(DEVICE)
    mpi.check(repeats + 1)
    return seconds, (after[0] - before[0], after[1] - before[1])


def main() -> None:
    kind, pairs, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    mpi = Horovod() if kind == "horovod" else Bare()
    found = []
    for payload, count in pairs:
        seconds, (size, frames) = measure(mpi, payload, count, repeats)
        if ranks := mpi.gather([size, frames, *seconds]):
            times = zip(*(rank[2:] for rank in ranks), strict=True)
            found.append({"sent": [rank[:2] for rank in ranks], "seconds": list(times)})
    if found:
        print(json.dumps(found), flush=True)
    if isinstance(mpi, Bare):
        mpi.end()


if __name__ == "__main__":
    main()
