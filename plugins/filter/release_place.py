# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_place
short_description: Which wave of a rollout a device is in, and whether it may take the release
version_added: 0.1.0
description:
  - Reads C(edge_rollout), which C(edge.rack.release) writes beside the release file. Every device asks it
    for itself.
  - A device that no wave names came later, and is of the last one.
  - Waves are of one release. A device whose C(edge_release) is another one (a pin of the device or its group, or a
    release that somebody committed without waves) is in none, and takes what its C(edge_release) says.
options:
  _input:
    description: C(edge_rollout); empty where there is none.
    type: dict
    required: true
  device:
    description: Name of the device.
    type: str
    required: true
  release:
    description: C(edge_release) of the device.
    type: dict
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
place: "{{ edge_rollout | default({}) | edge.rack.release_place(inventory_hostname, edge_release) }}"
# => {"wave": 2, "of": 3, "held": true}
"""

RETURN = r"""
_value:
  description:
    - C(wave) counts from 1 and is 0 where the device is in none, C(of) is the number of waves. C(held) says that the
      wave is not open yet, so that the device keeps C(edge_rollout.before).
  type: dict
"""

import datetime
import typing as t


def release_place(rollout: t.Mapping[str, t.Any], device: str, release: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    if not rollout or release != rollout["to"]:
        return {"wave": 0, "of": 0, "held": False}
    waves = rollout["waves"]
    wave = next((number for number, names in enumerate(waves, 1) if device in names), len(waves))
    is_open = wave <= int(rollout["open"]) or _time_has_come(rollout.get("opens") or [], wave)
    return {"wave": wave, "of": len(waves), "held": not is_open}


def _time_has_come(opens: t.Sequence[str], wave: int) -> bool:
    """Waves that open by the clock; a time is in UTC, such as 2026-12-01T02:00:00Z (RFC 3339)."""
    if wave > len(opens):
        return False
    at = datetime.datetime.fromisoformat(str(opens[wave - 1]).replace("Z", "+00:00"))
    return datetime.datetime.now(datetime.timezone.utc) >= at


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_place": release_place}
