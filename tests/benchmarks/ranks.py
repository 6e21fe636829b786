"""What a rank costs: its memory, and the seconds until all have begun; forked from one process, and each by itself.

    make lab
    python -m tests.benchmarks.ranks [--sizes 4 16]

So many ranks on one device, which is a container of the worker's image without a network: mpirun begins the training of
digits, once as it is begun where a device has several ranks (edge_training.slots) and once as where it has one
(edge_training.train). They take turns, several rounds.

    seconds    from mpirun to the event `start`: torch is imported, ranks know each other and have one model
    private    of /proc/PID/smaps_rollup, of all processes that stand for ranks or are some, by rank, after an epoch
    PSS        the same with shared pages divided by those who share them

Goals at 16 ranks: at most 100 MiB private a rank, and half of the seconds. Writes .bench/ranks.md and .json.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker

from lab import engine
from tests.benchmarks import results, worker_image

WAYS = {"edge_training.slots": "forked from one", "edge_training.train": "each by itself"}
FOLDERS = ("data", "models", "checkpoints", "state")
# A plain run of 16 ranks takes two minutes beside other work.
SECONDS = 900
MPI = "pml=ob1 btl=tcp,self btl_tcp_if_include=lo mpi_yield_when_idle=1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 16], help="numbers of ranks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image", help=worker_image.HELP)
    given = parser.parse_args()
    url = engine.answering()
    if url is None:
        raise SystemExit("no Docker Engine of a lab answers: make lab")
    found = []
    # So that no training goes on beside what is measured next.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with engine.connect(url) as client:
        image = worker_image.find(client, given.image)
        for ranks in given.sizes:
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _round in range(given.rounds):
                for way, measured in runs.items():
                    measured.append(measure(client, image, way, ranks))
            for way, measured in runs.items():
                medians = {name: statistics.median(one[name] for one in measured) for name in measured[0]}
                found.append({"ranks": ranks, "way": way, "rounds": given.rounds, **medians})
                print(f"{ranks} ranks, {WAYS[way]}: {medians}", flush=True)
    results.write("ranks", found, text(found))


def measure(client: docker.DockerClient, image: str, way: str, ranks: int) -> dict[str, float]:
    """One training, ended after its first epoch."""
    mca = [word for pair in MPI.split() for word in ("--mca", *pair.split("=", 1))]
    folders = [word for name in FOLDERS for word in (f"--{name}-dir", f"/tmp/{name}")]
    job = ["python", "-m", way, "--job", "bench", "--epochs", "1000", "--checkpoint-minutes", "0", *folders]
    container = client.containers.create(
        image,
        entrypoint=["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none", *mca, *job],
        environment={"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        network_mode="none",
        labels={"edge.bench": "ranks"},
    )
    late = threading.Timer(SECONDS, container.kill)
    try:
        container.start()
        began = time.monotonic()
        late.start()
        started = None
        for line in lines(container.logs(stream=True, follow=True)):
            event = json.loads(line)["event"] if line.startswith(b"{") else None
            if event == "start":
                started = time.monotonic() - began
            if event == "epoch" and started is not None:
                return {"seconds": round(started, 2), **memory(container, ranks)}
        raise SystemExit(f"{way} with {ranks} ranks came to no epoch in {SECONDS} s: {container.logs(tail=5).decode()}")
    finally:
        late.cancel()
        container.remove(force=True)


def lines(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Whole ones: what an engine sends at once may be less, or more."""
    kept = b""
    for frame in frames:
        *whole, kept = (kept + frame).split(b"\n")
        yield from whole


def memory(container: docker.models.containers.Container, ranks: int) -> dict[str, float]:
    """MiB a rank."""
    private = shared = 0
    for process in container.top(ps_args="-eo pid,args")["Processes"]:
        if process[1].startswith("python -m edge_training."):
            sizes = smaps(int(process[0]))
            private += sizes["Private_Clean"] + sizes["Private_Dirty"]
            shared += sizes["Pss"]
    return {"private_mib": round(private / 1024 / ranks, 1), "pss_mib": round(shared / 1024 / ranks, 1)}


def smaps(pid: int) -> dict[str, int]:
    """kB by name, of proc_pid_smaps_rollup(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def text(found: list[dict[str, Any]]) -> str:
    """The table, with each way beside the other."""
    lines = ["| ranks | | seconds to `start` | private MiB a rank | PSS MiB a rank |", "|---|---|---|---|---|"]
    for one in found:
        lines.append(
            f"| {one['ranks']} | {WAYS[one['way']]} | {one['seconds']:.1f} | {one['private_mib']:.0f} |"
            f" {one['pss_mib']:.0f} |"
        )
    for ranks in dict.fromkeys(one["ranks"] for one in found):
        forked, alone = (next(one for one in found if (one["ranks"], one["way"]) == (ranks, way)) for way in WAYS)
        lines += ["", f"{ranks} ranks forked from one begin in {forked['seconds'] / alone['seconds']:.2f} of the time."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
