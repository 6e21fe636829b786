"""End what is left of a job: `python -m edge_training.stop --job NAME`; prints how many processes there were.

With `--address` (repeated) and `--ssh-port`, on those workers too. mpirun ends its ranks itself; this is for the day
when mpirun was killed or cut off.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_training.probe import AT_ONCE, ssh

PATIENCE_SECONDS = 5.0


def belongs_to(command_line: list[str], job: str) -> bool:
    """Whether a process with this command line is a rank or the mpirun of `job`."""
    if "edge_training.train" not in command_line or "--job" not in command_line:
        return False
    return command_line[command_line.index("--job") + 1 :][:1] == [job]


def processes_of(job: str) -> list[int]:
    """Process ids, in this container."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it ended meanwhile
                continue
            if belongs_to(words, job):
                found.append(int(folder.name))
    return found


def stop(job: str) -> int:
    """Ask, wait, insist; returns how many processes there were."""
    first = processes_of(job)
    _signal(first, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while processes_of(job) and time.monotonic() < deadline:
        time.sleep(0.1)
    _signal(processes_of(job), signal.SIGKILL)
    return len(first)


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def stop_at(address: str, ssh_port: int, job: str) -> int:
    """The same on another worker; 0 where it does not answer: what is left there ends with its lost connection."""
    try:
        done = subprocess.run(  # noqa: S603
            ssh(address, ssh_port, f"python -m edge_training.stop --job {job}"),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS + 15,
            check=False,
        )
        return int(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Stop, here and there, and say how many."""
    parser = argparse.ArgumentParser(prog="edge_training.stop", description=__doc__)
    parser.add_argument("--job", required=True)
    parser.add_argument("--ssh-port", type=int, default=2222)
    parser.add_argument("--address", action="append", default=[], help="of another worker of the job")
    chosen = parser.parse_args(arguments)
    here = stop(chosen.job)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        there = sum(pool.map(lambda address: stop_at(address, chosen.ssh_port, chosen.job), chosen.address))
    print(here + there)
    return 0


if __name__ == "__main__":
    main()
