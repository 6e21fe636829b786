# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong in a training, from mpirun's log and from the lines that the training reported."""

from __future__ import annotations

import json
import re

# Causes that a rank gives for its end where it is not its own: another one is gone, or mpirun ends them all.
NOTICED = ("ring", "stop")


OLD_IMAGE = "No module named edge_training.slots"


def explain_failure(log, workers):
    """(sentence, name of the lost worker or None) from mpirun's log."""
    if OLD_IMAGE in log:
        words = "the worker image is of before ranks shared a device: deploy a newer one, or give each worker 1 slot"
        return words, None
    owners = rank_owners(workers)
    by_address = {worker["address"]: worker["name"] for worker in workers}

    said = complaint(log)
    if said and said.get("cause") not in NOTICED:
        found = re.match(r"rank (\d+) ", said.get("where", ""))
        name = owners.get(int(found.group(1))) if found else None
        return "%s (%s) says: %s" % (said.get("where"), name or "unknown", said.get("message")), name
    text = " ".join(log.split())
    found = re.search(r"process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)(?: \(([^)]*)\))?", text)
    if found:
        name = by_address.get(found.group(2)) or owners.get(int(found.group(1)))
        hint = "; out of memory there? see its kernel log" if found.group(3) == "9" else ""
        return "rank %s on %s ended by signal %s (%s)%s" % (
            found.group(1),
            name or found.group(2),
            found.group(3),
            found.group(4) or "unknown",
            hint,
        ), name
    found = re.search(r"Remote daemon: \[\[\d+,\d+\],(\d+)\] on node (\S+)", text)
    if found and "lost communication" in text:
        name = by_address.get(found.group(2)) or daemon_owner(int(found.group(1)), workers)
        return "the connection to %s was lost; check its power and its network" % (name or found.group(2)), name
    found = re.search(r"Process name: \[\[\d+,\d+\],(\d+)\] Exit code: (\d+)", text)
    if found:
        name = owners.get(int(found.group(1)))
        return "rank %s on %s ended with status %s" % (found.group(1), name or "an unknown host", found.group(2)), name
    found = re.search(r"(?:ssh: connect to host|Connection to) (\S+).*?(?:timed out|refused|closed|No route)", text)
    if found:
        name = by_address.get(found.group(1))
        return "no SSH connection to %s" % (name or found.group(1)), name
    if said:
        return "%s noticed that others are gone: %s" % (said.get("where"), said.get("message")), None
    last = [line.strip() for line in log.splitlines() if line.strip(" -")][-3:]
    return "mpirun's last words: %s" % (" / ".join(last) or "none"), None


def complaint(log):
    """What a rank said of its end, if one did; one that only noticed another's counts less."""
    told = []
    for line in log.splitlines():
        if line.startswith("{") and '"event": "error"' in line:
            try:
                told.append(json.loads(line))
            except ValueError:
                continue
    return next((one for one in told if one.get("cause") not in NOTICED), told[0] if told else None)


def is_lost_rank(log):
    """Whether it ended because a rank or a device is gone; what a rank says of its own fault it would say again."""
    said = complaint(log)
    return OLD_IMAGE not in log and (said is None or said.get("cause") in NOTICED)


def rank_owners(workers):
    """Worker name by rank: ranks fill the slots of the first worker, then of the next."""
    names = [worker["name"] for worker in workers for slot in range(worker["slots"])]
    return dict(enumerate(names))


def daemon_owner(number, workers):
    """Worker name by the number of its daemon: 0 is mpirun itself, on the first worker."""
    return workers[number]["name"] if 0 <= number < len(workers) else None


def progress_lines(text):
    """The events in a progress file; a line that is cut short is left out."""
    events = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") in ("start", "epoch"):
            events.append(event)
    return events


def last_progress(events):
    """How far it came, in words."""
    epochs = [event for event in events if event["event"] == "epoch"]
    if epochs:
        return "the last report was epoch %(epoch)s of %(epochs)s, loss %(loss)s" % epochs[-1]
    return "training had begun, no epoch was finished" if events else "training had not begun"
