# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How this machine stands, as JSON: python3 - QUESTIONS < machine.py

QUESTIONS is JSON: `sent` (the operator's time), `programs` (name -> arguments), `names` (to resolve), `services` (name
-> url, ca, and where this machine's account for it stands). All are asked at the same time, and what does not answer in
time is an answer, too. Nothing is changed, and no secret is told.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 20
LONGEST_OUTPUT = 100_000
FOLDERS = (
    "/",
    "/var",
    "/var/lib/docker",
    "/var/lib/edge",
    "/var/lib/docker-registry",
    "/var/lib/edge-ara",
    "/var/backups",
    "/srv",
)


def program(argv: list[str]) -> dict:
    """What it prints; `error` where it is not there or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return {"error": "missing"}
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {SECONDS} s"}
    except OSError as error:
        return {"error": str(error)}
    return {"rc": done.returncode, "stdout": done.stdout[:LONGEST_OUTPUT].strip(), "stderr": done.stderr[-500:].strip()}


def addresses(name: str) -> dict:
    """What the resolver of this machine makes of a name."""
    try:
        return {"addresses": sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})}
    except OSError as error:
        return {"error": error.strerror or str(error)}


def service(asked: dict) -> dict:
    """What a service answers to this machine's own account, trusted by the rack's authority alone."""
    try:
        request = urllib.request.Request(asked["url"], headers=signed_in(asked))  # noqa: S310 - https
        context = ssl.create_default_context(cafile=asked["ca"])
    except KeyError:
        return {"error": f"it is not signed in there ({asked['docker_config']})", "kind": "credential"}
    except (OSError, ValueError) as error:
        return {"error": str(error), "kind": "credential"}
    # Straight to it, as the engine goes.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return {"status": answer.status}
    except urllib.error.HTTPError as error:
        return {"status": error.code}
    except OSError as error:
        reason = getattr(error, "reason", error)
        kind = "certificate" if isinstance(reason, ssl.SSLCertVerificationError) else "connection"
        return {"error": str(reason), "kind": kind}


def signed_in(asked: dict) -> dict[str, str]:
    """From where the engine keeps its accounts, or from a name and a file with the password."""
    if "docker_config" in asked:
        token = json.loads(Path(asked["docker_config"]).read_text())["auths"][asked["registry"]]["auth"]
    else:
        password = Path(asked["password_file"]).read_text().strip()
        token = base64.b64encode(f"{asked['account']}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def disks() -> list[dict]:
    """Each file system once that holds something of the rack."""
    found: dict[int, dict] = {}
    for folder in filter(os.path.isdir, FOLDERS):
        usage = shutil.disk_usage(folder)
        free = {"folder": folder, "free_percent": 100 * usage.free / usage.total, "free_bytes": usage.free}
        found.setdefault(Path(folder).stat().st_dev, free)
    return list(found.values())


def memory() -> dict:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {line[0].rstrip(":"): int(line[1]) for line in lines}
    return {"total_mib": kib["MemTotal"] // 1024, "available_mib": kib["MemAvailable"] // 1024}


def main() -> None:
    begun = time.time()
    asked = json.loads(sys.argv[1])
    with ThreadPoolExecutor(max_workers=16) as pool:
        waiting = {
            kind: {name: pool.submit(answer, question) for name, question in asked.get(kind, {}).items()}
            for kind, answer in (("programs", program), ("services", service))
        }
        waiting["names"] = {name: pool.submit(addresses, name) for name in asked.get("names", [])}
        found = {kind: {name: future.result() for name, future in futures.items()} for kind, futures in waiting.items()}
    found["disks"], found["memory"] = disks(), memory()
    found["uptime"] = float(Path("/proc/uptime").read_text().split()[0])
    found["clock"] = {"sent": asked.get("sent"), "begun": begun, "ended": time.time()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
