"""The status of the rack, asked again and again: the playbook `status`, and the report that it leaves."""

from __future__ import annotations

import json
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from edge_training.dashboard.rack import ROWS, Rack
from edge_training.dashboard.runs import Playbook, Run
from edge_training.dashboard.settings import Settings
from edge_training.dashboard.store import Store

POLL_SECONDS = 0.5
ERROR = re.compile(r"\[?ERROR|fatal:")


class Watch:
    def __init__(self, store: Store, rack: Rack, settings: Settings) -> None:
        self._store, self._rack, self._settings = store, rack, settings
        self._run, self._stopped = Run(settings.state_dir / "watch"), threading.Event()
        self._due = threading.Event()
        self._read = 0
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def ask_now(self) -> None:
        """Something was done to the rack: do not wait for the next time."""
        self._due.set()

    def close(self) -> None:
        self._stopped.set()
        self._due.set()
        self._thread.join()

    def state(self) -> dict[str, Any]:
        """When the rack was asked last, and what kept it from being asked since."""
        with self._store.reading() as connection:
            row = connection.execute("SELECT data FROM watch").fetchone()
        return dict(json.loads(row["data"])) if row else {"asked": "", "fault": ""}

    def take(self) -> None:
        """Read the report, if it is a new one: a job or a person may have made it, too."""
        try:
            written = self._settings.report.stat().st_mtime_ns
            if written == self._read:
                return
            rows = ROWS.validate_json(self._settings.report.read_bytes())
        except FileNotFoundError:
            return
        except ValidationError as error:
            wrong = error.errors(include_input=False)[0]
            where = "".join(f"{part}: " for part in [".".join(map(str, wrong["loc"]))] if part)
            self._tell(fault=f"{self._settings.report}: {where}{wrong['msg']}. Run edge.rack.status again.")
            return
        except OSError as error:
            self._tell(fault=f"{self._settings.report}: {error.strerror}. The dashboard must be able to read it.")
            return
        self._rack.take(rows)
        self._read = written
        asked = datetime.fromtimestamp(written / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._tell(asked=asked, fault="")

    def _watch(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self._due.clear()
            if self._stopped.is_set():
                return
            if not self._run.runs():  # one that began before the dashboard did is waited for
                self._run.begin(self._playbook())
            while self._run.runs():
                if self._stopped.wait(POLL_SECONDS):
                    return
            outcome = self._run.outcome()
            self.take()
            if outcome.state != "succeeded":
                words = outcome.reason or _error(self._run.output(0)[0]) or outcome.state
                self._tell(fault=f"The rack was not asked: {words[:300]} (Status shows all of it.)")
            self._due.wait(max(0.0, self._settings.status_seconds - (time.monotonic() - began)))

    def _tell(self, **fields: str) -> None:
        with self._store.change() as change:
            before = self.state()
            data = {**before, **fields}
            if data != before:
                change.connection.execute("INSERT OR REPLACE INTO watch VALUES (1, ?)", (json.dumps(data),))
                change.tell("watch", data)

    def _playbook(self) -> Playbook:
        return Playbook(
            playbook=self._settings.playbooks.format("status"),
            project=str(self._settings.project),
            inventory=list(self._settings.inventory),
            # Once a minute: nobody wants to read that in ARA.
            extra_vars={"push_reports_url": ""},
        )


def _error(said: str) -> str:
    """The line in which Ansible says what is wrong, else its last."""
    lines = said.strip().splitlines() or [""]
    return next((line for line in lines if ERROR.match(line)), lines[-1])
