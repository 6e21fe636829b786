# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a training's progress while the module runs."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.live_progress import LiveProgress, display

DEFAULT_TIMEOUT_SECONDS = 3600
DEFAULT_STATE_DIR = "/var/lib/edge/state"


class ActionModule(LiveProgress):
    """The progress file is the job's, on the launcher; each line of it goes to a file on the controller, too."""

    # Files that could not be written: a full disk here is no reason to end a training there.
    _given_up: t.Tuple[str, ...] = ()

    def keep(self, line):
        path = self._task.args.get("local_progress_file")
        if path:
            self._append(path, line)
        # Named by whoever runs the playbook and draws what it does (the dashboard).
        told = os.environ.get("EDGE_PROGRESS_FILE")
        if told and not self._task.no_log:
            try:
                line = json.dumps({**json.loads(line), "job": self._task.args.get("name")})
            except (ValueError, TypeError):
                return
            self._append(told, line)

    def _append(self, path, line):
        if path in self._given_up:
            return
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self._given_up = (*self._given_up, path)
            display.warning("%s: %s: progress is not kept there" % (path, error.strerror))

    def interrupted(self):
        """The module looks for this file; it stops the ranks, which leave a checkpoint."""
        path = shlex.quote(self._job_folder() + "/stop")
        self._low_level_execute_command("touch %s" % path, sudoable=True)

    def timeout_seconds(self):
        return int(self._task.args.get("timeout_seconds") or DEFAULT_TIMEOUT_SECONDS)

    def progress_path(self):
        return self._job_folder() + "/progress.jsonl"

    def _job_folder(self):
        folder = self._task.args.get("state_dir") or DEFAULT_STATE_DIR
        return "%s/jobs/%s" % (folder.rstrip("/"), self._task.args.get("name"))

    def text_of(self, event):
        if event.get("event") == "start":
            text = "%(ranks)s ranks train %(task)s: %(parameters)s parameters, %(examples)s examples" % event
        elif event.get("event") == "epoch":
            text = (
                "epoch %(epoch)s of %(epochs)s: loss %(loss).4f, accuracy %(accuracy).4f, "
                "%(images_per_second).0f images/s" % event
            ) + left(event)
        elif event.get("event") == "step":
            text = (
                "epoch %(epoch)s of %(epochs)s, step %(step)s of %(steps)s: loss %(loss).4f, "
                "%(images_per_second).0f images/s" % event
            ) + left(event)
        elif event.get("event") == "note":
            text = event["text"]
        elif event.get("event") == "links":
            text = links(event["links"])
        elif event.get("event") == "result":
            text = "accuracy %(accuracy).4f after %(seconds).0f s" % event + ring(event)
        else:
            return None
        return "%s: %s" % (self._task.args.get("name"), text)


def links(measured):
    """What the ring's links carry, and which one least."""
    slowest = min(measured, key=lambda link: link["bits_per_second"])
    usual = statistics.median(link["bits_per_second"] for link in measured)
    return "links carry %.0f Mbit/s; the slowest, from %s to %s, %.0f" % (
        usual / 1e6,
        slowest["from"],
        slowest["to"],
        slowest["bits_per_second"] / 1e6,
    )


def ring(event):
    """How fast the ring was, and who held it up; nothing where one rank was alone."""
    measured = event.get("allreduce")
    if not measured:
        return ""
    text = "; the ring carried %.0f Mbit/s" % (measured["bus_bits_per_second"] / 1e6)
    if measured["link_bits_per_second"]:
        text += " of %.0f" % (measured["link_bits_per_second"] / 1e6)
    return "%s; slowest was %s: %s" % (text, event["slowest_host"], event["slowest_why"])


def left(event):
    """How long the rest takes, in words; nothing at the end."""
    minutes, seconds = divmod(round(event.get("eta_seconds", 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours + minutes + seconds:
        return ""
    return ", %s left" % ("%d h %d min" % (hours, minutes) if hours else "%d min %d s" % (minutes, seconds))
