"""Ranks that share a device: `mpirun ... python -m edge_training.slots --job NAME`, and what edge_training.train takes.

PyTorch is imported once a device, by a process that all its ranks are forked from: what it takes, 150 MiB and seconds,
they have once. mpirun knows each rank by a small process that stands for it: it hands on its environment and output,
passes signals, and ends as its rank ends. Our own, for Python's multiprocessing has no fork with another's environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Rank = Callable[[], int]
# From the first process that mpirun starts on a device to its last.
PATIENCE_SECONDS = 60.0
# Where nobody listens, what listened was killed; or rank 0 is about to, in the place of what a job before left.
REFUSED_SECONDS = 2.0
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Fork:
    """A rank: its process, a descriptor that says when it has ended, and who stands for it."""

    pid: int
    ended: int
    stands: socket.socket


class FaultError(Exception):
    """Why there is no rank."""


def main(load: Callable[[], Rank]) -> int:
    """Be what this process is to be: one that stands for a rank, or what they are forked from, or a rank.

    Args:
        load: imports what ranks need, and returns what each of them runs.
    """
    # mpirun's own folder for this device and user, which it removes.
    address = Path(os.environ["PMIX_SERVER_TMPDIR"]) / "edge-slots"
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until there is somebody to pass them to
    if os.environ["OMPI_COMM_WORLD_LOCAL_RANK"] == "0":
        count = int(os.environ["OMPI_COMM_WORLD_LOCAL_SIZE"])
        listener = listening(address, count)
        if os.fork() == 0:
            os.setsid()  # what mpirun sends to rank 0's group is not meant for all
            return forks(listener, load, count)
        listener.close()
    return stand(address)


def listening(address: Path, count: int) -> socket.socket:
    """A socket that takes connections as soon as it is at its address."""
    listener = socket.socket(socket.AF_UNIX)
    begun = address.with_suffix(".new")
    begun.unlink(missing_ok=True)
    listener.bind(str(begun))
    listener.listen(count)
    begun.rename(address)
    return listener


def stand(address: Path) -> int:
    """Stand for a rank; returns its exit status, or ends by the signal that ended it."""
    where = f"rank {os.environ.get('OMPI_COMM_WORLD_RANK')} on {os.uname().nodename}"
    try:
        status = status_of_rank(address)
    except FaultError as fault:
        print(json.dumps({"event": "error", "where": where, "message": str(fault), "cause": "rank"}), file=sys.stderr)
        return 1
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def status_of_rank(address: Path) -> int:
    """Have a rank forked, pass on what signals come, and wait for its end."""
    told = ""
    with contextlib.suppress(ConnectionError), connected(address) as connection, connection.makefile("r") as answers:
        socket.send_fds(connection, [b"\n"], [1, 2])
        connection.sendall(json.dumps(dict(os.environ)).encode() + b"\n")
        begun = answers.readline()
        if begun.startswith("fault "):
            raise FaultError(begun.removeprefix("fault ").strip())
        if begun:
            pass_on(int(begun))
            told = answers.readline()
    # Where nobody tells, what ranks are forked from was killed, and they with it.
    return int(told or -signal.SIGKILL)


def pass_on(pid: int) -> None:
    """Signals that this process gets, and has got, go to that one."""

    def passed(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in PASSED_ON:
        signal.signal(number, passed)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)


def connected(address: Path) -> socket.socket:
    """A connection to what ranks are forked from, which may not be there yet."""
    began = time.monotonic()
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise FaultError(f"{address} does not come: rank 0 of this device did not begin") from error
            if isinstance(error, ConnectionRefusedError) and time.monotonic() - began > REFUSED_SECONDS:
                raise
            time.sleep(0.02)
        else:
            return connection


def forks(listener: socket.socket, load: Callable[[], Rank], expected: int) -> int:
    """Fork a rank for each who asks, until all have ended; in a rank this returns the rank's own exit status."""
    fault, rank = None, None
    try:
        rank = load()
    except Exception as error:  # noqa: BLE001  whoever asks is told
        traceback.print_exception(error)
        fault = f"{type(error).__name__}: {error}"
    # What was there before the fork is looked at by no collection after it, which would copy it.
    gc.collect()
    gc.freeze()
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)  # mpirun waits for the end of rank 0's output
    os.dup2(quiet, 2)
    os.close(quiet)
    waited_for = selectors.DefaultSelector()
    waited_for.register(listener, selectors.EVENT_READ)
    going: list[Fork] = []
    heard = time.monotonic()
    while going or (expected and not is_over(heard)):
        for key, _events in waited_for.select(1.0 if expected else None):
            heard = time.monotonic()
            fork: Fork | None = key.data
            if fork is None:
                expected = max(0, expected - 1)
                stands, _address = listener.accept()
                begun = fork_for(stands, fault, [listener, *(one.stands for one in going)])
                if begun == 0:
                    waited_for.close()
                    assert rank is not None
                    return rank()
                if begun is None:
                    stands.close()
                    continue
                new = Fork(begun, os.pidfd_open(begun), stands)
                going.append(new)
                waited_for.register(new.stands, selectors.EVENT_READ, new)
                waited_for.register(new.ended, selectors.EVENT_READ, new)
            elif fork not in going:
                continue
            elif key.fileobj is fork.stands:  # it was killed, and so is its rank
                waited_for.unregister(fork.stands)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(fork.pid, signal.SIGKILL)
            else:
                status = os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])
                with contextlib.suppress(OSError):
                    fork.stands.sendall(f"{status}\n".encode())
                with contextlib.suppress(KeyError):
                    waited_for.unregister(fork.stands)
                waited_for.unregister(fork.ended)
                fork.stands.close()
                os.close(fork.ended)
                going.remove(fork)
    os._exit(0)  # nothing to clean up; torch would take its time


def is_over(heard: float) -> bool:
    """Whether who has not asked by now was ended by mpirun, or the job is to end."""
    return time.monotonic() - heard > PATIENCE_SECONDS or bool(signal.sigpending().intersection(PASSED_ON))


def fork_for(stands: socket.socket, fault: str | None, not_its_own: list[socket.socket]) -> int | None:
    """The process id of the rank for who asks; 0 in the rank itself, None where there is none."""
    outputs: list[int] = []
    try:
        _word, outputs, _flags, _sender = socket.recv_fds(stands, 1, 2)
        with stands.makefile("r") as questions:
            environment = json.loads(questions.readline())
        if is_gone(stands):
            return None
        server = os.getpid()
        pid = None
        if fault is None:
            try:
                pid = os.fork()
            except OSError as error:
                fault = f"no rank can be forked: {error.strerror}; see the worker's limits of processes and memory"
        if pid == 0:
            become(environment, outputs, server, [*not_its_own, stands])
            return 0
        # Whoever is gone by now is noticed as whoever goes later.
        with contextlib.suppress(OSError):
            stands.sendall(f"{pid}\n".encode() if pid else f"fault {fault}\n".encode())
        return pid
    except (OSError, ValueError):  # killed before it had asked
        return None
    finally:
        for output in outputs:
            with contextlib.suppress(OSError):
                os.close(output)


def is_gone(stands: socket.socket) -> bool:
    """Whether the other end is closed; it has nothing more to say."""
    try:
        return not stands.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def become(environment: dict[str, str], outputs: list[int], server: int, not_its_own: list[socket.socket]) -> None:
    """Make this fork the process that mpirun would have started."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        for output, number in zip(outputs, (1, 2), strict=True):
            os.dup2(output, number)
        for other in not_its_own:
            other.close()
        os.environ.clear()
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    except Exception as error:  # noqa: BLE001  this process must not go on as what it was forked from
        traceback.print_exception(error)
        os._exit(1)


def load_training() -> Rank:
    """The training; Horovod too, which starts nothing before a rank says so."""
    import numpy as np

    from edge_training import lean_torch, train

    lean_torch.without_compiler()
    with contextlib.suppress(ImportError):
        import horovod.torch  # noqa: F401

    def rank() -> int:
        np.random.seed()  # or a user's task would draw the same on all ranks of a device
        return train.main()

    return rank


if __name__ == "__main__":
    sys.exit(main(load_training))
