"""Every benchmark after the other, and one report of all of them.

    make bench                                     all, about half an hour on two cores
    python -m tests.benchmarks [NAME...]           some, by the name of their file
    make lab LAB_DEVICES=20 && make bench          with those, too, that want a lab that stands

Each writes .bench/NAME.md and NAME.json by itself and runs by itself, too. This adds .bench/report.md, report.json and
charts of what was measured at several sizes. One that fails is named in the report, and this ends with 1 after the
others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab import settings
from tests.benchmarks import charts
from tests.benchmarks.results import BENCH

CHECKOUT = Path(__file__).resolve().parents[2]
# In this order, with what each one weighs.
BENCHMARKS = {
    "esxi_calls": "modules for ESXi beside raw calls of the host",
    "maas_inventory": "the dynamic inventory beside a raw request",
    "enrolment": "requests to MAAS from New to Deployed",
    "registry_pulls": "many devices behind one link, with and without waves and caches",
    "predictor": "a prediction beside a bare call of ONNX Runtime; models swapped under load",
    "pull_cost": "a device's own run beside `puppet apply`",
    "less_wire": "accuracy beside bytes, of each way to send fewer of them",
    "ranks": "memory and start of ranks that share a device, beside each by itself",
    "allreduce": "averaging over limited links beside bare MPI, and beside what the links carry",
    "dashboard_pages": "from a device's event to every open page",
    "manager": "memory of the Device Managers of the lab that stands",
    "push_cost": "a push that changes nothing, and the status, beside a ping, at several sizes of the lab that stands",
    "soak": "a rack that trains, releases and predicts over and over: what fails, what piles up",
}
# They want a lab that stands, and are left out where none does.
IN_LAB = ("ranks", "allreduce", "manager", "push_cost", "soak")
# What runs as long as it is told to is short here.
OPTIONS = {"soak": ("--minutes", "10")}
PACKAGES = ("ansible-core", "torch", "onnxruntime", "fastapi", "docker")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or [name for name in BENCHMARKS if name not in IN_LAB or lab_stands()]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    BENCH.mkdir(exist_ok=True)
    found = [measure(name) for name in names]
    report = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "benchmarks": found}
    drawn = charts.draw(found, BENCH)
    (BENCH / "report.json").write_text(json.dumps({**report, "charts": drawn}, indent=2) + "\n")
    (BENCH / "report.md").write_text(text(report, drawn))
    print(f"==> {BENCH / 'report.md'}")
    failed = [one["name"] for one in found if one["failed"]]
    if failed:
        print(f"tests.benchmarks: failed: {', '.join(failed)}; their output stands above", file=sys.stderr)
    return 1 if failed else 0


def lab_stands() -> bool:
    """Whether `make lab` came to its end here."""
    return (settings.from_environment().state / "result.json").exists()


def measure(name: str) -> dict[str, Any]:
    """One benchmark in a process of its own; what it wrote, unless it failed."""
    print(f"==> {name}: {BENCHMARKS[name]}", flush=True)
    for suffix in (".md", ".json") if name != "push_cost" else (".md",):
        (BENCH / f"{name}{suffix}").unlink(missing_ok=True)
    began = time.monotonic()
    status = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{name}", *OPTIONS.get(name, ())],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode
    seconds = round(time.monotonic() - began, 1)
    written = BENCH / f"{name}.json"
    return {
        "name": name,
        "about": BENCHMARKS[name],
        "seconds": seconds,
        "failed": f"ended with {status} after {seconds} s" if status != 0 else "",
        "found": json.loads(written.read_text()) if status == 0 else None,
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": models[0].split(":", 1)[1].strip() if models else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit,
        "load": round(os.getloadavg()[0], 1),
        "versions": {package: version(package) for package in PACKAGES},
    }


def text(report: dict[str, Any], drawn: list[str]) -> str:
    """The report for a person: the machine, then each benchmark's own words."""
    on = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in on["versions"].items())
    found = report["benchmarks"]
    lines = [
        "# What things cost",
        "",
        f"{report['at']}, commit {on['commit']}: {on['processors']} processors ({on['processor']}),"
        f" {on['memory_gib']} GiB, kernel {on['kernel']}, Python {on['python']}, {versions}."
        f" Load when it ended: {on['load']}.",
        "",
        "| benchmark | | seconds it took |",
        "|---|---|---|",
        *(f"| {one['name']} | {one['failed'] or one['about']} | {one['seconds']:.0f} |" for one in found),
        "",
        *(f"![{name}]({name})" for name in drawn),
    ]
    for one in found:
        if not one["failed"]:
            words = (BENCH / f"{one['name']}.md").read_text().strip().splitlines()
            lines += ["", f"## {one['name']}: {one['about']}", "", *(w for w in words if not w.startswith("# "))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
