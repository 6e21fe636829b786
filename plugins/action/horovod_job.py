# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a training's progress while the module runs."""

from __future__ import annotations

import contextlib
import json
import os

from ansible_collections.edge.rack.plugins.plugin_utils.live_progress import LiveProgress

DEFAULT_TIMEOUT_SECONDS = 3600
DEFAULT_STATE_DIR = "/var/lib/edge/state"


class ActionModule(LiveProgress):
    """The progress file is the job's, on the launcher."""

    def timeout_seconds(self):
        return int(self._task.args.get("timeout_seconds") or DEFAULT_TIMEOUT_SECONDS)

    def progress_path(self):
        folder = self._task.args.get("state_dir") or DEFAULT_STATE_DIR
        return "%s/jobs/%s/progress.jsonl" % (folder.rstrip("/"), self._task.args.get("name"))

    def _show(self, line):
        super()._show(line)
        # Named by whoever runs the playbook and draws what it does (the dashboard). A training does not fail for it.
        file = os.environ.get("EDGE_PROGRESS_FILE")
        if not file or self._task.no_log:
            return
        with contextlib.suppress(OSError, ValueError, TypeError), open(file, "a", encoding="utf-8") as told:
            told.write(json.dumps({**json.loads(line), "job": self._task.args.get("name")}) + "\n")

    def text_of(self, event):
        if event.get("event") == "start":
            text = "%(ranks)s ranks train %(task)s: %(parameters)s parameters, %(examples)s examples" % event
        elif event.get("event") == "epoch":
            text = (
                "epoch %(epoch)s of %(epochs)s: loss %(loss).4f, accuracy %(accuracy).4f, "
                "%(images_per_second).0f images/s" % event
            )
        elif event.get("event") == "note":
            text = event["text"]
        else:
            return None
        return "%s: %s" % (self._task.args.get("name"), text)
