# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack that lives: it predicts, trains, releases and converges, over and over. Does anything fail, or pile up?

    make lab
    python -m tests.benchmarks.soak [--minutes 60]

On the lab that stands (LAB_NAME, LAB_SUBNET and LAB_STATE say which), in rounds until the time is over, two at least:
a training with a seed of its own; a release of its model in waves; a run of every device that changes nothing.
Meanwhile every device is asked for predictions, ten times a second. After each round every machine is counted: its
processes, open files, sockets, memory that is no cache, disk.

It fails where a playbook fails, where a prediction failed, where a device is not on the last release at the end, and
where a machine has more after the last round than after the first, beyond ALLOWED.

Writes .bench/soak.md and .json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker

from lab import engine, settings
from tests.benchmarks import commands, results

ASKED_SECONDS = 0.1
# Of what the quickest device answers; less, and one was not asked all the time.
LEAST_SHARE = 0.2
# What belongs to a round is over by then: connections that linger, services that write their last.
SETTLE_SECONDS = 20
VMS = ("maas", "registry", "control")
# On the machine itself, by what every machine has. Memory is Pss_Anon (proc_pid_smaps_rollup), so shared pages count
# once; disk is what its own file systems hold, not those that it mounts.
COUNT = """\
import glob, json, os, subprocess
ids = [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
files = sockets = memory = 0
for one in ids:
    try:
        for fd in os.listdir(f"/proc/{one}/fd"):
            files += 1
            try:
                sockets += os.readlink(f"/proc/{one}/fd/{fd}").startswith("socket:")
            except OSError:
                pass
        with open(f"/proc/{one}/smaps_rollup") as lines:
            memory += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
    except OSError:
        pass
places = ["/", "/var/lib/docker"] if os.path.ismount("/var/lib/docker") else ["/"]
sizes = [subprocess.run(["du", "-xsk", place], capture_output=True, text=True).stdout for place in places]
disk = sum(int(size.split()[0]) for size in sizes)
print(json.dumps({"processes": len(ids), "open files": files, "sockets": sockets, "MB of memory": memory / 1000,
                  "MB of disk": disk / 1000}))
"""
# More than after the first round, before it is called a leak: a share of what was there, and so many besides. Disk may
# grow with each round: a model, its checkpoints and record, ARA's reports and the journal have limits of their own.
ALLOWED = {
    "processes": (0.05, 5),
    "open files": (0.05, 50),
    "sockets": (0.05, 20),
    "MB of memory": (0.15, 20),
}
DISK_MB_A_ROUND = 20


@dataclass
class Asked:
    """What came of the predictions that one device was asked for."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0
    models: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    given = settings.from_environment()
    url = engine.answering()
    if url is None or not (given.state / "result.json").exists():
        raise SystemExit("no lab stands here: make lab")
    devices = json.loads((given.state / "result.json").read_text())["devices"]
    began = time.monotonic()
    rounds: list[dict[str, Any]] = []
    with engine.connect(url) as client, asking(devices) as asked:
        while len(rounds) < 2 or time.monotonic() - began < 60 * minutes:
            rounds.append(one_round(given, client, devices, len(rounds) + 1))
            print(
                f"round {len(rounds)} after {time.monotonic() - began:.0f} s: {json.dumps(rounds[-1]['took'])}",
                flush=True,
            )
    faults = [*unanswered(asked, len(rounds)), *leaks(rounds), *strays(given, rounds[-1]["release"])]
    found = {
        "minutes": round((time.monotonic() - began) / 60, 1),
        "devices": len(devices),
        "rounds": rounds,
        "predictions": {name: {**vars(one), "models": sorted(one.models)} for name, one in asked.items()},
        "faults": faults,
    }
    results.write("soak", found, show(found))
    if faults:
        raise SystemExit("soak: " + "; ".join(faults))


def one_round(given: settings.Settings, client: docker.DockerClient, devices: list[Any], number: int) -> dict[str, Any]:
    """Train, release, converge, count."""
    # Named after the second it began in: another soak of the same rack releases under other names.
    release = f"soak-{time.time():.0f}"
    seed = str(time.time_ns() % 100_000)
    took = {"train": run(given, "train", "-e", "task=digits", "-e", "train_epochs=2", "-e", f"train_seed={seed}")}
    model = json.loads((given.state / "report/training.json").read_text())["model_digest"]
    named = ("-e", f"edge_release_name={release}", "-e", f"model_digest={model}", "-e", "rollout_pause_seconds=1")
    took["release"] = run(given, "release", *named)
    took["converge"] = run(given, "converge_now")
    time.sleep(SETTLE_SECONDS)
    machines = [*VMS, *(device["name"] for device in devices)]
    counted = {name: count(client.containers.get(given.container(name))) for name in machines}
    return {"round": number, "release": release, "took": took, "counted": counted}


def run(given: settings.Settings, playbook: str, *argv: str) -> float:
    """One playbook, with the inventory of the site's work tree; the seconds that it took."""
    inventory = str(given.state / "site/inventory/lab")
    program = str(commands.PROGRAMS / "ansible-playbook")
    seconds, _said = commands.run(given, (program, "-i", inventory, f"playbooks/{playbook}.yml", *argv))
    return round(seconds, 1)


def count(machine: docker.models.containers.Container) -> dict[str, float]:
    counted: dict[str, float] = json.loads(machine.exec_run(["python3", "-c", COUNT]).output)
    return counted


@contextmanager
def asking(devices: list[dict[str, Any]]) -> Iterator[dict[str, Asked]]:
    """All devices are asked for predictions of their own samples; what came of it, by device."""
    asked = {device["name"]: Asked() for device in devices}
    over = threading.Event()
    threads = [threading.Thread(target=ask, args=(device, asked[device["name"]], over)) for device in devices]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


def ask(device: dict[str, Any], asked: Asked, over: threading.Event) -> None:
    url = f"http://{device['address']}:8480"
    body = b""
    while not over.wait(ASKED_SECONDS):
        began = time.monotonic()
        try:
            if not body:
                with urllib.request.urlopen(f"{url}/samples", timeout=30) as answer:
                    inputs = [one["input"] for one in json.load(answer)["samples"]]
                body = json.dumps({"instances": inputs}).encode()
            with urllib.request.urlopen(urllib.request.Request(f"{url}/predictions", body), timeout=30) as answer:
                asked.models.add(json.load(answer)["model_digest"])
            asked.answered += 1
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            asked.failed.append(f"{time.strftime('%H:%M:%S')} {error!r}")
        asked.slowest = max(asked.slowest, time.monotonic() - began)


def unanswered(asked: dict[str, Asked], rounds: int) -> list[str]:
    """Devices of which a prediction failed, that were asked for hardly any, or lacked the model of a round.

    A thread that died asks no more.
    """
    failed = [
        f"{name}: {len(one.failed)} predictions failed, the first at {one.failed[0]}"
        for name, one in asked.items()
        if one.failed
    ]
    least = LEAST_SHARE * max(one.answered for one in asked.values())
    few = [f"{name}: {one.answered} predictions" for name, one in asked.items() if one.answered <= least]
    stale = [
        f"{name}: {len(one.models)} models in {rounds} rounds"
        for name, one in asked.items()
        if len(one.models) < rounds
    ]
    return failed + few + stale


def leaks(rounds: list[dict[str, Any]]) -> list[str]:
    """What a machine has more of after the last round than after the first."""
    found = []
    first, last = rounds[0]["counted"], rounds[-1]["counted"]
    for machine, before in first.items():
        for what, (share, besides) in ALLOWED.items():
            if last[machine][what] > before[what] * (1 + share) + besides:
                found.append(f"{machine}: {what} {before[what]:.0f} at first, {last[machine][what]:.0f} in the end")
        grown = last[machine]["MB of disk"] - before["MB of disk"]
        if grown > DISK_MB_A_ROUND * (len(rounds) - 1):
            found.append(f"{machine}: {grown:.0f} MB of disk more after {len(rounds) - 1} rounds")
    return found


def strays(given: settings.Settings, release: str) -> list[str]:
    """Devices that are not well on the last release."""
    run(given, "status")
    rows = json.loads((given.state / "report/status.json").read_text())
    return [
        f"{row['device']}: {row['outcome']}, runs {row['running']} and not {release}"
        for row in rows
        if row["running"] != release or row["outcome"] not in ("ok", "changed", "corrective")
    ]


def show(found: dict[str, Any]) -> str:
    rounds = found["rounds"]
    first, last = rounds[0]["counted"], rounds[-1]["counted"]
    kinds = list(next(iter(first.values())))
    lines = [
        "# A rack that lives",
        "",
        f"{found['devices']} devices, {found['minutes']:.0f} minutes, {len(rounds)} rounds of a training, a release of"
        f" its model and a run of every device; {os.cpu_count()} processors.",
        "",
        "| device | predictions | failed | models | slowest s |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {one['answered']} | {len(one['failed'])} | {len(one['models'])} | {one['slowest']:.1f} |"
            for name, one in found["predictions"].items()
        ),
        "",
        "After the first round, and after the last:",
        "",
        f"| machine | {' | '.join(kinds)} |",
        "|---|" + "---|" * len(kinds),
        *(
            f"| {machine} | {' | '.join(f'{first[machine][kind]:.0f} / {last[machine][kind]:.0f}' for kind in kinds)} |"
            for machine in first
        ),
        "",
        "| seconds | " + " | ".join(rounds[0]["took"]) + " |",
        "|---|" + "---|" * len(rounds[0]["took"]),
        "| first round | " + " | ".join(f"{seconds:.0f}" for seconds in rounds[0]["took"].values()) + " |",
        "| last round | " + " | ".join(f"{seconds:.0f}" for seconds in rounds[-1]["took"].values()) + " |",
        "",
        *(
            f"- {fault}"
            for fault in found["faults"]
            or ["no prediction failed, nothing piled up, every device is on the last release"]
        ),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
