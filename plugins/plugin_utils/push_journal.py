# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A push as it goes, a line of JSON for each thing that happened, and the report that these lines make.

The file is locked for as long as the push lives: by a lock that is the process's own and not its workers' (fcntl(2)),
which may outlive it. One that nobody locks was cut. Such a lock goes when its process closes any descriptor of the
file, so the file is read by the one that locks it.
"""

from __future__ import annotations

import fcntl
import json
import os
import typing as t
from pathlib import Path

from ansible_collections.edge.rack.roles.pull_agent.files.edge_converge import files

SUFFIX = ".running"


class Journal:
    """The push that goes on in this process."""

    def __init__(self, folder: Path, about: dict[str, t.Any]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{about['started']:.3f}-{about['id']}{SUFFIX}"
        # Locked before anybody can see it.
        beside = folder / f".{self.path.name}"
        self.file = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+", encoding="utf-8")
        fcntl.lockf(self.file, fcntl.LOCK_EX)
        self.note(about)
        os.fsync(self.file.fileno())
        beside.rename(self.path)

    def note(self, line: dict[str, t.Any]) -> None:
        """Hand it to the kernel, so that a killed process loses nothing; waiting for the disk holds up the push."""
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def end(self, **found: t.Any) -> None:
        """Leave the report, whole, in its place."""
        with self.file:
            _finish(self.path, self.file, found)


def finish_cut(folder: Path, ended: float) -> None:
    """Make the reports of pushes that were killed, or whose controller was switched off."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            file = path.open("r+", encoding="utf-8")
        except FileNotFoundError:  # finished since
            continue
        with file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.fstat(file.fileno()).st_nlink:  # else it was finished before the lock was free
                found = {"ended": ended, "outcome": "interrupted", "error": "the push was ended before its end"}
                _finish(path, file, found)


def _finish(path: Path, file: t.TextIO, found: dict[str, t.Any]) -> None:
    about = _read(file)
    if about:
        for name, host in found.pop("hosts", {}).items():
            about["hosts"].setdefault(name, {"counts": {}}).update(host)
        for host in about["hosts"].values():
            host.setdefault("outcome", found["outcome"])
        releases = {host.get("release") for host in about["hosts"].values()}
        about["releases"] = sorted(release for release in releases if release)
        files.write(path.with_suffix(".json"), {**about, **found}, mode=0o600)
    path.unlink(missing_ok=True)


def _read(file: t.TextIO) -> dict[str, t.Any]:
    """What the lines say: the plays, each host that took part, and each task with what became of it where."""
    about: dict[str, t.Any] = {}
    rows: dict[tuple[int, str], dict[str, t.Any]] = {}
    for line in _lines(file):
        if not about:
            about = {**line, "plays": [], "hosts": {}, "tasks": []}
        elif "play" in line:
            about["plays"].append(line["play"])
        elif "took_part" in line:
            about["hosts"][line["took_part"]] = {"release": line["release"], "counts": {}}
        else:
            key = len(about["plays"]) - 1, line.pop("uuid")
            host = line.pop("host")
            # A handler may run twice in a play.
            if key not in rows or host in rows[key]["results"]:
                rows[key] = {name: line[name] for name in ("name", "action", "started")}
                rows[key] |= {"play": key[0], "results": {}}
                about["tasks"].append(rows[key])
            rows[key]["results"][host] = {name: line[name] for name in ("status", "message", "started", "ended")}
            rows[key]["ended"] = line["ended"]
            counts = about["hosts"][host]["counts"]
            counts[line["status"]] = counts.get(line["status"], 0) + 1
    return about


def _lines(file: t.TextIO) -> t.Iterator[dict[str, t.Any]]:
    file.seek(0)
    for line in file:
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a push that was cut
            return
