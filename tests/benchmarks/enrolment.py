"""What it asks of MAAS to take machines from New to Deployed, at several sizes: requests for each machine, and bytes.

    python -m tests.benchmarks.enrolment          (make bench)

The simulated region, machines that report as soon as they are asked, and one task of edge.rack.maas_machine with 20 of
them at once, run as Ansible runs it; then the same task again, which finds nothing to do. Reads are lists of all
machines, one in each round of waiting. Here machines take no time; real ones take minutes, and rounds grow longer.

Writes .bench/enrolment.md and .json.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
# The simulated region and its machines, as the tests of the modules have them.
sys.path[:0] = [str(CHECKOUT / "tests/unit/maas_faults"), str(CHECKOUT / "tests/unit/maas_simulator")]

from tests.benchmarks import adhoc, results  # noqa: E402
from tests.unit import collection  # noqa: E402

collection.find()

from maas_rack import Devices, Rack  # noqa: E402
from maas_region import API_KEY, settings  # noqa: E402

SIZES = (4, 16, 50, 100)
AT_ONCE = 20
IMAGE = b"an operating system"


def main() -> None:
    found = []
    for machines in SIZES:
        with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
            found.append(measure(machines, Path(folder)))
    lines = [
        "| machines | writes | for each | lists of all machines | KB of a list | s | again: requests | s |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {f['machines']} | {f['writes']} | {f['writes'] / f['machines']:.1f} | {f['lists']} |"
            f" {f['list_bytes'] / 1000:.0f} | {f['seconds']:.1f} | {f['again_requests']} | {f['again_seconds']:.1f} |"
            for f in found
        ),
        "",
        f"At most {AT_ONCE} at a time. Writes grow with the machines; a list is one request, and grows in bytes.",
    ]
    results.write("enrolment", found, "\n".join(lines))


def measure(machines: int, folder: Path) -> dict[str, Any]:
    chosen = settings(folder / "data")
    rack = Rack(replace(chosen, testing_seconds=0.05, range_start=IPv4Address("10.99.0.20")))
    names = [f"nuc-{number:03}" for number in range(1, machines + 1)]
    try:
        image = upload(rack)
        rack.add(*names)
        list_bytes = len(rack.region.call("GET", "machines/").content)
        rack.proxy.asked.clear()
        with Devices(rack.region):
            seconds = deploy(rack, image, names, changed=True)
        asked = list(rack.proxy.asked)
        rack.proxy.asked.clear()
        again = deploy(rack, image, names, changed=False)
        return {
            "machines": machines,
            "writes": sum(method != "GET" for method, _path in asked),
            "lists": asked.count(("GET", "machines/")),
            "list_bytes": list_bytes,
            "seconds": round(seconds, 1),
            "again_requests": len(rack.proxy.asked),
            "again_seconds": round(again, 1),
        }
    finally:
        rack.stop()


def upload(rack: Rack) -> str:
    """An image that machines are deployed with; its name."""
    rack.region.upload("custom/edge-1", IMAGE, hashlib.sha256(IMAGE).hexdigest())
    return "custom/edge-1"


def deploy(rack: Rack, image: str, names: list[str], *, changed: bool) -> float:
    """One task that wants all machines deployed; its seconds, Ansible's start included."""
    options = {
        "maas_url": rack.region.url,
        "state": "deployed",
        "image": image,
        "machines": [{"hostname": name} for name in names],
        "at_once": AT_ONCE,
        "testing_scripts": [],
        "wait_timeout_seconds": 600,
    }
    began = time.monotonic()
    if adhoc.changes("edge.rack.maas_machine", options, f"on {len(names)} machines", MAAS_API_KEY=API_KEY) != changed:
        raise SystemExit(f"maas_machine on {len(names)} machines: changed is not {changed}")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
