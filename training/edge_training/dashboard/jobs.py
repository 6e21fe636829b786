"""Jobs: playbooks that somebody had run. They outlive the dashboard's own process."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge_training.dashboard import audit
from edge_training.dashboard.actions import Asked, Doctor
from edge_training.dashboard.runs import Outcome, Playbook, Run
from edge_training.dashboard.settings import Settings
from edge_training.dashboard.store import Change, Store
from edge_training.problem import ProblemError
from edge_training.progress import now

SHOWN = 50
OUTPUTS_KEPT = 1000
POLL_SECONDS = 0.2


class Jobs:
    """`told` gets each line of a training's progress, `ended` the action of a job that has come to its end."""

    def __init__(
        self, store: Store, settings: Settings, told: Callable[[Change, str], None], ended: Callable[[str], None]
    ) -> None:
        self._store, self._settings, self._line_told, self._ended = store, settings, told, ended
        self._folder, self._audit = settings.state_dir / "jobs", settings.audit_file
        self._runs: dict[int, Run] = {}
        self._guard, self._wake, self._stopped = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._follow, name="jobs", daemon=True)

    def open(self) -> None:
        """Take up those that ran when the dashboard ended, and follow them."""
        with self._store.reading() as connection:
            for row in connection.execute("SELECT id FROM jobs WHERE state = 'running'"):
                self._runs[row["id"]] = Run(self._folder / str(row["id"]))
        self._thread.start()

    def close(self) -> None:
        """Stop following; what runs goes on."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def start(self, asked: Asked, who: str, address: str) -> tuple[dict[str, Any], bool]:
        """The job, and whether it is a new one: two who press the same button get the same job.

        Raises:
            ProblemError: another job works on the same thing (409).
        """
        parameters = asked.model_dump(mode="json", exclude={"action"}, exclude_defaults=True)
        with self._guard:
            if running := self._running(asked.lane):
                if (running["action"], running["parameters"]) == (asked.action, parameters):
                    return running, False
                raise ProblemError(
                    409,
                    f"{running['action']} runs",
                    f"Job {running['id']} ({running['action']}) of {running['who']} works on the same since "
                    f"{running['began']}. Wait for its end, or cancel it.",
                    job=running["id"],
                )
            with self._store.change() as change:
                row = (asked.action, asked.lane, json.dumps(parameters), who, "running", now())
                number = change.connection.execute(
                    "INSERT INTO jobs (action, lane, parameters, who, state, began) VALUES (?, ?, ?, ?, ?, ?)", row
                ).lastrowid
                assert number is not None
                job = self._told(change, number)
                change.tell("job", job)
            audit.write(
                self._audit,
                event="begin",
                job=number,
                who=who,
                address=address,
                action=asked.action,
                parameters=parameters,
                report=job["report"],
            )
            run = self._runs[number] = Run(self._folder / str(number))
            self._wake.set()
            run.begin(self._playbook(asked, _run_id(number, job["began"])))
        return self.job(number), True

    def cancel(self, number: int, who: str, address: str) -> dict[str, Any]:
        job = self.job(number)
        if job["state"] == "running":
            audit.write(self._audit, event="cancel", job=number, who=who, address=address, action=job["action"])
            with self._guard:
                if run := self._runs.get(number):
                    run.cancel()
        return job

    def job(self, number: int) -> dict[str, Any]:
        with self._store.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise ProblemError(404, "No such job", f"There is no job {number}; GET /api/jobs lists them.")
        return self._shown(row)

    def newest(self) -> list[dict[str, Any]]:
        with self._store.reading() as connection:
            return [
                self._shown(row) for row in connection.execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (SHOWN,))
            ]

    def counted(self) -> dict[tuple[str, str], int]:
        """How many jobs there were of each action and state."""
        with self._store.reading() as connection:
            query = "SELECT action, state, count(*) AS jobs FROM jobs GROUP BY action, state"
            return {(row["action"], row["state"]): row["jobs"] for row in connection.execute(query)}

    def output(self, number: int, after: int) -> tuple[str, int]:
        """What a job has said after so many bytes, and how many that is altogether."""
        self.job(number)
        return Run(self._folder / str(number)).output(after)

    def _running(self, lane: str) -> dict[str, Any] | None:
        with self._store.reading() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE lane = ? AND state = 'running'", (lane,)).fetchone()
        return self._shown(row) if row else None

    def _playbook(self, asked: Asked, run_id: str) -> Playbook:
        return Playbook(
            playbook=self._settings.playbooks.format(asked.action),
            project=str(self._settings.project),
            inventory=list(self._settings.inventory),
            extra_vars=asked.extra_vars(),
            limit=asked.limit,
            run_id=run_id if self._settings.reports_url else None,
        )

    def _follow(self) -> None:
        while not self._stopped:
            self._wake.clear()
            with self._guard:
                followed = dict(self._runs)
            for number, run in followed.items():
                try:
                    self._advance(number, run)
                except Exception:
                    logging.getLogger("uvicorn.error").exception("job %s cannot be followed; trying again", number)
            self._wake.wait(POLL_SECONDS if self._runs else None)

    def _advance(self, number: int, run: Run) -> None:
        """Tell what the job has said since, and whether it has ended."""
        runs = run.runs()  # first: what was said before its end is then all there is
        with self._store.reading() as connection:
            row = connection.execute("SELECT shown, followed FROM jobs WHERE id = ?", (number,)).fetchone()
        shown, followed = row["shown"], row["followed"]
        while (told := run.progress(followed))[0]:
            with self._store.change() as change:
                change.connection.execute("UPDATE jobs SET followed = ? WHERE id = ?", (told[1], number))
                for line in told[0].splitlines():
                    self._line_told(change, line)
            followed = told[1]
        while (said := run.output(shown))[0]:
            with self._store.change() as change:
                change.connection.execute("UPDATE jobs SET shown = ? WHERE id = ?", (said[1], number))
                change.tell("output", {"job": number, "from": shown, "to": said[1], "text": said[0]})
            shown = said[1]
        if not runs:
            self._end(number, run.outcome())

    def _end(self, number: int, outcome: Outcome) -> None:
        with self._store.change() as change:
            outcome = _judged(self.job(number)["action"], outcome)
            ended = "UPDATE jobs SET state = ?, rc = ?, reason = ?, ended = ? WHERE id = ?"
            change.connection.execute(ended, (outcome.state, outcome.rc, outcome.reason, now(), number))
            job = self._told(change, number)
            change.tell("job", job)
        audit.write(
            self._audit,
            event="end",
            job=number,
            who=job["who"],
            action=job["action"],
            outcome=outcome.state,
            rc=outcome.rc,
            reason=outcome.reason,
            report=job["report"],
        )
        with self._guard:
            self._runs.pop(number, None)
            # Of older ones the line stays, and the audit's; what they said does not.
            shutil.rmtree(self._folder / str(number - OUTPUTS_KEPT), ignore_errors=True)
        self._ended(job["action"])

    def _told(self, change: Change, number: int) -> dict[str, Any]:
        return self._shown(change.connection.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone())

    def _shown(self, row: sqlite3.Row) -> dict[str, Any]:
        names = ("id", "action", "who", "state", "began", "ended", "rc", "reason")
        url = self._settings.reports_url
        return {
            **{name: row[name] for name in names},
            "parameters": json.loads(row["parameters"]),
            "report": f"{url}/?label=run:{_run_id(row['id'], row['began'])}" if url else None,
        }


def _judged(action: str, outcome: Outcome) -> Outcome:
    """edge.rack.doctor ends with 1 where it found no errors, but warnings."""
    if action == "doctor" and outcome.rc == Doctor.warning_rc:
        return replace(outcome, state="warnings")
    return outcome


def _run_id(number: int, began: str) -> str:
    """The UUID under which ARA has the job's run: the same each time that it is asked for."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"edge.rack.dashboard {number} {began}"))
