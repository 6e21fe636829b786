"""How fast gradients are averaged, beside the links, bare mpirun with ring, and Open MPI's own choice.

    python -m tests.benchmarks.allreduce          (root; a Docker Engine of this machine with the worker's image)
    python -m tests.benchmarks.allreduce --sizes 4 --mbit 200 --beside btl_tcp_sndbuf=1048576,HOROVOD_CYCLE_TIME=5

Each device is a container of the worker's image with its own network, host name, sshd and keys, as in the role
training_worker; tc (token bucket filter) limits its link in both directions. Our job is Horovod, begun by the very line
that horovod_job begins a training with; bare is MPI_Allreduce itself, with nothing of that line but what says where to
connect. They take turns, several rounds. --beside adds our job with other settings: names in capitals are environment
variables, others MCA parameters, and one without a value is left out.

    bus bandwidth   2 (N-1)/N x bytes / seconds of the slowest rank, as a share of the link. A limit by tc counts
                    Ethernet's header, so TCP in frames of 1500 bytes carries 0.956 at most. The first 256 KB go at
                    once: the smallest sizes tell of latency and not of the link
    payload         what a device sent without frames' headers, beside 2 (N-1)/N x bytes, which a ring must send
    frames          all that it sent, headers and acknowledgements, beside the payload

Goals at 64 MB: 0.93 of the link and more; a payload of at most 1.03. All ranks share the processors of this machine:
what a slower link (--mbit 200) gains is what they lacked. Writes .bench/allreduce.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import docker

from lab import engine
from tests.benchmarks import results, worker_image
from tests.unit import collection

collection.find()

from ansible_collections.edge.rack.plugins.module_utils.horovod import command  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = CHECKOUT / "training/images/worker/allreduce-ring.rules"
RANK = Path(__file__).with_name("allreduce_rank.py")
NETWORK, PORT = "10.98.0", 2222
SUBNET = f"{NETWORK}.0/24"
EDGE = 8470
# Of this benchmark alone: what bears it is removed once the process that it names is gone.
LABEL = "edge.bench.allreduce"
KEYS = "edge-allreduce-"
RUN_SECONDS = 300
MIB = 1 << 20
# Bytes, and in how many pieces: a network's gradients are many, and Horovod fuses them.
WHOLE = [(64 << 10, 1), (MIB, 1), (25 * MIB, 1), (64 * MIB, 1)]
GRADIENTS = (25 * MIB, 160)
# Ethernet's, IPv4's and TCP's with timestamps.
HEADERS = 14 + 20 + 32
# What says where to connect, and that ranks share processors, which is this benchmark's doing.
NEEDED = (
    "plm_rsh_agent",
    "plm_rsh_no_tree_spawn",
    "oob_tcp_if_include",
    "btl",
    "btl_tcp_if_include",
    "mpi_yield_when_idle",
)


@dataclass
class Case:
    """One way to average; `command` is what goes before its rank's program."""

    name: str
    program: str
    command: list[str]
    # By bytes and pieces: seconds of the slowest rank in each repeat, and what ranks sent (bytes, frames) in `sends`.
    seconds: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[tuple[int, int], list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return [*WHOLE, GRADIENTS] if self.program == "horovod" else WHOLE


@dataclass
class Cost:
    """One line of the table."""

    ranks: int
    mbit: int
    bytes: int
    pieces: int
    case: str
    seconds: float
    fastest: float
    share: float
    best_share: float
    payload: float
    frames: float


# -- What is begun


def ours(ranks: int) -> list[str]:
    """The line that begins a training, up to its program."""
    workers = [{"name": f"nuc-{number}", "address": address(number), "slots": 1} for number in range(ranks)]
    job = {**command.SPARING, "name": "bench", "workers": workers, "subnet": SUBNET, "ssh_port": PORT}
    line = command.mpirun_command(defaultdict(str, job))
    return line[: line.index("python")]


def changed(line: list[str], changes: dict[str, str]) -> list[str]:
    """The line with other settings: MCA parameters, and environment variables, whose names are in capitals."""
    kept, rest = [], iter(line)
    for word in rest:
        if word == "--mca":
            name, value = next(rest), next(rest)
            kept += [] if name in changes else [word, name, value]
        elif word == "-x":
            given = next(rest)
            kept += [] if given.partition("=")[0] in changes else [word, given]
        else:
            kept.append(word)
    for name, value in changes.items():
        if value:
            kept += ["-x", f"{name}={value}"] if name.isupper() else ["--mca", name, value]
    return kept


def bare(line: list[str], settings: dict[str, str]) -> list[str]:
    """The line with no MCA parameters but those that are needed, and these."""
    given = [line[place + 1] for place, word in enumerate(line) if word == "--mca"]
    return changed(line, {**{name: "" for name in given if name not in NEEDED}, **settings})


def cases(ranks: int, beside: list[str]) -> list[Case]:
    line = ours(ranks)
    ring = {"coll_tuned_use_dynamic_rules": "1", "coll_tuned_allreduce_algorithm": "4"}
    return [
        Case("our job", "horovod", line),
        *(Case(f"our job, {one}", "horovod", changed(line, changes_of(one))) for one in beside),
        Case("mpirun, ring", "bare", bare(line, ring)),
        Case("mpirun, its own choice", "bare", bare(line, {})),
    ]


def changes_of(beside: str) -> dict[str, str]:
    return {name: value for name, _equals, value in (one.partition("=") for one in beside.split(","))}


# -- Devices and their links


def address(number: int) -> str:
    return f"{NETWORK}.{10 + number}"


@contextmanager
def devices(client: docker.DockerClient, image: str, ranks: int, sysctls: dict[str, str]) -> Iterator[list[Any]]:
    """Containers of workers; they, their network and their keys are gone afterwards."""
    with ExitStack() as made:
        folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix=f"{KEYS}{os.getpid()}-")))
        folder.chmod(0o755)
        keys(folder, ranks)
        given = folder / "given"
        given.mkdir()
        for path in (RANK, *RULES.parent.glob("*.rules")):
            shutil.copy(path, given)
        pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=SUBNET)])
        labels = {LABEL: str(os.getpid())}
        network = client.networks.create(f"edge-bench-{os.getpid()}", internal=True, ipam=pool, labels=labels)
        made.callback(network.remove)
        workers = []
        for number in range(ranks):
            worker = client.containers.create(
                image,
                name=f"edge-bench-{os.getpid()}-{number}",
                hostname=f"bench-{number}",
                labels=labels,
                environment={"EDGE_SSH_ADDRESS": address(number), "EDGE_SSH_PORT": str(PORT)},
                volumes=[
                    f"{folder}/{number}:/run/edge-job:ro",
                    f"{given}:/bench:ro",
                    f"{RULES}:/opt/edge/share/{RULES.name}:ro",
                ],
                networking_config={network.name: client.api.create_endpoint_config(ipv4_address=address(number))},
                network=network.name,
                sysctls=sysctls,
                read_only=True,
                init=True,
                tmpfs={"/tmp": "", "/run": ""},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
            )
            made.callback(worker.remove, force=True)
            worker.start()
            workers.append(worker)
        for worker in workers:
            wait(worker)
        yield workers


def keys(folder: Path, ranks: int) -> None:
    """A host key for each device, and one key of the launcher's that opens them all."""
    own = [folder / str(number) for number in range(ranks)]
    made = [*(one / "ssh_host_ed25519_key" for one in own), own[0] / "id_ed25519"]
    for path in made:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path], check=True)
    public = [path.with_suffix(".pub").read_text() for path in made]
    for one in own:
        (one / "authorized_keys").write_text(public[-1])
    known = [f"[{address(number)}]:{PORT} {key}" for number, key in enumerate(public[:-1])]
    (own[0] / "known_hosts").write_text("".join(known))
    for path in (*own, *(file for one in own for file in one.iterdir())):
        os.chown(path, EDGE, EDGE)


def wait(worker: Any) -> None:
    deadline = time.monotonic() + 60
    while worker.exec_run(["ready"]).exit_code != 0:
        worker.reload()
        if worker.status != "running" or time.monotonic() > deadline:
            raise SystemExit(f"allreduce: {worker.name} does not come up:\n{worker.logs().decode()}")
        time.sleep(0.2)


def limit(worker: Any, mbit: int, congestion: str) -> None:
    """What the device sends, and what the bridge sends to it.

    By its route, too, what TCP does against congestion: the kernel admits few ways as a setting of a container's.
    """
    worker.reload()
    inside = ["nsenter", "--net", "--target", str(worker.attrs["State"]["Pid"])]
    own = worker.attrs["NetworkSettings"]["Networks"].popitem()[1]["IPAddress"]
    link = worker.exec_run(["cat", "/sys/class/net/eth0/iflink"]).output.decode().strip()
    other = [path.parent.name for path in Path("/sys/class/net").glob("*/ifindex") if path.read_text().strip() == link]
    if not other:
        raise SystemExit(
            f"allreduce: the link of {worker.name} does not end on this machine: use an engine that runs here"
        )
    bucket = ["root", "tbf", "rate", f"{mbit}mbit", "burst", "256kb", "latency", "50ms"]
    subprocess.run([*inside, "tc", "qdisc", "replace", "dev", "eth0", *bucket], check=True)
    route = [SUBNET, "dev", "eth0", "proto", "kernel", "scope", "link", "src", own]
    subprocess.run([*inside, "ip", "route", "replace", *route, "congctl", congestion], check=True)
    subprocess.run(["tc", "qdisc", "replace", "dev", other[0], *bucket], check=True)


def remove_leftovers(client: docker.DockerClient) -> None:
    """Of a run that was killed; containers first, for their network is in use as long as they are there."""
    ours = {"label": LABEL}
    for container in client.containers.list(all=True, filters=ours):
        if is_left(container.labels[LABEL]):
            container.remove(force=True)
    for network in client.networks.list(filters=ours):
        if is_left(network.attrs["Labels"][LABEL]):
            network.remove()
    for folder in Path(tempfile.gettempdir()).glob(f"{KEYS}*"):
        if is_left(folder.name.removeprefix(KEYS).partition("-")[0]):
            shutil.rmtree(folder)


def is_left(owner: str) -> bool:
    """Whether this process, by its number, is gone."""
    return owner.isdecimal() and not Path("/proc", owner).exists()


# -- Measuring


def run(launcher: Any, case: Case, repeats: int) -> None:
    """One mpirun; what it found is added to the case."""
    program = ["python", f"/bench/{RANK.name}", case.program, json.dumps(case.pairs), str(repeats)]
    done = launcher.exec_run(["timeout", str(RUN_SECONDS), *case.command, *program], demux=True)
    said, wrong = (one.decode() if one else "" for one in done.output)
    if done.exit_code != 0:
        raise SystemExit(f"allreduce: {case.name} ended with {done.exit_code}:\n{(wrong or said)[-4000:]}")
    for pair, found in zip(case.pairs, json.loads(said.splitlines()[-1]), strict=True):
        case.seconds[pair] += [max(ranks) for ranks in found["seconds"]]
        case.sent[pair] += [[size / repeats, frames / repeats] for size, frames in found["sent"]]


def cost(case: Case, pair: tuple[int, int], ranks: int, mbit: int) -> Cost:
    bound = 2 * (ranks - 1) / ranks * pair[0]
    seconds, fastest = statistics.median(case.seconds[pair]), min(case.seconds[pair])
    # In a ring all send the same; of other ways the busiest device counts.
    size, frames = max(case.sent[pair])
    payload = size - HEADERS * frames
    share = [bound * 8 / (one * mbit * 1e6) for one in (seconds, fastest)]
    return Cost(ranks, mbit, *pair, case.name, seconds, fastest, *share, payload / bound, size / payload)


def show(found: list[Cost], image: str, rounds: int, repeats: int) -> str:
    lines = [
        "# Averaging, beside what the links carry",
        "",
        f"{os.cpu_count()} processors, kernel {platform.release()}, worker {image[:19]}; medians of {rounds} rounds of"
        f" {repeats}, the fastest in brackets. Links carry at most 0.956 of their bits as payload.",
        "",
        "| devices | link Mbit/s | size | case | seconds | bus bandwidth / link | payload / bound | frames / payload |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {c.ranks} | {c.mbit} | {size_of(c)} | {c.case} | {c.seconds:.4f} | {c.share:.3f} ({c.best_share:.3f}) |"
            f" {c.payload:.3f} | {c.frames:.3f} |"
            for c in found
        ),
        "",
        "Goals at 64 MB: 0.93 of the link, 1.03 of the bound.",
    ]
    return "\n".join(lines)


def size_of(cost: Cost) -> str:
    size = f"{cost.bytes // MIB} MB" if cost.bytes >= MIB else f"{cost.bytes >> 10} KB"
    return size if cost.pieces == 1 else f"{size} in {cost.pieces} pieces"


def measure(client: docker.DockerClient, image: str, sysctls: dict[str, str], given: argparse.Namespace) -> list[Cost]:
    found: list[Cost] = []
    remove_leftovers(client)
    for ranks in given.sizes:
        with devices(client, image, ranks, sysctls) as workers:
            for mbit in given.mbit:
                for worker in workers:
                    limit(worker, mbit, given.congestion)
                measured = cases(ranks, given.beside)
                for _round in range(given.rounds):
                    for case in measured:
                        run(workers[0], case, given.repeats)
                costs = [cost(case, pair, ranks, mbit) for case in measured for pair in case.pairs]
                found += sorted(costs, key=lambda one: (one.pieces, one.bytes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8], help="numbers of devices")
    parser.add_argument("--mbit", type=int, nargs="+", default=[1000], help="of each link")
    parser.add_argument("--image", help=worker_image.HELP)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="of each size in a round")
    parser.add_argument("--beside", nargs="+", default=[], metavar="NAME=VALUE,...", help="our job with these, too")
    parser.add_argument("--sysctl", nargs="+", default=[], metavar="NAME=VALUE", help="of the devices' network")
    parser.add_argument("--congestion", default="cubic", help="what TCP does against it; as Debian and Ubuntu have it")
    given = parser.parse_args()
    missing = [name for name in ("ip", "tc", "nsenter", "ssh-keygen") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        raise SystemExit(
            f"allreduce: runs as root, with ip, tc, nsenter and ssh-keygen (missing: {', '.join(missing) or 'root'})"
        )
    url = engine.answering()
    if not url:
        raise SystemExit(
            "allreduce: no Docker Engine answers on this machine: start one, or say where by DOCKER_HOST=unix://..."
        )
    sysctls = dict(one.split("=", 1) for one in given.sysctl)
    # So that all is taken away again, whoever ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with engine.connect(url) as client:
        image = worker_image.find(client, given.image)
        try:
            found = measure(client, image, sysctls, given)
        except docker.errors.APIError as error:
            raise SystemExit(f"allreduce: {url}: {error.explanation}") from error
    results.write("allreduce", [asdict(one) for one in found], show(found, image, given.rounds, given.repeats))


if __name__ == "__main__":
    main()
