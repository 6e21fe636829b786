# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: push_reports
type: notification
short_description: Reports each push to ARA, at once or later
version_added: 0.1.0
description:
  - A run of C(ansible-playbook) is written down in a folder of the controller as it goes, and sent to ARA on the
    control VM (role P(edge.rack.control_node#role)) at its end. What cannot be sent stays and is sent by the next run,
    at its beginning or its end; so is a run that was cut. The run itself never fails by this.
  - A report names who pushed, the plays, every host with its release, outcome and counts, and what each task changed
    or where it failed. Arguments of tasks, variables and the command line are not in it, nor is the message of a task
    with C(no_log).
  - What is sent has the form of the devices' own reports (role P(edge.rack.pull_agent#role)), with the label C(push).
  - A run in check mode changes nothing and is not reported.
requirements:
  - It must be named in C(callbacks_enabled).
options:
  url:
    description: ARA's address. Without one, nothing is written down.
    type: str
    default: ""
    vars:
      - name: push_reports_url
    env:
      - name: EDGE_PUSH_REPORTS_URL
  ca_path:
    description: Certificate of the authority that signed ARA's.
    type: path
    vars:
      - name: push_reports_ca_path
    env:
      - name: EDGE_PUSH_REPORTS_CA_PATH
  account:
    description: Account at ARA with C(rights=write) (C(control_node_accounts)).
    type: str
    default: controller
    vars:
      - name: push_reports_account
    env:
      - name: EDGE_PUSH_REPORTS_ACCOUNT
  password:
    description: Its password.
    type: str
    vars:
      - name: push_reports_password
    env:
      - name: EDGE_PUSH_REPORTS_PASSWORD
  folder:
    description: Folder on the controller where reports wait; it is made, for its owner alone.
    type: path
    vars:
      - name: push_reports_folder
    env:
      - name: EDGE_PUSH_REPORTS_FOLDER
  run_id:
    description:
      - A UUID (RFC 9562) for the run, which ARA finds by the label C(run:UUID). So whoever begins the run can link to
        its report before there is one. Without it the run gets one of its own.
    type: str
    env:
      - name: EDGE_PUSH_REPORTS_RUN_ID
notes:
  - The variables are those of V(localhost), so they stand in C(group_vars/all).
author:
  - The edge.rack engineers (@edge-rack)
"""

import fcntl
import getpass
import os
import socket
import time
import typing as t
import uuid
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version

from ansible_collections.edge.rack.plugins.plugin_utils import push_journal, task_events
from ansible_collections.edge.rack.roles.pull_agent.files.edge_converge import reports

OPTIONS = ("url", "ca_path", "account", "password", "folder")
# Nobody waits for ARA: what it does not take within this time the next push sends.
TIMEOUT_SECONDS = 5
SENDING_SECONDS = 60
GROUP = "devices"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "edge.rack.push_reports"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self.playbook = ""
        self.begun = False
        # Open until the end, whatever fails: a journal that nobody holds is one of a push that was cut.
        self.journal: push_journal.Journal | None = None
        self.noting = False
        self.hostvars: t.Mapping[str, t.Any] = {}
        self.devices: dict[str, bool] = {}
        self.task_started: dict[str, float] = {}

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self.playbook = playbook._file_name
        self.begun = False

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        if context.CLIARGS.get("check"):
            return
        self.hostvars = play.get_variable_manager().get_vars(play=play)["hostvars"]
        if not self.begun:
            self.begun = True
            self._try(self._begin)
        if self.noting:
            line = {"name": play.get_name(), "uuid": play._uuid, "started": time.time()}
            self._try(self._note, {"play": line})

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self.task_started[task._uuid] = time.time()

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        self.task_started[task._uuid] = time.time()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._result("changed" if task_events.content(result).get("changed") else "", result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._result("", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._result("" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._result("unreachable", result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        if self.journal:
            self._try(self._end, stats)

    def _try(self, does: t.Callable[..., None], *arguments: t.Any) -> None:
        """No push fails for want of a report. After an error only its end is noted, for lines refer to others."""
        try:
            does(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no reason for a push to fail
            self.noting = False
            how = "reported to ARA without what follows" if self.journal else "not reported to ARA"
            self._display.warning(f"This push is {how}: {error} (callback edge.rack.push_reports)")

    def _begin(self) -> None:
        variables = self.hostvars["localhost"]
        given = {f"push_reports_{name}": variables.get(f"push_reports_{name}") for name in OPTIONS}
        self.set_options(var_options={name: value for name, value in given.items() if value is not None})
        if not self.get_option("url"):
            return
        missing = [name for name in OPTIONS if not self.get_option(name)]
        if missing:
            raise ValueError(f"push_reports_url is set, but not push_reports_{', push_reports_'.join(missing)}")
        push_journal.finish_cut(self._folder, time.time())
        self._send()
        run_id = self.get_option("run_id")
        about = {
            "id": str(uuid.UUID(run_id) if run_id else uuid.uuid4()),
            "mode": "push",
            "name": Path(self.playbook).stem,
            "path": self.playbook,
            "started": time.time(),
            # AWX says who began the job.
            "user": str(variables.get("awx_user_name") or os.environ.get("SUDO_USER") or getpass.getuser()),
            "controller": socket.gethostname(),
            "ansible_version": ansible_version,
        }
        self.devices = {}
        self.journal = push_journal.Journal(self._folder, about)
        self.noting = True

    def _note(self, line: dict[str, t.Any]) -> None:
        if self.journal:
            self.journal.note(line)

    def _result(self, status: str, result: t.Any) -> None:
        if self.noting:
            self._try(self._note_result, status, result)

    def _note_result(self, status: str, result: t.Any) -> None:
        host = result.host if hasattr(result, "host") else result._host
        if host.name not in self.devices:
            self.devices[host.name] = any(group.name == GROUP for group in host.get_groups())
            self._note({"took_part": host.name, "release": self._release(host.name)})
        if status:
            task = result.task if hasattr(result, "task") else result._task
            now = time.time()
            about = {"host": host.name, "uuid": task._uuid, "started": self.task_started.get(task._uuid, now)}
            self._note({**task_events.event(result, status), **about, "ended": now})

    def _release(self, name: str) -> str:
        """The release that a device gets; other machines have none."""
        if not self.devices[name]:
            return ""
        return str((self.hostvars[name].get("edge_release") or {}).get("name") or "")

    def _end(self, stats: t.Any) -> None:
        hosts = {}
        for name in stats.processed:
            found = stats.summarize(name)
            bad = found["failures"] or found["unreachable"]
            hosts[name] = {
                "outcome": "failed" if bad else "changed" if found["changed"] else "ok",
                "counts": {
                    "ok": found["ok"],
                    "changed": found["changed"],
                    "failed": found["failures"],
                    "skipped": found["skipped"],
                    "unreachable": found["unreachable"],
                },
            }
        outcomes = {host["outcome"] for host in hosts.values()}
        worst = next((outcome for outcome in ("failed", "changed") if outcome in outcomes), "ok")
        failed = ", ".join(sorted(name for name, host in hosts.items() if host["outcome"] == "failed"))
        error = f"failed on {failed}" if failed else ""
        journal, self.journal, self.noting = self.journal, None, False
        if journal:
            journal.end(ended=time.time(), outcome=worst, error=error, hosts=hosts)
        if why := self._send():
            count = len(reports.waiting(self._folder))
            self._display.warning(
                f"{count} reports of pushes wait in {self._folder}, and the next push sends them: {why}"
            )

    @property
    def _folder(self) -> Path:
        return Path(self.get_option("folder"))

    def _send(self) -> str:
        """Send what waits, unless another push does; why that did not work, or an empty text."""
        if not reports.waiting(self._folder):
            return ""
        with (self._folder / ".sending").open("w") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ara = reports.Ara(
                    self.get_option("url"),
                    self.get_option("account"),
                    self.get_option("password"),
                    Path(self.get_option("ca_path")),
                    "see control_node_accounts: it must have rights: write, and push_reports_password its password",
                    timeout=TIMEOUT_SECONDS,
                    seconds=SENDING_SECONDS,
                    # An account that may not report, or an address that is not ARA's: a person mends that.
                    for_good=(400,),
                )
                reports.send_all(ara, self._folder)
            except BlockingIOError:
                return ""
            except (OSError, reports.SendError) as error:
                return str(error)
        return ""
