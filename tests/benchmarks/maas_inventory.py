"""What the inventory of MAAS costs, beside a raw GET of the same answer and the parsing of its JSON.

    python -m tests.benchmarks.maas_inventory          (make bench)

Everything in one run, on one machine, against a server that answers at once from memory: the 15 seconds that a real
region computes on 1,000 machines are in neither number, which makes this the hardest comparison there is. Each figure
is the median of RUNS runs in a fresh process, without the start of Python and the import of Ansible:

    raw      GET machines/ with urllib, json.loads
    cold     the plugin behind Ansible's InventoryManager, nothing cached: asks, builds hosts, variables and groups
    cached   the same with the answer in ansible.builtin.jsonfile's cache
    --list   what `ansible-inventory --list` adds to either, to print it all as JSON

Writes .bench/maas_inventory.md and .json.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.benchmarks import results

CHECKOUT = Path(__file__).resolve().parents[2]
SIZES = (4, 16, 50, 100, 1_000, 10_000)
RUNS = 3
GOAL_COLD, GOAL_CACHED = 1.2, 0.3
SOURCE = """\
plugin: edge.rack.maas
maas_url: {url}
maas_api_key: consumer:token:secret
cache: {cache}
cache_plugin: ansible.builtin.jsonfile
cache_connection: {folder}/cache
"""


@dataclass
class Cost:
    """Medians in seconds; requests of one run of the plugin, without the region's description of itself."""

    machines: int
    bytes_per_machine: int
    raw: float
    cold: float
    cached: float
    listing: float
    cold_requests: int
    cached_requests: int

    @property
    def cold_ratio(self) -> float:
        return self.cold / self.raw

    @property
    def cached_ratio(self) -> float:
        return self.cached / self.raw


# -- The region


def rows(count: int) -> list[dict[str, Any]]:
    """Deployed machines as the simulated region shows them, all keys of a real one's."""
    from lab.maas_simulator import networks
    from lab.maas_simulator.model import Disk, Interface, Link, Machine
    from lab.maas_simulator.region import Region
    from lab.maas_simulator.representation import machine_list
    from lab.maas_simulator.settings import ApiKey, Settings
    from lab.maas_simulator.statuses import Status
    from lab.maas_simulator.store import Store

    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        settings = Settings(
            Path(folder),
            ApiKey("consumer", "token", "secret"),
            subnet=IPv4Network("10.0.0.0/8"),
            gateway=IPv4Address("10.0.0.1"),
            range_start=IPv4Address("10.0.1.0"),
            range_end=IPv4Address("10.255.0.0"),
        )
        store = Store(settings.data)
        machines = []
        for number in range(count):
            mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
            link = Link(number, "auto", 1, str(settings.range_start + number))
            machines.append(
                Machine(
                    f"s{number:05d}",
                    number,
                    f"nuc-{number:05d}",
                    "amd64/generic",
                    power_type="amt",
                    interfaces=[Interface(number, mac, links=[link], on_vlan=True), Interface(number, mac, "eth1")],
                    status=Status.DEPLOYED,
                    owner="admin",
                    power_state="on",
                    osystem="custom",
                    distro_series="edge-nuc-1.4.0",
                    tags=["trainer", f"shelf-{number % 20}"],
                    owner_data={"edge_slot": str(number)},
                    cpu_count=8,
                    memory=16384,
                    disks=[Disk(number, name, 500_000_000_000) for name in ("sda", "sdb")],
                    hardware_info={"system_vendor": "Intel", "system_product": "NUC", "system_serial": str(number)},
                )
            )
        region = Region(settings, store)
        networks.prepare(region)
        shown = machine_list(region, machines)
        store.close()
        return shown


def serve(body: bytes, channel: Connection) -> None:
    """In a process of its own: tells its port, and how often it was asked each time it is asked for that."""
    from lab.maas_simulator.describe import describe

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = body
            if self.path.endswith("/describe/"):
                answer = json.dumps(describe(f"http://{self.headers['Host']}")).encode()
            else:
                asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    channel.send(server.server_port)
    while channel.recv() == "count":
        channel.send(len(asked))
        asked.clear()


# -- One measurement, in a fresh process


def measure_raw(url: str) -> float:
    begin = time.perf_counter()
    with urllib.request.urlopen(f"{url}/api/2.0/machines/", timeout=300) as answer:
        parsed = json.loads(answer.read())
    seconds = time.perf_counter() - begin
    assert isinstance(parsed, list)
    return seconds


def measure_plugin(source: str, count: int) -> tuple[float, float]:
    """Seconds of the inventory, and of printing it as `ansible-inventory --list` does."""
    from ansible.cli.inventory import InventoryCLI
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader, inventory_loader
    from ansible.vars.manager import VariableManager

    init_plugin_loader([str(CHECKOUT / ".collections")])
    # What every command of Ansible loads before it reads an inventory.
    inventory_loader.get("edge.rack.maas")
    loader = DataLoader()
    begin = time.perf_counter()
    inventory = InventoryManager(loader=loader, sources=[source])
    seconds = time.perf_counter() - begin
    assert len(inventory.groups["devices"].hosts) == count, "the inventory is not whole"
    command = InventoryCLI(["ansible-inventory", "-i", source, "--list"])
    command.parse()
    command.loader, command.inventory = loader, inventory
    command.vm = VariableManager(loader=loader, inventory=inventory)
    begin = time.perf_counter()
    text = command.dump(command.json_inventory(inventory.groups["all"]))
    listing = time.perf_counter() - begin
    assert text.count('"maas_hostname"') == count
    return seconds, listing


def alone(*arguments: str) -> list[float]:
    """A measurement in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MAAS_"))}
    environment.update(no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
    argv = [sys.executable, "-m", "tests.benchmarks.maas_inventory", *arguments]
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return [float(number) for number in done.stdout.split()]


def cost(count: int, folder: Path) -> Cost:
    body = json.dumps(rows(count)).encode()
    channel, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(body, theirs), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{channel.recv()}/MAAS"

        def requests() -> int:
            channel.send("count")
            return int(channel.recv())

        source = folder / f"{count}.maas.yml"
        found: dict[str, list[float]] = {"raw": [], "cold": [], "cached": [], "listing": []}
        counts = {}
        # Side by side, so that what else the machine does meets all of them.
        source.with_name(f"cached-{source.name}").write_text(SOURCE.format(url=url, cache="true", folder=folder))
        source.write_text(SOURCE.format(url=url, cache="false", folder=folder))
        alone("plugin", str(source.with_name(f"cached-{source.name}")), str(count))
        for _ in range(RUNS):
            found["raw"] += alone("raw", url)
            requests()
            cold, listing = alone("plugin", str(source), str(count))
            counts["cold"] = requests()
            cached, _ = alone("plugin", str(source.with_name(f"cached-{source.name}")), str(count))
            counts["cached"] = requests()
            for name, seconds in (("cold", cold), ("cached", cached), ("listing", listing)):
                found[name].append(seconds)
        medians = {name: round(statistics.median(seconds), 4) for name, seconds in found.items()}
    finally:
        server.terminate()
        server.join()
    return Cost(
        count,
        len(body) // count,
        medians["raw"],
        medians["cold"],
        medians["cached"],
        medians["listing"],
        counts["cold"],
        counts["cached"],
    )


def report(found: list[Cost]) -> str:
    lines = [
        "| machines | KB each | raw s | cold s | / raw | cached s | / raw | `--list` adds s | requests cold, cached |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {c.machines} | {c.bytes_per_machine / 1000:.1f} | {c.raw:.3f} | {c.cold:.3f} | {c.cold_ratio:.2f} |"
            f" {c.cached:.3f} | {c.cached_ratio:.2f} | {c.listing:.3f} | {c.cold_requests}, {c.cached_requests} |"
            for c in found
        ),
        "",
        f"Goal: at most {GOAL_COLD} of raw cold and {GOAL_CACHED} cached.",
    ]
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) > 1:
        kind, target = sys.argv[1:3]
        measured = [measure_raw(target)] if kind == "raw" else measure_plugin(target, int(sys.argv[3]))
        print(*measured)
        return
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        found = [cost(count, Path(folder)) for count in SIZES]
    results.write("maas_inventory", [asdict(c) for c in found], report(found))


if __name__ == "__main__":
    main()
