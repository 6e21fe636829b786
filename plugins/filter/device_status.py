# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: device_status
short_description: How devices stand, from what each of them answered
version_added: 0.1.0
description:
  - Makes one row for each device of what C(edge-converge status --json) said there, and of what the inventory wants.
  - The playbook C(edge.rack.status) shows these rows and writes them to a file.
options:
  _input:
    description: Names of the devices.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars); the answer of a device is its C(status_answer).
    type: dict
    required: true
seealso:
  - plugin: edge.rack.device_status_table
    plugin_type: filter
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
rows: "{{ groups['devices'] | edge.rack.device_status(hostvars) }}"
# => [{"device": "nuc-001", "pinned": "2026.11", "running": "2026.11", "outcome": "ok", "by": "pull",
#      "ended": "2026-11-29T02:31:07Z", "pushed": "2026-11-29T01:58:40Z", "fault": "", ...}]
"""

RETURN = r"""
_value:
  description:
    - One mapping for each device. C(outcome) is C(ok), C(corrective) (drift was put back), C(changed) (a change that
      was asked for), C(waiting), C(failed), C(refused), C(interrupted), C(never) or C(silent) (it did not answer).
    - C(power) is what MAAS saw last, out of C(on), C(off), C(unknown) and C(error).
    - C(shelf) and C(slot) are the variables C(edge_shelf) and C(edge_slot), else the numbers of MAAS tags such as
      C(shelf-2) and C(slot-7), of three digits at most; without either they are left out.
    - C(own_release) says that its group or itself has an C(edge_release) that is not the site's; C(held) that a release
      goes out in C(waves) and the device's C(wave) is not open yet.
  type: list
  elements: dict
"""

import time
import typing as t

from ansible_collections.edge.rack.plugins.filter.release_place import release_place
from ansible_collections.edge.rack.plugins.plugin_utils.answers import answer


def device_status(devices: t.Iterable[str], hostvars: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    site = hostvars["localhost"].get("edge_release") if "localhost" in hostvars else None
    return [_row(device, hostvars[device], site) for device in sorted(devices)]


def _row(device: str, about: t.Mapping[str, t.Any], site: t.Any) -> t.Dict[str, t.Any]:
    told, fault = _answer(about.get("status_answer"))
    last = told.get("last") or {}
    release = about.get("edge_release") or {}
    place = release_place(about.get("edge_rollout") or {}, device, release)
    if not place["wave"] and told.get("waits"):
        # By the site's policy, of which the device alone keeps count.
        place = {**told["waits"], "held": True}
    return {
        "device": device,
        "address": about.get("ansible_host", ""),
        "maas_status": about.get("maas_status", ""),
        "power": about.get("maas_power_state") or "",
        "pinned": release.get("name", ""),
        "own_release": bool(site) and release != site,
        "wave": place["wave"],
        "waves": place["of"],
        "held": place["held"],
        "running": told.get("release", ""),
        "outcome": "silent" if fault else last.get("outcome", "never"),
        "by": last.get("mode", ""),
        "ended": _time(last),
        "pushed": _time(told.get("last_push") or {}),
        "commit": last.get("commit", ""),
        "changes": last.get("changed", 0),
        "offline": last.get("offline", ""),
        "fault": fault or last.get("error", ""),
        "paused": bool(told.get("paused")),
        "deferred": told.get("deferred", []),
        "containers": told.get("containers", {}),
        "disk_free_percent": told.get("disk_free_percent"),
        "reports_waiting": told.get("reports_waiting", 0),
        **_where(about),
    }


def _where(about: t.Mapping[str, t.Any]) -> t.Dict[str, int]:
    """Shelf and slot, as far as the site's variables say so, or MAAS's tags."""
    found = {}
    for name in ("shelf", "slot"):
        tagged = [tag[len(name) + 1 :] for tag in about.get("maas_tags") or [] if tag.startswith(name + "-")]
        number = str(about.get("edge_" + name, tagged[0] if tagged else ""))
        if number.isdecimal() and len(number) <= 3:
            found[name] = int(number)
    return found


def _answer(result: t.Optional[t.Mapping[str, t.Any]]) -> t.Tuple[t.Dict[str, t.Any], str]:
    if not result or result.get("skipped"):
        return {}, "it was not asked: MAAS does not call it Deployed"
    told, silence = answer(result)
    return told, " ".join(silence.split())[:300]


def _time(event: t.Mapping[str, t.Any]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event["ended"])) if event.get("ended") else ""


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"device_status": device_status}
