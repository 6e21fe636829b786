# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_stop
short_description: Why a release stops after a wave
version_added: 0.1.0
description:
  - A wave may lose some devices before the release stops, the first one none; and nobody goes on after a first wave
    in which no device took the release, or after a wave of five devices or more of which none answers.
options:
  _input:
    description: The verdicts of P(edge.rack.release_verdicts#filter).
    type: dict
    required: true
  max_failed:
    description: So many of the wave's devices may fail, as a number or as a share of those that tried, such as V(10%).
    type: raw
    required: true
  first:
    description: Whether it is the first wave.
    type: bool
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
why: "{{ {'nuc-001': {'verdict': 'failed', 'why': 'disk full'}} | edge.rack.release_stop('10%', first=false) }}"
# => "1 of 1 devices failed, 0 may (rollout_max_failed: 10%): nuc-001: disk full"
"""

RETURN = r"""
_value:
  description: The reason, or an empty text where the release goes on.
  type: str
"""

import re
import typing as t

from ansible.errors import AnsibleFilterError

NAMED = 5
# A wave of so many that is silent as a whole says more of the way there than of the devices.
MANY = 5


def release_stop(verdicts: t.Mapping[str, t.Mapping[str, str]], max_failed: t.Any, first: bool) -> str:
    found = re.fullmatch(r"(\d{1,9})(%?)", str(max_failed).strip())
    if not found or (found[2] and int(found[1]) > 100):
        raise AnsibleFilterError(
            "rollout_max_failed: %r is neither a number of devices nor a share such as 10%%" % max_failed
        )
    failed = {name: one["why"] for name, one in sorted(verdicts.items()) if one["verdict"] == "failed"}
    taken = [name for name, one in verdicts.items() if one["verdict"] == "taken"]
    tried = len(failed) + len(taken)
    allowed = 0 if first else int(found[1]) * tried // 100 if found[2] else int(found[1])
    if len(failed) > allowed:
        rule = "the first wave" if first else "rollout_max_failed: %s" % max_failed
        names = "; ".join("%s: %s" % one for one in list(failed.items())[:NAMED])
        more = " and %d more" % (len(failed) - NAMED) if len(failed) > NAMED else ""
        return "%d of %d devices failed, %d may (%s): %s%s" % (len(failed), tried, allowed, rule, names, more)
    if first and verdicts and not taken:
        names = "; ".join("%s: %s, %s" % (name, one["verdict"], one["why"]) for name, one in sorted(verdicts.items()))
        return "no device of the first wave took it, so nobody knows whether it is good: %s" % names
    if len(verdicts) >= MANY and all(one["verdict"] == "away" for one in verdicts.values()):
        return "none of the wave's %d devices answers: look at the way to them" % len(verdicts)
    return ""


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_stop": release_stop}
