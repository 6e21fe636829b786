# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows a training's progress while the module runs: no module can speak before it ends."""

from __future__ import annotations

import json
import shlex
import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

PAUSE_SECONDS = 2.0
# Beyond the training itself: preflight, and what follows its end.
GRACE_SECONDS = 300
DEFAULT_TIMEOUT_SECONDS = 3600
DEFAULT_STATE_DIR = "/var/lib/edge/state"


class ActionModule(ActionBase):
    """Runs the module in the background on the launcher and reads the job's progress file meanwhile."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if self._task.check_mode or self._task.async_val:
            return self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val))
        seconds = int(self._task.args.get("timeout_seconds") or DEFAULT_TIMEOUT_SECONDS) + GRACE_SECONDS
        # The wrapper of background modules takes its deadline from the task.
        self._task.async_val = seconds
        try:
            answer = self._execute_module(task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if "ansible_job_id" not in answer:
            return answer
        return self._follow(answer["ansible_job_id"], seconds, task_vars)

    def _follow(self, background_id, seconds, task_vars):
        """The module's result, once it has one; what the training says until then goes to the screen."""
        seen = self._progress()
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        answer = {"failed": True, "msg": "the module said nothing in %d s; see the job's log on the launcher" % seconds}
        while time.monotonic() < deadline:
            status = self._background(background_id, "status", task_vars)
            lines = self._progress()
            # A training that begins anew begins its file anew.
            for line in lines[len(seen) :] if lines[: len(seen)] == seen else lines:
                self._show(line)
            seen = lines
            if status.get("finished") or status.get("failed"):
                answer = status
                break
            time.sleep(PAUSE_SECONDS)
        self._background(background_id, "cleanup", task_vars)
        for field in ("ansible_job_id", "results_file", "started", "finished"):
            answer.pop(field, None)
        return answer

    def _background(self, background_id, mode, task_vars):
        return self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={
                "jid": background_id,
                "mode": mode,
                "_async_dir": self.get_shell_option("async_dir", default="~/.ansible_async"),
            },
            task_vars=task_vars,
        )

    def _progress(self):
        """The lines of the job's progress file, none while there is no such file."""
        folder = self._task.args.get("state_dir") or DEFAULT_STATE_DIR
        path = "%s/jobs/%s/progress.jsonl" % (folder.rstrip("/"), self._task.args.get("name"))
        answer = self._low_level_execute_command("cat %s 2>/dev/null" % shlex.quote(path), sudoable=True)
        return answer.get("stdout", "").splitlines() if answer.get("rc") == 0 else []

    def _show(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            return
        if event.get("event") == "start":
            text = "%(ranks)s ranks train %(task)s: %(parameters)s parameters, %(examples)s examples" % event
        elif event.get("event") == "epoch":
            text = (
                "epoch %(epoch)s of %(epochs)s: loss %(loss).4f, accuracy %(accuracy).4f, "
                "%(images_per_second).0f images/s" % event
            )
        else:
            return
        display.display("%s: %s" % (self._task.args.get("name"), text))
