"""What a push costs that changes nothing, beside `ansible -m ping` on the same devices in the same run.

    make lab LAB_DEVICES=20
    python -m tests.benchmarks.push_cost [--runs N]

By turns, over all devices of the lab that stands (LAB_NAME, LAB_SUBNET and LAB_STATE say which): a ping, and
edge.rack.configure, which must change nothing. Both have the same inventory (asked of MAAS each time), forks,
pipelining and open connections. CPU seconds are those of the controller and all that it started there; those of the
devices are theirs.

Goal: at most 10 times a ping at 20 devices. Writes .bench/push_cost.md and .json, in which racks of other sizes that
were measured before keep their lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
from dataclasses import dataclass
from statistics import median

from lab import settings
from tests.benchmarks import commands, results

INVENTORY = ("-i", "inventory/lab")
PING = (str(commands.PROGRAMS / "ansible"), *INVENTORY, "devices", "-m", "ansible.builtin.ping")
# A push is reported, which a ping is not, to a server that shares the processors here: not this one.
WITHOUT_REPORT = ("-e", "push_reports_url=")
PUSH = (str(commands.PROGRAMS / "ansible-playbook"), *INVENTORY, *WITHOUT_REPORT, "playbooks/configure.yml")


@dataclass
class Cost:
    """Medians of one command's runs, in seconds."""

    command: str
    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of each command")
    runs = parser.parse_args().runs
    given = settings.from_environment()
    # Opens the connections, and tells who answers.
    devices = len(re.findall(r"\| SUCCESS", timed(PING, given)[2]))
    taken: dict[str, list[tuple[float, float]]] = {"ping": [], "push": []}
    for _run in range(runs):
        for name, command in (("ping", PING), ("push", PUSH)):
            wall, cpu, said = timed(command, given)
            changed = {int(count) for count in re.findall(r" changed=(\d+)", said)}
            if name == "push" and changed != {0}:
                raise SystemExit(f"the push changed something; run it until it does not, then measure:\n{said[-2000:]}")
            taken[name].append((wall, cpu))
    ping, push = (Cost(name, *(median(run[kind] for run in found) for kind in (0, 1))) for name, found in taken.items())
    written = results.BENCH / "push_cost.json"
    # What racks of other sizes cost before stays, so that the sizes can be compared.
    before = json.loads(written.read_text()) if written.exists() else []
    points = [point for point in before if point["devices"] != devices]
    points.append(
        {
            "devices": devices,
            "runs": runs,
            "ping_seconds": ping.wall,
            "push_seconds": push.wall,
            "ratio": push.wall / ping.wall,
            "ping_cpu_seconds": ping.cpu,
            "push_cpu_seconds": push.cpu,
        }
    )
    points.sort(key=lambda point: point["devices"])
    lines = [
        "# A push that changes nothing, and a ping",
        "",
        f"{os.cpu_count()} processors, Python {platform.python_version()}; medians of {runs} runs",
        "",
        "| devices | ping s | push s | ratio | CPU s of the controller for a ping | for a push |",
        "|---|---|---|---|---|---|",
        *(
            f"| {p['devices']} | {p['ping_seconds']:.1f} | {p['push_seconds']:.1f} | {p['ratio']:.1f} |"
            f" {p['ping_cpu_seconds']:.1f} | {p['push_cpu_seconds']:.1f} |"
            for p in points
        ),
        "",
        "Goal: a ratio of 10 at most at 20 devices.",
    ]
    results.write("push_cost", points, "\n".join(lines))


def timed(command: tuple[str, ...], given: settings.Settings) -> tuple[float, float, str]:
    """Wall and CPU seconds of a command, and its words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, said = commands.run(given, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


if __name__ == "__main__":
    main()
