# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clean-up: plan, delete by digest, collect garbage while the registry is read-only, prove what was kept.

It may be killed anywhere. Every step is made of what the storage holds and not of what an earlier step remembers, so
the next run begins anew and ends clean; until then ``restore`` gives the registry back to those who push. Whoever
writes to the storage holds the lock, garbage collection too, even where the clean-up that began it was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import typing as t
from datetime import datetime, timezone
from pathlib import Path

from . import plan as planning
from . import records
from .errors import RegistryError, RegistrySettingsError
from .plan import Plan
from .service import Service, client_of, run
from .settings import Settings
from .storage import Storage
from .verify import verify

REPORT = "last-clean.json"
JOURNAL = "clean-journal.json"
PLAN_WAIT_SECONDS = 30.0
Report = t.Dict[str, t.Any]


def make_plan(settings: Settings, wait_seconds: float = PLAN_WAIT_SECONDS) -> Plan:
    """What a run would do now; what another run is deleting meanwhile would look like a loss."""
    with locked(settings, wait_seconds, "a plan"), client_of(settings) as client:
        return planning.make(settings, client)


def clean(settings: Settings, wait_seconds: float = 0) -> Report:
    """One whole run; returns its report, which ``last-clean.json`` holds too, also that of a run that failed."""
    with locked(settings, wait_seconds, "a clean-up") as lock:
        journal = Journal(settings)
        report = {
            "began": now(),
            "ended": None,
            "result": "failed",
            "previous_run_ended_at": journal.left_behind,
            "changed": False,
            "kept": [],
            "dropped": [],
            "freed_bytes": 0,
        }  # type: Report
        try:
            plan = _clean(settings, journal, report, lock)
            journal.remove()
            plan.require_devices()
            report["result"] = "clean"
        except BaseException as error:
            report["error"] = str(error) or type(error).__name__
            raise
        finally:
            report["ended"] = now()
            report["steps"] = journal.steps
            _write(Path(settings.state) / REPORT, report)
        return report


def _clean(settings: Settings, journal: Journal, report: Report, lock: int) -> Plan:
    storage, service = Storage(settings.storage), Service(settings)
    with client_of(settings) as client:
        if journal.left_behind is not None or service.read_only:
            # A run was killed: first the registry is as it always is, for what is missing may have to be pushed.
            journal.step("recover", touches=False)
            service.restart(read_only=False)
            _accept_pushes(settings)
        journal.step("look", touches=False)
        _accept_reports(settings)
        plan = planning.make(settings, client)
        _tell(report, plan)
        plan.require_complete()
        if not plan.has_work and journal.left_behind is None:
            # Nobody is kept from pushing for nothing.
            _accept_pushes(settings)
            journal.step("verify", touches=False)
            report["verified"] = vars(verify(client, plan.decision.kept))
            return plan
        before = _stored(storage)
        journal.step("wait for pushes", touches=False)
        _wait_for_pushes(settings, storage, plan)
        try:
            journal.step("refuse pushes")
            _refuse_pushes(settings)
            # Ends what was let in before, and what the registry remembers of its blobs.
            service.restart(read_only=False)
            journal.step("plan")
            plan = planning.make(settings, client)
            _tell(report, plan)
            plan.require_complete()
            journal.step("delete")
            report["changed"] = bool(plan.decision.dropped)
            for image in sorted(plan.decision.dropped, key=lambda one: not one.is_index):
                if storage.pushed(image.repository, image.digest) != image.pushed:
                    raise RegistryError(
                        "Deleting %s@%s" % image.key,
                        "it was pushed while the clean-up ran, past the front that refuses pushes",
                        remedy="Push to `registry_port` only; the next run goes on.",
                    )
                if not client.delete_manifest(image.repository, image.digest):
                    raise RegistryError("Deleting %s@%s" % image.key, "its storage has it and the registry does not")
            journal.step("read-only")
            service.restart(read_only=True)
            report["dangling_tags"] = storage.remove_dangling_tags()
            journal.step("collect garbage")
            _collect(settings, lock)
            report["freed_bytes"] = before - _stored(storage)
            report["changed"] = bool(plan.decision.dropped) or report["freed_bytes"] > 0
            journal.step("verify")
            report["verified"] = vars(verify(client, plan.decision.kept))
        finally:
            journal.step("read-write")
            service.restart(read_only=False)
            _accept_pushes(settings)
    return plan


def restore(settings: Settings, wait_seconds: float = 0) -> bool:
    """Give the registry back after a run that was killed; whether there was anything to do."""
    service = Service(settings)
    with locked(settings, wait_seconds, "the end of a clean-up that was killed"):
        refuses = Path(settings.switch).exists()
        killed = service.read_only or (refuses and Journal(settings).left_behind is not None)
        if killed:
            service.restart(read_only=False)
        _accept_pushes(settings)
        return killed or refuses


@contextlib.contextmanager
def locked(settings: Settings, wait_seconds: float, who: str) -> t.Iterator[int]:
    """Hold the lock of all who change or read the storage beside the registry: clean-up, plan, backup, restore.

    ``who`` is what others are told meanwhile.
    """
    path = Path(settings.lock)
    end = time.monotonic() + wait_seconds
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RegistrySettingsError("Locking the storage", str(error), remedy="Run as root.") from error
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise RegistryError(
                        "Locking the storage",
                        "%s is held by %s" % (path, _holder(file)),
                        remedy="Wait until it has ended, or use `--wait SECONDS`.",
                    ) from error
            time.sleep(0.2)
        os.ftruncate(file, 0)
        os.pwrite(file, ("%s (process %d) since %s" % (who, os.getpid(), now())).encode("utf-8"), 0)
        try:
            yield file
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _holder(lock: int) -> str:
    return os.pread(lock, 200, 0).decode("utf-8", "replace") or "a clean-up, a backup or a restore"


class Journal:
    """The step a run is in, on disk from the first that changes something: who finds it knows where a run was cut."""

    def __init__(self, settings: Settings) -> None:
        self._path = Path(settings.state) / JOURNAL
        self.steps = []  # type: t.List[t.Dict[str, str]]
        self.left_behind = self._read()

    def step(self, name: str, touches: bool = True) -> None:
        self.steps.append({"step": name, "began": now()})
        if touches:
            _write(self._path, self.steps[-1])

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _read(self) -> t.Optional[str]:
        try:
            return str(json.loads(self._path.read_text(encoding="utf-8"))["step"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"


def _accept_reports(settings: Settings) -> None:
    """Put aside what each device reports and can be read, for the day on which it cannot; not that of one retired."""
    reports = dict(records.readable(settings.records))
    folder = records.accepted(settings.records)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in reports:
            path.unlink()
    for name, report in reports.items():
        if report is not None:
            _write(folder / name, report)


def _wait_for_pushes(settings: Settings, storage: Storage, plan: Plan) -> None:
    """Let a push that is under way end first, for a while; one that takes longer is refused and is repeated."""
    end = time.monotonic() + settings.quiet_limit_seconds
    last = plan.last_push
    while time.time() - last < settings.quiet_seconds and time.monotonic() < end:
        time.sleep(min(1.0, settings.quiet_seconds))
        last = max(last, storage.last_upload())


def _refuse_pushes(settings: Settings) -> None:
    switch = Path(settings.switch)
    switch.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    switch.touch(mode=0o644)


def _accept_pushes(settings: Settings) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(settings.switch).unlink()


def _collect(settings: Settings, lock: int) -> None:
    """distribution's own garbage collection, never with ``-m``: below 3.0 that removes children of tagged indexes."""
    command = [settings.program, "garbage-collect", settings.config]
    done = run(command, settings.collect_seconds, keep=[lock])
    if done.returncode != 0:
        said = " ".join(done.stdout.split())[-500:]
        raise RegistryError("`%s`" % " ".join(command), "it ended with %d: %s" % (done.returncode, said))


def _tell(report: Report, plan: Plan) -> None:
    verdicts = plan.decision.verdicts
    report["kept"] = [verdict.as_result() for verdict in verdicts if verdict.kept]
    report["dropped"] = [verdict.as_result() for verdict in verdicts if not verdict.kept]


def _stored(storage: Storage) -> int:
    return sum(size for size, _written in storage.blobs().values())


def _write(path: Path, data: t.Mapping[str, t.Any]) -> None:
    """Whole or not at all, and not lost with the machine's power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name("." + path.name)
    with draft.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
