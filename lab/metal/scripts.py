"""What MAAS's ephemeral environment does with scripts: fetch them, run each, report each.

The archive, its index and the signals are those of MAAS's own runner (maas_run_remote_scripts.py). A script runs in a
container of its own, made of the device's file system: it sees that container's processes, files and network.
"""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from lab.oauth import authorization

logger = logging.getLogger("metal")

TIMED_OUT = 124


@dataclass(frozen=True)
class Script:
    """One script to run; a timeout of 0 is none."""

    name: str
    content: bytes
    result_id: int
    version_id: int | None
    timeout_seconds: float


@dataclass(frozen=True)
class Outcome:
    """How it ended: 124 where it was stopped for its time."""

    exit_status: int
    stdout: bytes = b""
    stderr: bytes = b""


class Runner(Protocol):
    """What runs a script: its name, its content, its time."""

    def __call__(self, script: Script) -> Outcome: ...


def fetch(answer: dict[str, Any]) -> dict[str, list[Script]]:
    """The scripts that this machine still has to run, by the names of MAAS's index."""
    url = f"{answer['metadata_url'].rstrip('/')}/2012-03-01/maas-scripts"
    headers = authorization(answer["consumer_key"], answer["token_key"], answer["token_secret"])
    reply = httpx.get(url, headers=headers, timeout=60)
    reply.raise_for_status()
    if reply.status_code == httpx.codes.NO_CONTENT:
        return {}
    with tarfile.open(fileobj=io.BytesIO(reply.content)) as tar:
        index = json.loads(_content(tar, "index.json"))["1.0"]
        return {kind: [_script(tar, row) for row in rows] for kind, rows in index.items()}


def _script(tar: tarfile.TarFile, row: dict[str, Any]) -> Script:
    content = _content(tar, row["path"])
    number, version = row["script_result_id"], row.get("script_version_id")
    return Script(row["name"], content, number, version, float(row["timeout_seconds"]))


def _content(tar: tarfile.TarFile, path: str) -> bytes:
    member = tar.extractfile(path)
    if member is None:
        raise ValueError(f"{path} is no file in the scripts that MAAS sent")
    return member.read()


def run_all(scripts: list[Script], run: Runner, signal: Callable[..., None]) -> int:
    """Run them one after the other, report each; the number of those that failed."""
    failed = 0
    for script in scripts:
        about = {"script_result_id": str(script.result_id), "script_name": script.name}
        if script.version_id is not None:
            about["script_version_id"] = str(script.version_id)
        signal(status="WORKING", error=f"Starting {script.name}", **about)
        outcome = run(script)
        logger.info("%s ended with %d", script.name, outcome.exit_status)
        timed_out = outcome.exit_status == TIMED_OUT
        error = f"Timeout({script.timeout_seconds:g} s) expired on {script.name}" if timed_out else ""
        signal(
            status="TIMEDOUT" if timed_out else "WORKING",
            error=error or f"Finished {script.name}: {outcome.exit_status}",
            exit_status=str(outcome.exit_status),
            files={
                script.name: outcome.stdout + outcome.stderr,
                f"{script.name}.out": outcome.stdout,
                f"{script.name}.err": outcome.stderr,
            },
            **about,
        )
        failed += outcome.exit_status != 0
    return failed
