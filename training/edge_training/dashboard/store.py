"""What the dashboard remembers: one SQLite file, and the events that every open page gets in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sse_starlette import ServerSentEvent

from edge_training.progress import now

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS devices (name TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trainings (job TEXT PRIMARY KEY, touched INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
    job TEXT, rank INTEGER, step INTEGER, loss REAL, seconds REAL, samples_per_second REAL, time TEXT,
    PRIMARY KEY (job, rank, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, lane TEXT NOT NULL, parameters TEXT NOT NULL,
    who TEXT NOT NULL, state TEXT NOT NULL, began TEXT NOT NULL, ended TEXT, rc INTEGER, reason TEXT,
    shown INTEGER NOT NULL DEFAULT 0, followed INTEGER NOT NULL DEFAULT 0
);
DROP TABLE IF EXISTS sessions;  -- of before there were roles in it; who had signed in does so again
CREATE TABLE IF NOT EXISTS visits (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL, csrf TEXT NOT NULL, began REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS releases (one INTEGER PRIMARY KEY CHECK (one = 1), data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS watch (one INTEGER PRIMARY KEY CHECK (one = 1), data TEXT NOT NULL);
"""
IN_MEMORY = 2000
BATCH = 500


class ForgottenError(Exception):
    """Events after this one are no longer kept, or never were: what is shown has to be read anew."""


@dataclass(frozen=True)
class Event:
    id: int
    kind: str
    data: str

    @cached_property
    def sent(self) -> bytes:
        """As every page gets it; made once for all of them."""
        return ServerSentEvent(self.data, event=self.kind, id=str(self.id), sep="\n").encode()


@dataclass
class Change:
    """A transaction: what it writes and what it tells come together or not at all."""

    connection: sqlite3.Connection
    events: list[Event] = field(default_factory=list)

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        text = json.dumps({**data, "at": now()}, allow_nan=False)
        number = self.connection.execute("INSERT INTO events (kind, data) VALUES (?, ?)", (kind, text)).lastrowid
        assert number is not None
        self.events.append(Event(number, kind, text))


class Store:
    """Used by any thread; one at a time."""

    def __init__(self, file: Path, events_kept: int) -> None:
        self._guard, self._kept = threading.RLock(), events_kept
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        # FULL: after a loss of power no number is given a second time, which a page would take for one it has seen.
        for line in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            self._connection.execute(line)
        self._connection.executescript(SCHEMA)
        newest = self._connection.execute("SELECT * FROM events ORDER BY id DESC LIMIT ?", (IN_MEMORY,)).fetchall()
        self._recent = deque((_event(row) for row in reversed(newest)), maxlen=IN_MEMORY)
        self._last = self._recent[-1].id if self._recent else self._highest()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def _highest(self) -> int:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return int(row["seq"]) if row else 0

    @property
    def last(self) -> int:
        """Number of the newest event."""
        return self._last

    @contextlib.contextmanager
    def change(self) -> Iterator[Change]:
        with self._guard:
            change = Change(self._connection)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield change
                if change.events:
                    self._connection.execute("DELETE FROM events WHERE id <= ?", (change.events[-1].id - self._kept,))
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
            if change.events:
                self._recent.extend(change.events)
                self._last = change.events[-1].id
                self._wake()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Nothing changes meanwhile."""
        with self._guard:
            yield self._connection

    def after(self, number: int) -> list[Event]:
        """The next events after this one; none if it is the newest.

        Raises:
            ForgottenError: some of them are not there any more.
        """
        with self._guard:
            if number == self._last:
                return []
            if number > self._last or number < 0:
                raise ForgottenError(number)
            if self._recent and self._recent[0].id <= number + 1:
                return [event for event in self._recent if event.id > number][:BATCH]
            query = "SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?"
            found = [_event(row) for row in self._connection.execute(query, (number, BATCH))]
            if not found or found[0].id != number + 1:
                raise ForgottenError(number)
            return found

    @contextlib.contextmanager
    def woken(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set whenever something was told."""
        event = asyncio.Event()
        with self._guard:
            self._waiting[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self._guard:
                del self._waiting[event]

    def _wake(self) -> None:
        for event, loop in self._waiting.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        with self._guard:
            self._connection.close()


def _event(row: sqlite3.Row) -> Event:
    return Event(row["id"], row["kind"], row["data"])
