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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Rank = Callable[[], int]
# Of mpirun's, from the first process of a device to its last.
PATIENCE_SECONDS = 60.0
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Fork:
    """A rank: its process, a descriptor that says when it has ended, and who stands for it."""

    pid: int
    ended: int
    stands: socket.socket


class GoneError(Exception):
    """The process that ranks are forked from went away."""


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
    """A socket that takes connections as soon as it is at its address: who is refused there knows that it is gone."""
    listener = socket.socket(socket.AF_UNIX)
    begun = address.with_suffix(".new")
    listener.bind(str(begun))
    listener.listen(count)
    begun.rename(address)
    return listener


def stand(address: Path) -> int:
    """Stand for a rank; returns its exit status, or ends by the signal that ended it."""
    where = f"rank {os.environ.get('OMPI_COMM_WORLD_RANK')} on {os.uname().nodename}"
    try:
        with connected(address) as connection, connection.makefile("r") as answers:
            socket.send_fds(connection, [b"\n"], [1, 2])
            connection.sendall(json.dumps(dict(os.environ)).encode() + b"\n")
            pid = int(answer(answers.readline()))
            pass_on(pid)
            try:
                told = answers.readline()
            except OSError:
                told = ""
    except (GoneError, OSError) as error:
        said = f"what this device's ranks are to be forked from is gone ({error}); see its words above"
        print(json.dumps({"event": "error", "where": where, "message": said, "cause": "rank"}), file=sys.stderr)
        return 1
    # Where nobody tells, it was killed with what it was forked from.
    status = int(told or -signal.SIGKILL)
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


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
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(address))
        except FileNotFoundError:
            connection.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return connection


def answer(line: str) -> str:
    """A whole line."""
    if not line.endswith("\n"):
        raise GoneError("it says no more")
    return line


def forks(listener: socket.socket, load: Callable[[], Rank], expected: int) -> int:
    """Fork a rank for each who asks, until all have ended; in a rank this returns the rank's own exit status."""
    rank = load()
    # What was there before the fork is looked at by no collection after it, which would copy it.
    gc.collect()
    gc.freeze()
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)  # mpirun waits for the end of rank 0's output
    os.dup2(quiet, 2)
    waited_for = selectors.DefaultSelector()
    waited_for.register(listener, selectors.EVENT_READ)
    going: list[Fork] = []
    while expected or going:
        ready = waited_for.select(PATIENCE_SECONDS if expected else None)
        if not ready:
            expected = 0  # who did not come was ended by mpirun
        for key, _events in ready:
            fork: Fork | None = key.data
            if fork is None:
                expected = max(0, expected - 1)
                try:
                    new = forked(listener, [listener, *(one.stands for one in going)])
                except (GoneError, OSError):  # it was killed before it had asked
                    continue
                if new is None:
                    waited_for.close()
                    return rank()
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


def forked(listener: socket.socket, not_its_own: list[socket.socket]) -> Fork | None:
    """The rank of who asks next; None in the rank itself."""
    stands, _address = listener.accept()
    _word, outputs, _flags, _sender = socket.recv_fds(stands, 1, 2)
    with stands.makefile("r") as questions:
        environment = json.loads(answer(questions.readline()))
    parent = os.getpid()
    pid = os.fork()
    if pid:
        for output in outputs:
            os.close(output)
        stands.sendall(f"{pid}\n".encode())
        return Fork(pid, os.pidfd_open(pid), stands)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for output, number in zip(outputs, (1, 2), strict=True):
        os.dup2(output, number)
        os.close(output)
    for other in (*not_its_own, stands):
        other.close()
    os.environ.clear()
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    return None


def load_training() -> Rank:
    """The training; Horovod too, which starts nothing before a rank says so."""
    from edge_training import lean_torch, train

    lean_torch.without_compiler()
    with contextlib.suppress(ImportError):
        import horovod.torch  # noqa: F401
    return train.main


if __name__ == "__main__":
    sys.exit(main(load_training))
