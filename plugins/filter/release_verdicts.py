# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_verdicts
short_description: What became of a release on each device of a wave
version_added: 0.1.0
description:
  - Judges by what C(edge-converge status --json) answered before and after the device was told to converge.
options:
  _input:
    description: Names of the devices.
    type: list
    elements: str
    required: true
  hostvars:
    description:
      - The variables of all hosts, C(hostvars). A device has its answers in C(rollout_asked_before) and
        C(rollout_asked_after), and what C(edge-converge now) came to in C(rollout_converged).
    type: dict
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
verdicts: "{{ ansible_play_batch | edge.rack.release_verdicts(hostvars, '2026.12') }}"
# => {"nuc-001": {"verdict": "taken", "why": ""}, "nuc-002": {"verdict": "failed", "why": "not healthy: predictor"}}
"""

RETURN = r"""
_value:
  description:
    - For each device C(verdict) and C(why). C(taken), it runs the release and is healthy; C(failed); and three that
      say nothing of the release, which the device takes later by itself, C(deferred) (a training runs), C(paused) (by
      a person) and C(away) (it did not answer before, does not reach the control VM, or its turn did not come).
  type: dict
"""

import typing as t

from ansible_collections.edge.rack.plugins.plugin_utils.answers import answer, said
from ansible_collections.edge.rack.roles.pull_agent.files.edge_converge.reports import GOOD

BUSY = 75  # a push holds the device, or its last run did not end (EX_TEMPFAIL of sysexits.h)


def release_verdicts(
    devices: t.Iterable[str], hostvars: t.Mapping[str, t.Any], release: str
) -> t.Dict[str, t.Dict[str, str]]:
    verdicts = {}
    for device in devices:
        verdict, why = _judge(hostvars[device], release)
        verdicts[device] = {"verdict": verdict, "why": " ".join(why.split())[:300]}
    return verdicts


def _judge(about: t.Mapping[str, t.Any], release: str) -> t.Tuple[str, str]:
    before, silence = answer(about.get("rollout_asked_before") or {})
    if not before:
        return "away", silence
    if before.get("paused"):
        return "paused", "paused by %s" % (before["paused"].get("by") or "a person")
    after, silence = answer(about.get("rollout_asked_after") or {})
    if not after:
        return "failed", "it answered before, and not afterwards: %s" % silence
    last = after.get("last") or {}
    sick = sorted(name for name, state in (after.get("containers") or {}).items() if state == "unhealthy")
    if after.get("release") == release and last.get("outcome") in GOOD and not sick:
        return "taken", ""
    if last.get("offline"):
        return "away", last["offline"]
    if after.get("deferred"):
        return "deferred", "a training runs: %s" % ", ".join(after["deferred"])
    if sick:
        return "failed", "not healthy: %s" % ", ".join(sick)
    converged = about.get("rollout_converged") or {}
    if converged.get("rc") == BUSY:
        return "away", said(converged)
    if converged.get("skipped"):
        return "away", "its turn did not come before the wave's time was over (rollout_converge_seconds)"
    return "failed", last.get("error") or said(converged) or "it runs %s" % (after.get("release") or "no release")


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_verdicts": release_verdicts}
