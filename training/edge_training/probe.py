"""Can a training start? The launcher asks every worker, over the same SSH that mpirun will use.

    python -m edge_training.probe self '{"subnet": "10.10.0.0/24", "task": "image_folder"}'
    python -m edge_training.probe all '{"workers": [...], "ssh_port": 2222, "timeout_seconds": 20, ...}'

`self` prints what this worker says of itself, as JSON. `subnet` may be left out, and so may `task`, which is asked
whether its data is there: that takes the seconds in which torch is imported.

`all` prints {"launcher": facts, "workers": [...]}, in the order of the request ({"name", "address"} each): either
{"name", "address", "facts"} with the worker's own words and `clock_offset_seconds` (its clock minus the launcher's), or
{"name", "address", "error"}.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import edge_training
from edge_training import wire

SSH_CONFIG = "/etc/ssh/edge_ssh_config"
FOLDERS = ("data", "models", "checkpoints", "state")
ROOT = Path("/var/lib/edge")
AT_ONCE = 16


def about_this_worker(request: dict[str, Any]) -> dict[str, Any]:
    """Host name, image, clock (Unix seconds), available memory, each folder's free bytes (None: not writable), the
    interface in the subnet with its MTU (None: there is none), and what the task's data lacks (None: nothing).
    """
    interface = wire.interface_in(request["subnet"]) if request.get("subnet") else None
    return {
        "host": os.uname().nodename,
        "version": edge_training.__version__,
        "image_digest": os.environ.get("EDGE_IMAGE_DIGEST") or None,
        "clock": time.time(),
        "memory_available_bytes": available_memory(Path("/proc/meminfo").read_text()),
        "folders": {str(ROOT / name): free_bytes(ROOT / name) for name in FOLDERS},
        "processors": len(os.sched_getaffinity(0)),
        "interface": interface,
        "mtu": wire.mtu(interface) if interface else None,
        "lacks": lacking_data(request["task"]) if request.get("task") else None,
    }


def lacking_data(reference: str) -> str | None:
    """What a task says that this device's data lacks, and the fix; None for nothing, or where a task cannot say."""
    from edge_training.task import Surveying, TaskError, Wanting, load_task  # torch, which most probes do without

    try:
        task = load_task(reference)
    except Exception:  # noqa: BLE001  that it does not load is found by edge_training.check, with its line
        return None
    try:
        if isinstance(task, Surveying):
            task.survey()
        return task.lacks() if isinstance(task, Wanting) else None
    except (TaskError, OSError) as error:
        return str(error)


def available_memory(meminfo: str) -> int:
    """MemAvailable of /proc/meminfo, in bytes."""
    lines = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024


def free_bytes(folder: Path) -> int | None:
    """Bytes that this user may still write to `folder`; None if it may write none."""
    return shutil.disk_usage(folder).free if os.access(folder, os.W_OK | os.X_OK) else None


def ssh(address: str, port: int, command: str) -> list[str]:
    """The command line that runs `command` on another worker of the job."""
    return ["ssh", "-F", SSH_CONFIG, "-p", str(port), address, command]


def ask(worker: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """One worker's answer."""
    known = {"name": worker["name"], "address": worker["address"]}
    timeout_seconds = request.get("timeout_seconds", 20)
    asked = json.dumps({name: request.get(name) for name in ("subnet", "task")})
    command = ssh(worker["address"], request["ssh_port"], f"python -m edge_training.probe self {shlex.quote(asked)}")
    before = time.time()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return {**known, "error": f"no answer within {timeout_seconds:g} s"}
    after = time.time()
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr or done.stdout).strip().splitlines()
        return {**known, "error": said[-1] if said else f"ssh ended with status {done.returncode}"}
    return {**known, "facts": {**facts, "clock_offset_seconds": clock_offset(facts["clock"], before, after)}}


def clock_offset(clock: float, before: float, after: float) -> float:
    """Seconds by which a clock that was read between `before` and `after` is surely ahead (behind: negative)."""
    return round(max(clock - after, 0.0) - max(before - clock, 0.0), 3)


def ask_all(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every worker's answer, in the order of the request."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda worker: ask(worker, request), request["workers"]))


def main(arguments: list[str]) -> int:
    """Print the answer."""
    request = json.loads(arguments[1]) if len(arguments) > 1 else {}
    if arguments[:1] == ["all"]:
        print(json.dumps({"launcher": about_this_worker({}), "workers": ask_all(request)}))
    else:
        print(json.dumps(about_this_worker(request)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
