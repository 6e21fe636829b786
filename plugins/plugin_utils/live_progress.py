# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows how far a module is while it runs: no module can speak before it ends."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
import typing as t
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

PAUSE_SECONDS = 2.0
# A link that is cut for so long is no end of the work; after that the host is unreachable.
AWAY_SECONDS = 20.0
# Beyond the work itself: what goes before it and what follows its end.
GRACE_SECONDS = 300


class Interruption:
    """Notes SIGINT (Ctrl-C) and SIGTERM, and puts them off: there is something to be done before this process ends."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: t.Optional[int] = None
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def _note(self, number: int, frame: t.Any) -> None:
        self.signal = self.signal or number

    def over(self) -> None:
        """Signals do again what they did before, and so does the one that came."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.signal:
            os.kill(os.getpid(), self.signal)


class LiveProgress(ActionBase):
    """Runs the module in the background on its host and reads the module's progress file meanwhile.

    A plugin says how long the module may take, where that file is, and what one of its lines means.
    """

    _supports_check_mode = True
    _supports_async = True

    def timeout_seconds(self) -> int:
        raise NotImplementedError

    def progress_path(self) -> str:
        raise NotImplementedError

    def text_of(self, event: t.Dict[str, t.Any]) -> t.Optional[str]:
        """The line to show for one event of the file; None for none."""
        raise NotImplementedError

    def keep(self, line: str) -> None:
        """Each line of the file, as it came; called once for each, shown or not."""

    def interrupted(self) -> None:
        """Somebody has ended the playbook: what is to become of the module, which would go on without it."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if self._task.check_mode or self._task.async_val:
            return self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val))
        seconds = self.timeout_seconds() + GRACE_SECONDS
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
        """The module's result, once it has one; what its progress file says until then goes to the screen."""
        interruption = Interruption()
        try:
            return self._follow_until(interruption, background_id, seconds, task_vars)
        finally:
            try:
                if interruption.signal:
                    self.interrupted()
            finally:
                interruption.over()

    def _follow_until(self, interruption, background_id, seconds, task_vars):
        seen = self._progress()
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        # Work that is done already is soon over.
        pause = PAUSE_SECONDS / 8
        answer = {"failed": True, "msg": "the module said nothing in %d s; see the host it runs on" % seconds}
        answered = time.monotonic()
        while time.monotonic() < deadline and not interruption.signal:
            try:
                status = self._background(background_id, "status", task_vars)
                lines = self._progress()
            except AnsibleConnectionFailure as error:
                if time.monotonic() - answered > AWAY_SECONDS:
                    raise
                name = task_vars.get("inventory_hostname")
                display.warning("%s does not answer, it is asked again: %s" % (name, error))
                time.sleep(PAUSE_SECONDS)
                continue
            answered = time.monotonic()
            # Work that begins anew begins its file anew.
            for line in lines[len(seen) :] if lines[: len(seen)] == seen else lines:
                self.keep(line)
                self._show(line)
            seen = lines
            if status.get("finished") or status.get("failed"):
                answer = status
                break
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS)
        if interruption.signal:
            return answer
        try:
            self._background(background_id, "cleanup", task_vars)
        except AnsibleConnectionFailure as error:
            # The work is done, and its result here.
            display.warning("the file of a background job stays on its host: %s" % error)
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
        """The lines of the progress file, none while there is no such file."""
        answer = self._low_level_execute_command(
            "cat %s 2>/dev/null" % shlex.quote(self.progress_path()), sudoable=True
        )
        return answer.get("stdout", "").splitlines() if answer.get("rc") == 0 else []

    def _show(self, line):
        try:
            text = self.text_of(json.loads(line))
        except (ValueError, KeyError, TypeError, ArithmeticError):
            return
        if text and not self._task.no_log:
            display.display(text)


class LiveBytes(LiveProgress):
    """For modules with the options `progress_file` and `timeout_seconds`, which count bytes (module_utils/esxi)."""

    DEFAULT_TIMEOUT_SECONDS = 0

    def run(self, tmp=None, task_vars=None):
        # Beside the results of background modules, in a folder of the user's own; the module makes it if it takes long.
        folder = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        own = "%s/progress-%s" % (folder, uuid.uuid4().hex)
        self._task.args.setdefault("progress_file", own)
        try:
            return super().run(tmp, task_vars)
        finally:
            if self.progress_path() == own:
                self._task.args.pop("progress_file")
                self._low_level_execute_command("rm -f %s" % shlex.quote(own), sudoable=True)

    def timeout_seconds(self):
        return int(self._task.args.get("timeout_seconds") or self.DEFAULT_TIMEOUT_SECONDS)

    def progress_path(self):
        return self._task.args["progress_file"]

    def text_of(self, event):
        return "%s: %d of %d MiB (%d %%), %.1f MiB/s" % (
            event["what"],
            event["done"] >> 20,
            event["total"] >> 20,
            100 * event["done"] // max(event["total"], 1),
            event["bytes_per_second"] / 2**20,
        )
