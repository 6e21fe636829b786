# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_waves
short_description: In which waves devices take a release
version_added: 0.1.0
description:
  - Cuts a list of devices into waves, the canaries first. Used by C(edge.rack.release).
options:
  _input:
    description: Names of the devices.
    type: list
    elements: str
    required: true
  canaries:
    description: Names of the devices of the first wave, or how many of the list are; V(0) is none.
    type: raw
    required: true
  size:
    description: Devices of each further wave, as a number or as a share of all devices such as V(25%).
    type: raw
    required: true
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
waves: "{{ ['nuc-001', 'nuc-002', 'nuc-003', 'nuc-004'] | edge.rack.release_waves(canaries=1, size='50%') }}"
# => [["nuc-001"], ["nuc-002", "nuc-003"], ["nuc-004"]]
"""

RETURN = r"""
_value:
  description: The waves, each a list of names; no device is in two of them.
  type: list
  elements: list
"""

import re
import typing as t

from ansible.errors import AnsibleFilterError


def release_waves(devices: t.Iterable[str], canaries: t.Any, size: t.Any) -> t.List[t.List[str]]:
    ordered = sorted(devices)
    if isinstance(canaries, (list, tuple)):
        first = [name for name in ordered if name in canaries]
        if canaries and not first:
            raise AnsibleFilterError("rollout_canaries: none of %s is a device of this release" % ", ".join(canaries))
    else:
        first = ordered[: _number("rollout_canaries", canaries, len(ordered), least=0)]
    rest = [name for name in ordered if name not in first]
    step = _number("rollout_wave_size", size, len(ordered), least=1)
    return ([first] if first else []) + [rest[at : at + step] for at in range(0, len(rest), step)]


def _number(field: str, value: t.Any, whole: int, least: int) -> int:
    """A number, or a share of the whole, rounded up."""
    found = re.fullmatch(r"(\d{1,9})(%?)", str(value).strip())
    if not found or int(found[1]) < least or (found[2] and int(found[1]) > 100):
        raise AnsibleFilterError(
            "%s: %r is neither a number of devices, %d or more, nor a share such as 25%%" % (field, value, least)
        )
    return max(least, -(-int(found[1]) * whole // 100)) if found[2] else int(found[1])


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_waves": release_waves}
