"""Runs of playbooks, each in a folder: begun, looked at, ended; by this process or by the one before it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Ended = Literal["succeeded", "warnings", "failed", "cancelled", "lost"]
WORDS: dict[str, Ended] = {"successful": "succeeded", "failed": "failed", "timeout": "failed", "canceled": "cancelled"}
CHUNK_BYTES = 64 * 1024
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TMPDIR", "TZ")
SITES = ("ANSIBLE_", "LAB_", "LC_", "MAAS_", "VMWARE_")


@dataclass(frozen=True)
class Playbook:
    """`inventory` as Ansible takes it; `project` is the folder it runs in."""

    playbook: str
    project: str
    inventory: list[str]
    extra_vars: dict[str, Any]
    limit: str | None = None
    run_id: str | None = None
    """A UUID for its report (callback edge.rack.push_reports)."""


@dataclass(frozen=True)
class Outcome:
    state: Ended
    rc: int | None = None
    reason: str | None = None


class Run:
    def __init__(self, folder: Path) -> None:
        self._folder, self._artifacts = folder, folder / "artifacts" / "run"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, playbook: Playbook) -> None:
        """Begin anew; what an earlier run left in the folder is gone."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        (self._folder / "run.json").write_text(json.dumps(playbook.__dict__))
        # Taken here and handed over, so that there is no moment in which a run that begins looks like one that is gone.
        lock = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with (self._folder / "runner.log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603  # our own words
                    [sys.executable, "-m", "edge_training.dashboard.runner", str(self._folder), str(lock)],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock],
                    start_new_session=True,
                )
        finally:
            os.close(lock)

    def runs(self) -> bool:
        if self._process is not None:
            self._process.poll()  # so that none stays as a zombie
        try:
            lock = os.open(self._folder / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def cancel(self) -> None:
        (self._folder / "cancel").touch()

    def output(self, after: int) -> tuple[str, int]:
        """What was said after so many bytes, in whole lines, and how many bytes that is altogether."""
        return _lines(self._artifacts / "stdout", after)

    def progress(self, after: int) -> tuple[str, int]:
        """What its training told, likewise: a JSON object a line."""
        return _lines(self._folder / "progress.jsonl", after)

    def outcome(self) -> Outcome:
        """How one that runs no more has ended."""
        try:
            status, rc = ((self._artifacts / name).read_text() for name in ("status", "rc"))
            return Outcome(WORDS[status], int(rc))
        except (OSError, ValueError, KeyError):
            return Outcome("lost", None, self._last_words() or "it ended without a word; was the machine restarted?")

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "runner.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _lines(file: Path, after: int) -> tuple[str, int]:
    try:
        with file.open("rb") as opened:
            opened.seek(after)
            said = opened.read(CHUNK_BYTES)
    except FileNotFoundError:
        return "", after
    whole = said[: said.rfind(b"\n") + 1]
    if not whole and len(said) == CHUNK_BYTES:
        whole = said
    return whole.decode("utf-8", "replace").replace("\r\n", "\n"), after + len(whole)


def _environment() -> dict[str, str]:
    """A playbook's own; the dashboard's settings are not in it."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    chosen = {name: value for name, value in os.environ.items() if name.startswith(SITES)}
    beside = str(Path(sys.executable).parent)
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([beside, inherited.get("PATH", os.defpath)])
    return {**inherited, **chosen, "PATH": path, "PYTHONPATH": package, "PYTHONUNBUFFERED": "1"}
