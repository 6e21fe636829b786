# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: doctor_pull_findings
short_description: What ails the way in which devices converge themselves
version_added: 0.1.0
description:
  - Judges its pull agent and timer, its last run, its release and replacements of containers, by what each device
    answered to C(edge.rack.doctor).
  - Of one that did not answer P(edge.rack.doctor_machine_findings#filter) tells.
options:
  _input:
    description: Names of the devices.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). A device has its answer in C(doctor_answer).
    type: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
findings: "{{ groups['devices'] | edge.rack.doctor_pull_findings(hostvars) }}"
# => [{"severity": "warning", "host": "nuc-002", "check": "pull", "seen": "paused by alice until ...: new disk",
#      "fix": "edge-converge resume"}]
"""

RETURN = r"""
_value:
  description: The findings, each with C(severity) (C(error) or C(warning)), C(host), C(check), C(seen) and C(fix).
  type: list
  elements: dict
"""

import calendar
import re
import time
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.edge.rack.plugins.filter.release_place import release_place
from ansible_collections.edge.rack.plugins.plugin_utils.doctor import Finding, Found, Told, answer, findings, lines
from ansible_collections.edge.rack.roles.pull_agent.files.edge_converge.reports import GOOD

REPORTS_IN_PASSING = 5
REPLACED_WITHIN_SECONDS = 600


def doctor_pull_findings(devices: t.Iterable[str], hostvars: Told) -> t.List[Finding]:
    return [one for host in devices for one in findings(host, _judge(host, hostvars[host]))]


def _judge(host: str, about: Told) -> Found:
    told = answer(about.get("doctor_answer") or {})[0]
    if not told:
        return
    programs = told["programs"]
    yield from _replacements(answer(programs["commits"])[0], told["clock"]["ended"])
    # A site without signers has no agents, and its devices tell ARA nothing.
    if programs["converge"].get("error") == "missing" and "ARA" not in told["services"]:
        return
    state, silence = answer(programs["converge"])
    if silence:
        fix = "ansible-playbook edge.rack.configure --limit %s" % host
        yield "error", "pull", "edge-converge does not answer: %s" % silence, fix
        return
    if boolean(about.get("pull_agent_enabled", True)):
        yield from _timer(programs["timer"])
    yield from _last_run(host, state, told)
    yield from _release(host, state, about.get("edge_release") or {}, about.get("edge_rollout") or {})
    if state.get("reports_waiting", 0) > REPORTS_IN_PASSING:
        seen = "%d reports wait for the control node" % state["reports_waiting"]
        yield "warning", "reports", seen, "edge-converge send, which says why"


def _timer(result: Told) -> Found:
    about = dict(line.partition("=")[::2] for line in lines(result))
    state, enabled = about.get("ActiveState") or "not there", about.get("UnitFileState") or "not there"
    if (state, enabled) != ("active", "enabled"):
        seen = "its timer is %s, and %s at boot" % (state, enabled)
        yield "error", "pull", seen, "systemctl enable --now edge-converge.timer"


def _last_run(host: str, state: Told, told: Told) -> Found:
    last, paused = state.get("last"), state.get("paused")
    again = "ansible-playbook edge.rack.converge_now --limit %s; journalctl --unit=edge-converge" % host
    if paused:
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(paused["until"]))
        seen = "paused by %s until %s: %s" % (paused.get("by"), until, paused.get("reason") or "no reason given")
        yield "warning", "pull", seen, "edge-converge resume"
    if not last:
        yield "warning", "pull", "it has not converged yet", again
        return
    timer = re.search(r"OnUnitInactiveSec=(\d+)", told["programs"]["timer_file"].get("stdout", ""))
    late, age = 2 * int(timer[1]) if timer else 0, told["clock"]["ended"] - last["ended"]
    # One that was off has had no time to.
    if late and min(age, told["uptime"]) > late and not state.get("running") and not paused:
        seen = "its last run ended %d min ago, though one is due every %d min" % (age / 60, late / 120)
        yield "error", "pull", seen, again
    if last["outcome"] not in (*GOOD, "waiting"):
        severity = "warning" if last["outcome"] == "interrupted" else "error"
        yield severity, "pull", "its last run was %s: %s" % (last["outcome"], last.get("error")), again
    if last.get("offline"):
        seen = "its last run did not reach the site's repository: %s" % last["offline"]
        yield "warning", "pull", seen, "the control node's own findings; then %s" % again


def _release(host: str, state: Told, pinned: Told, rollout: Told) -> Found:
    # One whose wave is not open yet keeps the release before.
    wanted = rollout["before"] if release_place(rollout, host, pinned)["held"] else pinned
    running, name = state.get("release", ""), str(wanted.get("name", ""))
    if running == name:
        return
    seen = "the site pins release %s, and it runs %s" % (name or "none", running or "none")
    if state.get("deferred"):
        seen += "; a training defers %s" % ", ".join(state["deferred"])
        fix = "wait for the training's next checkpoint"
    else:
        fix = "ansible-playbook edge.rack.converge_now --limit %s; is this inventory what is in site.git?" % host
    yield "warning", "release", seen, fix


def _replacements(commits: Told, now: float) -> Found:
    """Containers whose replacement was cut, as the health gate has them. A minute later it should have ended it."""
    for name, one in sorted(commits.items()):
        if one["state"] == "unreadable":
            yield "error", "replacement", one["reason"], "as it says; docs/health-gate.md has more"
        elif one["state"] in ("open", "committed") and now - _utc(one["began"]) > REPLACED_WITHIN_SECONDS:
            seen = "the replacement of %s that began at %s has not ended" % (name, one["began"])
            yield "error", "replacement", seen, "edge-commit recover; systemctl status edge-commit-recover.timer"


def _utc(text: str) -> float:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"doctor_pull_findings": doctor_pull_findings}
