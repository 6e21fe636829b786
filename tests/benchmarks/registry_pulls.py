"""What a release costs the registry's link: N devices pull one image, with waves and with caches.

    python -m tests.benchmarks.registry_pulls          (make bench; root)

Real servers with the role's own configuration: Debian's docker-registry behind nginx, TLS and accounts as on the rack.
Every machine is a network namespace on one bridge, made and removed by this program; the links of the registry and of
the caches are limited by tc (token bucket filter). A device is a small client of our own (urllib, one layer after the
other, each held against its digest): an engine also unpacks, which costs the link nothing.

    bound    bytes / link, for the link that has most to do: size x N / link where all pull from the registry
    egress   bytes of the registry's answers, from its access log

Writes .bench/registry_pulls.md and .json.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests import registries
from tests.benchmarks import results

CHECKOUT = Path(__file__).resolve().parents[2]
DEVICES = 16
SHELVES = 2
AT_ONCE = 4
LAYER_SIZES = (4_000_000, 2_500_000, 1_500_000, 300_000, 94_000)
REGISTRY_MBIT, SHELF_MBIT = 50, 500
PULL_SECONDS = 300
REPOSITORY = "edge/worker"
PREFIX = f"edge-bench-{os.getpid()}-"


@dataclass
class Cost:
    """Seconds until the first and until all devices have the image, beside the bound; bytes of the registry."""

    case: str
    first: float
    all: float
    bound: float
    egress: int
    images: float

    @property
    def ratio(self) -> float:
        return self.all / self.bound


# -- Machines and links


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def inside(machine: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", PREFIX + machine)


def machine(name: str, address: str, mbit: int | None = None) -> None:
    """A namespace on the bridge; `mbit` limits what it sends."""
    end = f"v{address.rpartition('.')[2]}"
    ip("netns", "add", PREFIX + name)
    ip("-n", PREFIX + "switch", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", PREFIX + name)
    ip("-n", PREFIX + "switch", "link", "set", end, "master", "bridge", "up")
    ip("-n", PREFIX + name, "address", "add", f"{address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        ip("-n", PREFIX + name, "link", "set", link, "up")
    if mbit:
        limit = [
            "tc",
            "qdisc",
            "add",
            "dev",
            "eth0",
            "root",
            "tbf",
            "rate",
            f"{mbit}mbit",
            "burst",
            "64kb",
            "latency",
            "400ms",
        ]
        subprocess.run([*inside(name), *limit], check=True)


def remove_machines(of_the_dead: bool = False) -> None:
    """This program's namespaces; or those of one that was killed."""
    for path in Path("/run/netns").glob("edge-bench-*") if Path("/run/netns").is_dir() else ():
        owner = path.name.split("-")[2]
        if path.name.startswith(PREFIX) or (of_the_dead and not Path("/proc", owner).exists()):
            subprocess.run(["ip", "netns", "delete", path.name], check=False)


@contextlib.contextmanager
def rack() -> Iterator[tuple[str, list[str]]]:
    """Addresses of the registry and of the caches; they and the devices are gone afterwards."""
    remove_machines(of_the_dead=True)
    registry, caches = "10.99.0.2", [f"10.99.0.{10 + shelf}" for shelf in range(SHELVES)]
    try:
        ip("netns", "add", PREFIX + "switch")
        ip("-n", PREFIX + "switch", "link", "add", "bridge", "up", "type", "bridge")
        machine("registry", registry, REGISTRY_MBIT)
        for shelf, address in enumerate(caches):
            machine(f"cache{shelf}", address, SHELF_MBIT)
        for device in range(DEVICES):
            machine(f"device{device}", f"10.99.0.{100 + device}")
        yield registry, caches
    finally:
        remove_machines()


# -- Pulls


def pull(host: str, certificate: str, digest: str) -> None:
    """What runs as a device: waits for a line, then pulls."""
    client = registries.Client(host, Path(certificate))
    print("ready", flush=True)
    sys.stdin.readline()
    print(client.pull(REPOSITORY, digest), flush=True)


def pull_all(hosts: list[str], certificate: Path, digest: str, at_once: int) -> tuple[float, float]:
    """Device n pulls from hosts[n]. Seconds until the first has the image, and until all have it."""
    command = [sys.executable, "-m", "tests.benchmarks.registry_pulls", "pull"]
    devices = [
        subprocess.Popen(
            [*inside(f"device{number}"), *command, host, str(certificate), digest],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, host in enumerate(hosts)
    ]
    try:
        for device in devices:
            assert device.stdout is not None
            assert device.stdout.readline() == "ready\n", "a device did not start"
        begin = time.monotonic()

        def one(device: subprocess.Popen[str]) -> float:
            size, _ = device.communicate("go\n", timeout=PULL_SECONDS)
            assert device.returncode == 0, f"a device did not get the image: {size}"
            return time.monotonic() - begin

        with ThreadPoolExecutor(at_once) as wave:
            seconds = list(wave.map(one, devices))
        return min(seconds), max(seconds)
    finally:
        for device in devices:
            device.kill()
            device.wait()


def costs(folder: Path) -> list[Cost]:
    found: list[Cost] = []
    with rack() as (address, cache_addresses), contextlib.ExitStack() as running:
        registries.authority(folder / "certificates", address, *cache_addresses)
        certificate = folder / "certificates/ca.crt"

        def server(name: str, address: str, cache_of: str = "") -> registries.Server:
            made = registries.Server(folder / name, address, address, 5000, cache_of, inside(name))
            running.callback(made.stop)
            made.configure(folder / "certificates")
            made.start()
            return made

        registry = server("registry", address)
        caches = [server(f"cache{shelf}", own, registry.host) for shelf, own in enumerate(cache_addresses)]
        pushed = subprocess.run(
            [
                *inside("registry"),
                sys.executable,
                "-m",
                "tests.benchmarks.registry_pulls",
                "push",
                registry.host,
                certificate,
            ],
            cwd=CHECKOUT,
            check=True,
            capture_output=True,
            text=True,
        )
        digest, size = pushed.stdout.split()
        shelves = [caches[number * SHELVES // DEVICES].host for number in range(DEVICES)]
        whole = int(size) * 8 / 1e6
        from_registry = whole * DEVICES / REGISTRY_MBIT
        within_shelf = whole * DEVICES / SHELVES / SHELF_MBIT
        for case, hosts, at_once, bound in (
            ("all at once", [registry.host] * DEVICES, DEVICES, from_registry),
            (f"{AT_ONCE} at a time", [registry.host] * DEVICES, AT_ONCE, from_registry),
            (f"{SHELVES} caches, empty", shelves, DEVICES, max(whole * SHELVES / REGISTRY_MBIT, within_shelf)),
            (f"{SHELVES} caches, again", shelves, DEVICES, within_shelf),
        ):
            before = registry.bytes_sent()
            first, last = pull_all(hosts, certificate, digest, at_once)
            egress = registry.bytes_sent() - before
            found.append(Cost(case, round(first, 2), round(last, 2), round(bound, 2), egress, egress / int(size)))
    return found


def push(host: str, certificate: str) -> None:
    """On the registry itself, so that its link is free."""
    client = registries.Client(host, Path(certificate), "push")
    digest = client.push(REPOSITORY, [os.urandom(size) for size in LAYER_SIZES])
    print(digest, registries.Client(host, Path(certificate)).pull(REPOSITORY, digest))


def report(found: list[Cost]) -> str:
    lines = [
        f"{DEVICES} devices, an image of {sum(LAYER_SIZES) / 1e6:.1f} MB in {len(LAYER_SIZES)} layers; the registry's"
        f" link has {REGISTRY_MBIT} Mbit/s, a shelf's {SHELF_MBIT} Mbit/s.",
        "",
        "| pulls | first s | all s | bound s | all / bound | registry's egress MB | images |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {c.case} | {c.first:.1f} | {c.all:.1f} | {c.bound:.2f} | {c.ratio:.2f} | {c.egress / 1e6:.1f} |"
            f" {c.images:.2f} |"
            for c in found
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["pull"]:
        pull(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["push"]:
        push(*sys.argv[2:])
        return
    missing = [name for name in ("ip", "tc", "openssl") if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        raise SystemExit(
            f"registry_pulls: runs as root, with ip, tc and openssl (missing: {', '.join(missing) or 'root'})"
        )
    # So that all is taken away again, whoever ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        found = costs(Path(folder))
    results.write("registry_pulls", [asdict(cost) for cost in found], report(found))


if __name__ == "__main__":
    main()
