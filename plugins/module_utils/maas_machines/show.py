# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The change sets as people see them: in the result and in the diff."""

from __future__ import annotations

import typing as t

from ansible_collections.edge.rack.plugins.module_utils.maas import image_name, machine_summary
from ansible_collections.edge.rack.plugins.module_utils.maas_machines import power
from ansible_collections.edge.rack.plugins.module_utils.maas_machines.plan import Plan


def visible_settings(plan: Plan) -> t.Dict[str, t.Dict[str, t.Any]]:
    shown = {name: {"before": old, "after": new} for name, (old, new) in plan.settings.items()}
    if "power_parameters" in shown:
        old, new = plan.settings["power_parameters"]
        shown["power_parameters"] = power.visible(old, new)
    if plan.tags_added or plan.tags_removed:
        before = set((plan.row or {}).get("tag_names") or ())
        shown["tags"] = {
            "before": sorted(before),
            "after": sorted((before | plan.tags_added) - plan.tags_removed),
        }
    return shown


def visible_change(plan: Plan) -> t.Dict[str, t.Any]:
    return {
        "machine": plan.name,
        "system_id": plan.system_id,
        "settings": visible_settings(plan),
        "actions": plan.actions,
    }


def visible_diff(plan: Plan) -> t.Dict[str, t.Any]:
    settings = visible_settings(plan)
    before = {name: values["before"] for name, values in settings.items()}
    after = {name: values["after"] for name, values in settings.items()}
    row = plan.row
    if row is None:
        before = {}
    summary = machine_summary(row) if row else {"status": "absent"}
    if plan.create:
        before["status"], after["status"] = "absent", "New"
    for step in plan.steps:
        if step.operation:
            before.update({name: summary.get(name) for name in step.leaves})
            after.update(step.leaves)
    if plan.actions == ["power_off", "power_on"]:
        after["power_state"] = "off, then on"
    if plan.actions and plan.actions[-1] == "deploy":
        before["image"] = image_name(row) if row else ""
        after["image"] = plan.wish.options["image"] or "(default)"
    elif plan.actions and plan.actions[-1] == "release" and row:
        before["image"], after["image"] = image_name(row), ""
    if plan.actions == ["delete"]:
        after = {}
    return {"before_header": plan.name, "after_header": plan.name, "before": before, "after": after}
