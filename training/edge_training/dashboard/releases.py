"""The release that went out last, or goes out now: the report that edge.rack.release writes from wave to wave."""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from edge_training.dashboard.store import Store

POLL_SECONDS = 1
NAMED = 20
"""So many of the devices that did not take it are named."""
LONGEST = 2000


def cut(value: Any) -> Any:
    """A text at its most: the reason of a large wave that failed may name each of its devices."""
    return value[: LONGEST - 1] + "…" if isinstance(value, str) and len(value) > LONGEST else value


Text = Annotated[str, BeforeValidator(cut)]


class Verdict(BaseModel):
    model_config = ConfigDict(extra="ignore")

    verdict: Text
    why: Text = ""


class Stop(BaseModel):
    model_config = ConfigDict(extra="ignore")

    why: Text = ""


class Report(BaseModel):
    """`state`: running, back (it stopped, and devices go back), and at the end out, stopped or unattended."""

    model_config = ConfigDict(extra="ignore")

    release: Text
    before: Text = ""
    state: Text = ""
    wave: int = 0
    waves: list[list[str]] = []
    stopped: Stop = Stop()
    devices: dict[str, Verdict] = {}

    def shown(self, written: str) -> dict[str, Any]:
        """What the page draws: numbers, and by name those alone that did not take it."""
        others = [name for name in sorted(self.devices) if self.devices[name].verdict != "taken"]
        return {
            "release": self.release,
            "before": self.before,
            "state": self.state,
            "wave": self.wave,
            "waves": len(self.waves),
            "devices": len({name for wave in self.waves for name in wave}),
            "verdicts": dict(Counter(one.verdict for one in self.devices.values())),
            "others": [{"device": name, **self.devices[name].model_dump()} for name in others[:NAMED]],
            "why": self.stopped.why,
            "written": written,
            "fault": "",
        }


class Releases:
    """A job writes the report, or a person's command does: its file is looked at, whoever it was."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store, self._file = store, file
        self._read, self._stopped = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="releases", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def newest(self) -> dict[str, Any] | None:
        with self._store.reading() as connection:
            row = connection.execute("SELECT data FROM releases").fetchone()
        return json.loads(row["data"]) if row else None

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.take()

    def take(self) -> None:
        """Read the report, if it is a new one."""
        try:
            at = self._file.stat().st_mtime_ns
            if at == self._read:
                return
            written = datetime.fromtimestamp(at / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found = Report.model_validate_json(self._file.read_bytes()).shown(written)
        except FileNotFoundError:
            return
        except ValidationError as error:
            wrong = error.errors(include_input=False)[0]
            where = ".".join(map(str, wrong["loc"]))
            found = {
                **(self.newest() or Report(release="").shown("")),
                "fault": f"{self._file}: {where}: {wrong['msg']}",
            }
        except OSError as error:
            found = {
                **(self.newest() or Report(release="").shown("")),
                "fault": f"{self._file}: {error.strerror}. The dashboard must be able to read it.",
            }
            at = self._read
        self._read = at
        with self._store.change() as change:
            if found != self.newest():
                change.connection.execute("INSERT OR REPLACE INTO releases VALUES (1, ?)", (json.dumps(found),))
                change.tell("release", found)
