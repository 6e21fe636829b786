"""What the Device Manager costs a device: memory when nobody asks and after it was asked, and how long `status` takes.

    make lab
    python -m tests.benchmarks.manager

On every device of the lab that stands (LAB_NAME and LAB_STATE say which), in the image that runs there: the resident
memory, ASKED requests for its status and its metrics over TLS with the device's token, and the resident memory again.

Goal: less than 60 MB when nobody asks. Writes .bench/manager.md and .json.
"""

from __future__ import annotations

import http.client
import json
import ssl
import statistics
import time
from typing import Any

import docker

from lab import engine, settings
from tests.benchmarks import results

ASKED = 40
PROGRAM = "^python -m edge_training.manager"


def main() -> None:
    given = settings.from_environment()
    url = engine.answering()
    if url is None:
        raise SystemExit("no lab stands here: make lab")
    result = json.loads((given.state / "result.json").read_text())
    with engine.connect(url) as client:
        found = [measure(client.containers.get(f"edge-{given.name}-{one['name']}"), one) for one in result["devices"]]
    lines = [
        f"| device | MB when nobody asks | after {ASKED} requests | `status` ms (median) |",
        "|---|---|---|---|",
        *(f"| {f['device']} | {f['idle_mb']:.1f} | {f['asked_mb']:.1f} | {f['status_ms']:.0f} |" for f in found),
        "",
        "Goal: less than 60 MB when nobody asks.",
    ]
    results.write("manager", found, "\n".join(lines))


def measure(machine: docker.models.containers.Container, device: dict[str, Any]) -> dict[str, Any]:
    """One device's Device Manager."""
    token = machine.exec_run(["cat", "/etc/edge-manager/token"]).output.decode().strip()
    context = ssl.create_default_context(cadata=machine.exec_run(["cat", "/etc/edge-manager/ca.crt"]).output.decode())
    idle = resident(machine)
    taken = [ask(device["address"], context, token) for _request in range(ASKED)]
    return {
        "device": device["name"],
        "idle_mb": idle / 1e6,
        "asked_mb": resident(machine) / 1e6,
        "status_ms": statistics.median(taken) * 1000,
    }


def resident(machine: docker.models.containers.Container) -> int:
    """Bytes of the Device Manager's process that are in memory (VmRSS of proc_pid_status(5))."""
    script = f"grep VmRSS /proc/$(pgrep --oldest --full '{PROGRAM}')/status"
    return int(machine.exec_run(["sh", "-c", script]).output.split()[1]) * 1024


def ask(address: str, context: ssl.SSLContext, token: str) -> float:
    """Seconds that `status` takes with a connection of its own; then the metrics are asked for, too."""
    began = time.perf_counter()
    for path in ("/status", "/metrics"):
        connection = http.client.HTTPSConnection(address, 8470, context=context, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"https://{address}:8470{path} answered {answer.status}")
        if path == "/status":
            seconds = time.perf_counter() - began
    return seconds


if __name__ == "__main__":
    main()
