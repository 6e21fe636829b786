# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How what was begun ends. Each step looks first, so a cut in the middle only means to do it again."""

from __future__ import annotations

from pathlib import Path

from . import selection
from .engine import Engine
from .journal import COMMITTED, DONE, OPEN, ROLLED_BACK, Folder, Journal, now


def end(engine: Engine, folder: Folder, journal: Journal, reason: str) -> Journal:
    """The old container is back where the new one was not committed, else the new one stays."""
    if journal.state == OPEN:
        return roll_back(engine, folder, journal, reason)
    if journal.state == COMMITTED:
        return finish(engine, folder, journal)
    return journal


def roll_back(engine: Engine, folder: Folder, journal: Journal, reason: str) -> Journal:
    name, old = journal.name, journal.old
    for taken in (f"{name}.next", name):
        container = engine.container(taken)
        if container and (old is None or container["Id"] != old.id):
            engine.remove(container["Id"])
    if old and (container := engine.container(old.id)):
        if container["Name"] != f"/{name}":
            engine.rename(old.id, name)
        engine.set_restart(old.id, old.restart)
        # While it runs its file was not touched yet.
        if not container["State"]["Running"]:
            if journal.model_file:
                selection.put_back(Path(journal.model_file))
            if old.running:
                engine.start(old.id)
    elif old:
        reason = f"{reason}; the old container is gone too: somebody removed it"
    elif journal.model_file:
        selection.put_back(Path(journal.model_file))
    journal = journal.to(ROLLED_BACK, ended=now(), reason=reason)
    folder.write(journal)
    return journal


def finish(engine: Engine, folder: Folder, journal: Journal) -> Journal:
    if journal.new and (container := engine.container(journal.new)):
        engine.set_restart(journal.new, journal.restart)
        # After a power cut nothing but this starts it.
        if not container["State"]["Running"]:
            engine.start(journal.new)
    if journal.old:
        engine.remove(journal.old.id)
    journal = journal.to(DONE, ended=now())
    folder.write(journal)
    return journal
