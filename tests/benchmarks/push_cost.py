"""What a push that changes nothing costs, and the rack's status, beside `ansible -m ping` on the same devices.

    make lab LAB_LIGHT=yes LAB_DEVICES=20
    python -m tests.benchmarks.push_cost [--runs N] [--sizes N,N]

In the lab that stands (LAB_NAME, LAB_SUBNET and LAB_STATE say which), for the first 2, 4, 8 ... of its devices and for
all of them, by turns: a ping; edge.rack.configure, which must change nothing; edge.rack.status. All have the same
inventory (asked of MAAS each time), forks, pipelining and open connections. CPU seconds are those of the controller and
all that it started there; those of the devices are theirs.

Goal: a push of at most 10 times a ping at 20 devices. Writes .bench/push_cost.md and .json, in which sizes that were
measured before keep their lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
from statistics import median
from typing import Any

from lab import settings
from tests.benchmarks import commands, results

INVENTORY = ("-i", "inventory/lab")
PING = (str(commands.PROGRAMS / "ansible"), *INVENTORY, "devices", "-m", "ansible.builtin.ping")
PLAYBOOK = (str(commands.PROGRAMS / "ansible-playbook"), *INVENTORY)
COMMANDS = {
    "ping": PING,
    # It is reported, which a ping is not, to a server that shares the processors here: not this one.
    "push": (*PLAYBOOK, "-e", "push_reports_url=", "playbooks/configure.yml"),
    "status": (*PLAYBOOK, "playbooks/status.yml"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of each command")
    parser.add_argument("--sizes", help="numbers of devices, with commas between them; default: 2, 4, 8 ... and all")
    asked = parser.parse_args()
    given = settings.from_environment()
    # Opens the connections, and tells who answers.
    names = sorted(re.findall(r"^(\S+) \| SUCCESS", timed(PING, given)[2], re.MULTILINE))
    sizes = [int(size) for size in asked.sizes.split(",")] if asked.sizes else doubled(len(names))
    written = results.BENCH / "push_cost.json"
    points = json.loads(written.read_text()) if written.exists() else []
    for size in sizes:
        if size > len(names):
            raise SystemExit(f"push_cost: --sizes has {size}, and {len(names)} devices answer")
        # What was measured before at other sizes stays, so that they can be compared.
        points = [point for point in points if point["devices"] != size]
        points.append(measured(names[:size], asked.runs, given))
    points.sort(key=lambda point: point["devices"])
    lines = [
        "# A push that changes nothing, and the rack's status, beside a ping",
        "",
        f"{os.cpu_count()} processors, Python {platform.python_version()}; medians, in seconds",
        "",
        "| devices | runs | ping | push | push / ping | status | CPU of the controller for a ping | for a push |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {p['devices']} | {p['runs']} | {p['ping_seconds']:.1f} | {p['push_seconds']:.1f} | {p['ratio']:.1f} |"
            f" {p['status_seconds']:.1f} | {p['ping_cpu_seconds']:.1f} | {p['push_cpu_seconds']:.1f} |"
            for p in points
        ),
        "",
        "Goal: a ratio of 10 at most at 20 devices.",
    ]
    results.write("push_cost", points, "\n".join(lines))


def doubled(devices: int) -> list[int]:
    """2, 4, 8 ... and all."""
    sizes = [size for size in (2, 4, 8, 16, 32, 64, 128) if size < devices]
    return [*sizes, devices]


def measured(devices: list[str], runs: int, given: settings.Settings) -> dict[str, Any]:
    """One line of the table."""
    # The plays of the controller itself belong to a push.
    limit = ("--limit", ",".join(["localhost", *devices]))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _run in range(runs):
        for name, command in COMMANDS.items():
            wall, cpu, said = timed((*command, *limit), given)
            changed = {int(count) for count in re.findall(r" changed=(\d+)", said)}
            if name == "push" and changed != {0}:
                raise SystemExit(f"the push changed something; run it until it does not, then measure:\n{said[-2000:]}")
            taken[name].append((wall, cpu))
    wall = {name: median(run[0] for run in found) for name, found in taken.items()}
    cpu = {name: median(run[1] for run in found) for name, found in taken.items()}
    return {
        "devices": len(devices),
        "runs": runs,
        **{f"{name}_seconds": seconds for name, seconds in wall.items()},
        **{f"{name}_cpu_seconds": seconds for name, seconds in cpu.items()},
        "ratio": wall["push"] / wall["ping"],
    }


def timed(command: tuple[str, ...], given: settings.Settings) -> tuple[float, float, str]:
    """Wall and CPU seconds of a command, and its words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, said = commands.run(given, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


if __name__ == "__main__":
    main()
