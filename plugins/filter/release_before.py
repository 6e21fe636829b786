# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: release_before
short_description: What devices keep while waves of a release are closed that was committed by hand
version_added: 0.1.0
description:
  - Judges as the devices themselves do (C(edge-trust wave)), from the controller's own history of the site.
options:
  _input:
    description: RV(edge.rack.release_info#module:releases) of M(edge.rack.release_info).
    type: list
    elements: dict
    required: true
  policy:
    description: C(edge_release_waves); empty where the site has none.
    type: dict
    required: true
  rollout:
    description: C(edge_rollout), which C(edge.rack.release) wrote; empty where there is none.
    type: dict
    default: {}
author:
  - The edge.rack engineers (@edge-rack)
"""

EXAMPLES = r"""
before: "{{ site.releases | edge.rack.release_before(edge_release_waves | default({}), edge_rollout | default({})) }}"
# => {"name": "2026.11", "images": {...}}
"""

RETURN = r"""
_value:
  description: The release; empty once all waves are open, and where nothing was released before.
  type: dict
"""

import datetime
import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.edge.rack.roles.trust.files.edge_trust import waves


def release_before(
    releases: t.Iterable[t.Mapping[str, t.Any]],
    policy: t.Mapping[str, t.Any],
    rollout: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    commits = [(one["release"], _seconds(one["at"])) for one in releases if waves.names_digests(one["release"])]
    if not policy or not commits:
        return {}
    try:
        parsed = waves.Policy.parse(dict(policy))
    except waves.PolicyError as error:
        raise AnsibleFilterError("edge_release_waves: %s" % error) from error
    if rollout and rollout["to"] == commits[0][0]:
        return {}
    found = waves.rollout(commits, parsed, time.time(), rollout)
    return dict(found.before) if found else {}


def _seconds(at: str) -> float:
    return datetime.datetime.fromisoformat(at).timestamp()


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_before": release_before}
