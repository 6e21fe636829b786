#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_prune
short_description: Remove images from the rack's registry that nothing needs
version_added: "0.1.0"
description:
  - Runs the clean-up of role P(edge.rack.registry#role), on the registry's own machine.
  - Kept is what a release in force names, what the last O(keep_releases) releases name, what devices report as running
    or kept for rollback, what was pushed lately, the images of kept indexes, the base of kept images, and what is
    attached to a kept image. A device that is offline keeps what it reported last.
  - The rest is deleted by digest; garbage is collected while the registry is read-only; then every kept manifest and
    blob is read back and checked against its digest. The module fails if one is missing or damaged.
  - Nothing is deleted if a record cannot be read, or if something that a release needs is not there.
  - If a device needs an image that is not there, the rest is cleaned, and the module fails. So it does if a device's
    report cannot be read and an earlier one could, which then counts.
  - Pushes are refused meanwhile (429) and are to be repeated. Pulls go on, but for three restarts of a second.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.attributes
options:
  settings:
    description: The clean-up's settings, which the role writes.
    type: path
    default: /etc/edge-registry/clean.json
  keep_releases:
    description: How many releases are kept, the one in force included; the settings say it if it is not set.
    type: int
  keep_pushed_seconds:
    description: How long an image is kept after it was pushed; the settings say it if it is not set.
    type: float
  wait_seconds:
    description: How long to wait for a clean-up, a backup or a restore that is under way; in check mode 30 at least.
    type: float
    default: 0
notes:
  - Runs as root on the registry's machine. Check mode is the dry run.
seealso:
  - module: edge.rack.registry_image_info
"""

EXAMPLES = r"""
- name: What would go is known
  edge.rack.registry_prune:
  check_mode: true
  diff: true
  become: true

- name: What nothing needs is gone
  edge.rack.registry_prune:
    wait_seconds: 600
  become: true
"""

RETURN = r"""
kept:
  description: The images that stay.
  type: list
  elements: dict
  returned: always
  contains: &image
    repository:
      description: Repository.
      type: str
    digest:
      description: Digest of the manifest or index.
      type: str
    tags:
      description: Its tags, none for an untagged one.
      type: list
      elements: str
    size_bytes:
      description: Bytes of manifest, configuration and layers.
      type: int
    pushed:
      description: When it was pushed, in seconds since 1970.
      type: float
    rules:
      description: The rules that keep it, or the reason why it goes.
      type: list
      elements: str
      sample: ["release 2026.11 (in force): worker", "device nuc-001 runs it"]
dropped:
  description: The images that are gone, in check mode that would go.
  type: list
  elements: dict
  returned: always
  contains: *image
freed_bytes:
  description: Bytes that were freed, in check mode that would be.
  type: int
  returned: always
verified:
  description: What was read back and checked.
  type: dict
  returned: not in check mode
  contains:
    manifests:
      description: How many manifests and indexes.
      type: int
    blobs:
      description: How many blobs.
      type: int
    bytes:
      description: Their bytes.
      type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.registry import clean
from ansible_collections.edge.rack.plugins.module_utils.registry.module import run
from ansible_collections.edge.rack.plugins.module_utils.registry.program import (
    STOPPED,
    Stopped,
    line,
    plan_result,
    stop_in_order,
)
from ansible_collections.edge.rack.plugins.module_utils.registry.settings import Settings

Row = t.Dict[str, t.Any]


def work(module: AnsibleModule) -> Row:
    params = module.params
    settings = Settings.load(
        params["settings"], keep_releases=params["keep_releases"], keep_pushed_seconds=params["keep_pushed_seconds"]
    )
    if module.check_mode:
        plan = clean.make_plan(settings, max(params["wait_seconds"], clean.PLAN_WAIT_SECONDS))
        plan.require_complete()
        plan.require_devices()
        result = plan_result(plan)
        changed, freed = plan.has_work, result["frees_bytes"] if plan.has_work else 0
    else:
        result = clean.clean(settings, params["wait_seconds"])
        changed, freed = result["changed"], result["freed_bytes"]
    answer = {
        "changed": changed,
        "kept": result["kept"],
        "dropped": result["dropped"],
        "freed_bytes": freed,
        "diff": difference(result["dropped"]),
    }
    if "verified" in result:
        answer["verified"] = result["verified"]
    return answer


def difference(dropped: t.Sequence[Row]) -> Row:
    """What goes, each line with its reason."""
    lines = [line("image", image) + "\n" for image in dropped]
    return {"before": "".join(lines), "after": ""}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "path", "default": "/etc/edge-registry/clean.json"},
            "keep_releases": {"type": "int"},
            "keep_pushed_seconds": {"type": "float"},
            "wait_seconds": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    stop_in_order()
    try:
        run(module, lambda: work(module))
    except Stopped:
        module.fail_json(msg=STOPPED)


if __name__ == "__main__":
    main()
