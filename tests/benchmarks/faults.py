# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack that things happen to: how long until it is what its site says again, without hands?

    make lab LAB_LIGHT=yes LAB_DEVICES=20
    python -m tests.benchmarks.faults [--seed N]

On the lab that stands (LAB_NAME, LAB_SUBNET and LAB_STATE say which), one after the other: a twentieth of the devices
lose their power in the middle of a training, not the first of them, which starts it; a tenth in the middle of a release
of its model; MAAS's, the registry's and the control VM are switched off and on; the links of a fifth of the devices go
down together, as behind one switch, for LINK_SECONDS. After each fault what had no power has it again, and nothing else
is done: the rack is waited for.

It fails where a training or a release fails, or a device does not come back to the wanted release and model in time.

Writes .bench/faults.md and .json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker

from lab import engine, settings
from tests.benchmarks import commands, results

TRAINING_SHARE, RELEASE_SHARE, SWITCH_SHARE = 20, 10, 5  # one in so many
LINK_SECONDS = 120
# A device converges two minutes after its start; many of them do it on the two processors of one machine.
BACK_SECONDS = 3600
# What the VMs answer, by the last number of their addresses.
SERVICES = {
    "maas": (10, "http://{}:5240/MAAS/api/2.0/version/"),
    "registry": (11, "https://{}:5000/v2/"),
    "control": (12, "https://{}:8443/healthz"),
}


@dataclass(frozen=True)
class Fault:
    """One of them: what it was, to how many machines, and what came of it: seconds until something, or devices."""

    what: str
    machines: int
    came: dict[str, float]


class Rack:
    """The lab, and the hands that take its power and its links away."""

    def __init__(self, given: settings.Settings, client: docker.DockerClient, devices: dict[str, str]) -> None:
        self.given, self.client, self.devices = given, client, devices

    def machine(self, name: str) -> docker.models.containers.Container:
        return self.client.containers.get(self.given.container(name))

    @contextmanager
    def without_power(self, names: Sequence[str]) -> Iterator[None]:
        """Their plugs are pulled; they start again afterwards, and are not waited for."""
        found = [self.machine(name) for name in names]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: one.kill(), found))
        try:
            yield
        finally:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda one: one.start(), found))

    @contextmanager
    def without_links(self, names: Sequence[str]) -> Iterator[None]:
        """The other ends of their cables lose their carrier."""
        cables = [self._cable(name) for name in names]
        self._links(cables, "down")
        try:
            yield
        finally:
            self._links(cables, "up")

    def _cable(self, name: str) -> str:
        number = self.machine(name).exec_run(["cat", "/sys/class/net/eth0/iflink"]).output.decode().strip()
        listed = subprocess.run(["ip", "--oneline", "link"], capture_output=True, text=True, check=True).stdout
        (line,) = (line for line in listed.splitlines() if line.startswith(f"{number}: "))
        return line.split(": ")[1].split("@")[0]

    @staticmethod
    def _links(cables: Sequence[str], state: str) -> None:
        for cable in cables:
            subprocess.run(["ip", "link", "set", "dev", cable, state], check=True)

    def says(self, name: str) -> dict[str, Any]:
        """What `edge-converge status` says on a device; nothing where it does not."""
        try:
            said = self.machine(name).exec_run(["/usr/local/sbin/edge-converge", "status", "--json"]).output
            found: dict[str, Any] = json.loads(said)
        except (ValueError, docker.errors.APIError):
            return {}
        return found

    def predicts(self, name: str) -> str:
        """The digest of the model that a device answers with, by the rack's network; nothing where it does not."""
        try:
            with urllib.request.urlopen(f"http://{self.devices[name]}:8480/model", timeout=5) as answer:
                return str(json.load(answer)["digest"])
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return ""

    def is_well(self, name: str, release: str, model: str) -> bool:
        last = self.says(name)
        return last.get("release") == release and self.predicts(name) == model

    def back(self, names: Sequence[str], release: str, model: str) -> float:
        """Seconds until all of them are what their site says. SystemExit where they are not in time."""
        began, left = time.monotonic(), list(names)
        while left:
            left = [name for name in left if not self.is_well(name, release, model)]
            if left and time.monotonic() - began > BACK_SECONDS:
                raise SystemExit(f"faults: after {BACK_SECONDS} s not on {release} with {model}: {', '.join(left)}")
            time.sleep(1 if left else 0)
        return round(time.monotonic() - began, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of which devices")
    chosen = random.Random(parser.parse_args().seed)
    given = settings.from_environment()
    url = engine.answering()
    if url is None or not (given.state / "result.json").exists():
        raise SystemExit("no lab stands here: make lab")
    result = json.loads((given.state / "result.json").read_text())
    devices = {device["name"]: device["address"] for device in result["devices"]}
    if len(devices) < 4:
        raise SystemExit(f"faults: {len(devices)} devices; at least 4 are wanted: make lab LAB_DEVICES=4")
    with engine.connect(url) as client:
        rack = Rack(given, client, devices)
        faults = []
        for fault in happen(rack, chosen):
            faults.append(fault)
            print(f"{fault.what}, {fault.machines} machines: {json.dumps(fault.came)}", flush=True)
    found = {"devices": len(devices), "faults": [vars(fault) for fault in faults]}
    results.write("faults", found, show(found))


def happen(rack: Rack, chosen: random.Random) -> Iterator[Fault]:
    names = sorted(rack.devices)
    release = rack.says(names[0])["release"]
    model = rack.predicts(names[0])
    if strays := [name for name in names if not rack.is_well(name, release, model)]:
        raise SystemExit(
            f"faults: not on {release} before anything happened: {', '.join(strays)}; see edge.rack.status"
        )

    lost = chosen.sample(names[1:], max(1, len(names) // TRAINING_SHARE))
    yield in_training(rack, lost)
    # Trained, and released by nobody yet.
    yield Fault("they predict as before", len(lost), {"well again": rack.back(lost, release, model)})

    lost = chosen.sample(names, max(1, len(names) // RELEASE_SHARE))
    release, model = f"faults-{time.time():.0f}", report(rack)["model_digest"]
    yield in_release(rack, lost, release, model)
    yield Fault("all devices have the release", len(names), {"well again": rack.back(names, release, model)})

    for name in SERVICES:
        yield Fault(f"{name} restarts", 1, {"answers again": restarted(rack, name)})

    lost = chosen.sample(names, max(1, len(names) // SWITCH_SHARE))
    with rack.without_links(lost):
        time.sleep(LINK_SECONDS)
        others = [name for name in names if name not in lost]
        if deaf := [name for name in others if not rack.predicts(name)]:
            raise SystemExit(f"faults: without the links of others these do not answer: {', '.join(deaf)}")
    yield Fault("a switch is off", len(lost), {"well again": rack.back(lost, release, model)})
    yield Fault("in the end", len(names), {"well": rack.back(names, release, model)})


def in_training(rack: Rack, lost: Sequence[str]) -> Fault:
    """They lose their power after two epochs; the others go on from the last checkpoint."""
    jobs = rack.given.state / "jobs"
    before = set(jobs.glob("*"))
    seed = str(time.time_ns() % 100_000)

    def lines() -> list[dict[str, Any]]:
        files = [one / "progress.jsonl" for one in set(jobs.glob("*")) - before]
        said = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        return [json.loads(line) for line in said]

    def epochs() -> list[int]:
        return [line["epoch"] for line in lines() if line["event"] == "epoch"]

    with ThreadPoolExecutor() as pool:
        end = pool.submit(
            playbook, rack, "train", "-e", "task=digits", "-e", "train_epochs=30", "-e", f"train_seed={seed}"
        )
        wait_for(lambda: len(epochs()) >= 2, end)
        reached = max(epochs())
        with rack.without_power(lost):
            began = time.monotonic()
            wait_for(lambda: any(" going on with " in line.get("text", "") for line in lines()), end)
            noticed = time.monotonic() - began
            wait_for(lambda: max(epochs()) > reached + 1, end)
            goes_on = time.monotonic() - began
            end.result()
            took = time.monotonic() - began
    came = report(rack)
    if came["ranks"] != len(rack.devices) - len(lost) or sorted(came["lost_workers"]) != sorted(lost):
        raise SystemExit(
            f"faults: {came['ranks']} ranks ended the training, without {came['lost_workers']}; no power had {lost}"
        )
    seconds = {"noticed": noticed, "trains on": goes_on, "trained": took}
    return Fault("no power in a training", len(lost), {name: round(value, 1) for name, value in seconds.items()})


def in_release(rack: Rack, lost: Sequence[str], release: str, model: str) -> Fault:
    """They lose their power when the second wave is open; the release goes on without them."""
    written = rack.given.state / "report/release.json"

    def wave() -> int:
        found = json.loads(written.read_text()) if written.exists() else {}
        return int(found["wave"]) if found.get("release") == release else 0

    named = ("-e", f"edge_release_name={release}", "-e", f"model_digest={model}", "-e", "rollout_pause_seconds=1")
    with ThreadPoolExecutor() as pool:
        # Some of them are at it just then, and count as failed: with its own threshold the release would go back.
        end = pool.submit(playbook, rack, "release", *named, "-e", "rollout_max_failed=50%")
        wait_for(lambda: wave() >= 2, end)
        with rack.without_power(lost):
            end.result()
    verdicts = Counter(one["verdict"] for one in json.loads(written.read_text())["devices"].values())
    return Fault("no power in a release", len(lost), {f"devices {name}": count for name, count in verdicts.items()})


def restarted(rack: Rack, name: str) -> float:
    """Seconds from its start until it answers."""
    host, form = SERVICES[name]
    url = form.format(rack.given.address(host))
    with rack.without_power([name]):
        pass
    began = time.monotonic()
    while not answers(rack, url):
        if time.monotonic() - began > BACK_SECONDS:
            raise SystemExit(f"faults: {url} does not answer {BACK_SECONDS} s after its machine was switched on")
        time.sleep(0.5)
    return round(time.monotonic() - began, 1)


def answers(rack: Rack, url: str) -> bool:
    """Whether a service answers with the rack's certificate, if only that it does not know who asks."""
    trust = ssl.create_default_context(cafile=str(rack.given.state / "ca/ca.crt"))
    trust.check_hostname = False  # asked by its address, and its certificate has its name
    try:
        with urllib.request.urlopen(url, timeout=5, context=trust):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def playbook(rack: Rack, name: str, *options: str) -> float:
    """One playbook, with the inventory of the site's work tree; the seconds that it took."""
    inventory = str(rack.given.state / "site/inventory/lab")
    program = str(commands.PROGRAMS / "ansible-playbook")
    seconds, _said = commands.run(rack.given, (program, "-i", inventory, f"playbooks/{name}.yml", *options))
    return round(seconds, 1)


def report(rack: Rack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((rack.given.state / "report/training.json").read_text())
    return found


def wait_for(true: Callable[[], bool], end: Future[float]) -> None:
    """Raises SystemExit with a playbook's last words where it ended before."""
    while not true():
        if end.done():
            raise SystemExit(f"faults: the playbook ended after {end.result():.0f} s, before what was waited for")
        time.sleep(0.2)


def show(found: dict[str, Any]) -> str:
    lines = [
        "# What happens to a rack",
        "",
        f"{found['devices']} devices; seconds since the fault, and to be well again since power or link came back.",
        "",
        "| fault | machines | |",
        "|---|---|---|",
    ]
    for fault in found["faults"]:
        words = ", ".join(f"{name} {value:g}" for name, value in fault["came"].items())
        lines.append(f"| {fault['what']} | {fault['machines']} | {words} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
