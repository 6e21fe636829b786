"""End a job, or what is left of it: `python -m edge_training.stop --job NAME`; prints how many processes there were.

With `--address` (repeated) and `--ssh-port`, on those workers too, at the same time. Ranks leave a checkpoint after
their step. mpirun would give them a second for it, so it is asked only once they are gone, or have had their time.
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

PATIENCE_SECONDS = 30.0
MPIRUN_SECONDS = 5.0


# What mpirun starts on a device for one rank, or for several.
RANKS = ("edge_training.train", "edge_training.slots")


def belongs_to(command_line: list[str], job: str) -> bool:
    """Whether a process with this command line is a rank or the mpirun of `job`."""
    if not set(RANKS).intersection(command_line) or "--job" not in command_line:
        return False
    return command_line[command_line.index("--job") + 1 :][:1] == [job]


def is_rank(command_line: list[str]) -> bool:
    """Whether it is no more than a rank; mpirun, and what it was begun by, has all words of one, too."""
    return command_line[1:3] in [["-m", module] for module in RANKS]


def processes_of(job: str, ranks_only: bool = False) -> list[int]:
    """Process ids, in this container."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it ended meanwhile
                continue
            if belongs_to(words, job) and (is_rank(words) or not ranks_only):
                found.append(int(folder.name))
    return found


def stop(job: str, patience: float = PATIENCE_SECONDS) -> int:
    """Ask, wait, insist: first the ranks, then the rest; returns how many processes there were."""
    count = len(processes_of(job))
    for ranks_only, seconds in ((True, patience), (False, MPIRUN_SECONDS)):
        _signal(processes_of(job, ranks_only), signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while processes_of(job, ranks_only) and time.monotonic() < deadline:
            time.sleep(0.1)
        _signal(processes_of(job, ranks_only), signal.SIGKILL)
    return count


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def stop_at(address: str, ssh_port: int, job: str, patience: float = PATIENCE_SECONDS) -> int:
    """The same on another worker; 0 where it does not answer: what is left there ends with its lost connection."""
    command = f"python -m edge_training.stop --job {job} --goes-on --patience-seconds {patience:g}"
    try:
        done = subprocess.run(  # noqa: S603
            ssh(address, ssh_port, command),
            capture_output=True,
            text=True,
            timeout=patience + MPIRUN_SECONDS + 15,
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
    parser.add_argument("--patience-seconds", type=float, default=PATIENCE_SECONDS, help="for a step and a checkpoint")
    parser.add_argument("--goes-on", action="store_true", help="with the workers that are left, after this")
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/edge/state"))
    parser.add_argument("--address", action="append", default=[], help="of another worker of the job")
    chosen = parser.parse_args(arguments)
    patience = chosen.patience_seconds
    folder = chosen.state_dir / "jobs" / chosen.job
    if folder.is_dir() and not chosen.goes_on:
        # Or whoever began the job would begin it again: ranks are gone, and it cannot know why.
        (folder / "stop").touch()
    with ThreadPoolExecutor(max(AT_ONCE, len(chosen.address))) as pool:
        there = pool.map(lambda address: stop_at(address, chosen.ssh_port, chosen.job, patience), chosen.address)
        here = stop(chosen.job, patience)
        print(here + sum(there))
    return 0


if __name__ == "__main__":
    main()
