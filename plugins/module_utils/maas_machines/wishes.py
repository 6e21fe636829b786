# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machines a task means: by name, id or MAC address, or so many that fulfil constraints."""

from __future__ import annotations

import collections
import typing as t
from dataclasses import dataclass

from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    Machine,
    Status,
    image_name,
    mac_addresses,
)

SELECTORS = ("hostname", "system_id", "mac_address")
SETTINGS = ("name", "power_type", "power_parameters", "pool", "zone", "description")
PER_MACHINE = (*SETTINGS, "architecture", "tags", "image", "kernel", "user_data")

# Our name of a constraint -> the region's filter of a list request.
CONSTRAINTS = {
    "tags": "tags",
    "not_tags": "not_tags",
    "pool": "pool",
    "zone": "zone",
    "architecture": "arch",
    "cpu_count": "cpu_count",
    "memory_mib": "mem",
}


@dataclass(frozen=True)
class Wish:
    """One machine as the task wants it."""

    selector: str
    value: str
    options: t.Dict[str, t.Any]

    def __str__(self) -> str:
        return self.value if self.selector == "hostname" else "%s %s" % (self.selector, self.value)

    def matches(self, row: Machine) -> bool:
        if self.selector == "hostname":
            return self.value.lower() in (row["hostname"].lower(), (row.get("fqdn") or "").lower())
        if self.selector == "system_id":
            return self.value == row["system_id"]
        return self.value in mac_addresses(row)


def wishes(params: t.Dict[str, t.Any]) -> t.List[Wish]:
    common = {name: params[name] for name in PER_MACHINE}
    return [_wish(entry, common) for entry in (params["machines"] if params["machines"] is not None else [params])]


def _wish(entry: t.Dict[str, t.Any], common: t.Dict[str, t.Any]) -> Wish:
    selector = next(name for name in SELECTORS if entry[name])
    value = entry[selector].strip()
    options = {name: common[name] if entry[name] is None else entry[name] for name in PER_MACHINE}
    if common["tags"] is not None and entry["tags"] is not None:
        options["tags"] = sorted({*common["tags"], *entry["tags"]})
    if common["power_parameters"] is not None and entry["power_parameters"] is not None:
        options["power_parameters"] = {**common["power_parameters"], **entry["power_parameters"]}
    return Wish(selector, value.lower().replace("-", ":") if selector == "mac_address" else value, options)


def image_is(row: Machine, wanted: t.Optional[str]) -> bool:
    return not wanted or wanted in (image_name(row), row.get("distro_series"))


def choose(client: MaasClient, params: t.Dict[str, t.Any]) -> t.Tuple[t.List[Machine], t.Optional[str]]:
    """The machines that fulfil the constraints, those that are as wanted first; or why there are too few.

    One list request. MAAS's own ``allocate`` would take them one by one, and could not be asked in check mode for
    more than one.
    """
    given = params["constraints"]
    filters = {theirs: given[ours] for ours, theirs in CONSTRAINTS.items() if given[ours]}
    rows = sorted(client.read_machines(**filters), key=lambda row: row["hostname"])
    there = [row for row in rows if _is_there(row, params["image"])]
    free = [row for row in rows if row["status"] == Status.READY]
    count = given["count"]
    if len(there) + len(free) >= count:
        return (there + free)[:count], None
    rest = collections.Counter(row["status_name"] for row in rows if row not in there and row not in free)
    others = ", ".join("%d %s" % (number, name) for name, number in sorted(rest.items()))
    return [], (
        "%d machines are wanted and %d fulfil the constraints: %d deployed, %d Ready%s. Lower `count`, loosen the"
        " constraints, or commission more (`state: ready`)."
        % (
            count,
            len(there) + len(free),
            len(there),
            len(free),
            "; not to be had: " + others if others else "",
        )
    )


def _is_there(row: Machine, image: t.Optional[str]) -> bool:
    return row["status"] in (Status.DEPLOYED, Status.DEPLOYING) and image_is(row, image)
