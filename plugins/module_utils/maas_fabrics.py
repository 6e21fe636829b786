# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fabrics and their VLANs, as people name them."""

from __future__ import annotations

import typing as t

Row = t.Dict[str, t.Any]


class FabricError(Exception):
    """There is no such fabric or VLAN; the message says which there are."""


def find_fabric(fabrics: t.List[Row], wanted: t.Optional[str]) -> Row:
    """A fabric by name or number; without either the only one, or ``fabric-0``."""
    if wanted is None:
        if len(fabrics) == 1:
            return fabrics[0]
        wanted = "fabric-0"
    for fabric in fabrics:
        if wanted in (fabric["name"], str(fabric["id"])):
            return fabric
    listed = ", ".join(fabric["name"] for fabric in fabrics)
    raise FabricError("MAAS has no fabric %s. Correct `fabric`: there is %s." % (wanted, listed))


def find_vlan(fabric: Row, vid: int) -> t.Optional[Row]:
    """A VLAN by its tag."""
    return next((vlan for vlan in fabric["vlans"] if vlan["vid"] == vid), None)


def require_vlan(fabric: Row, vid: int) -> Row:
    """The same, or an error with the tags that there are."""
    vlan = find_vlan(fabric, vid)
    if vlan is None:
        listed = ", ".join(str(vlan["vid"]) for vlan in fabric["vlans"])
        raise FabricError(
            "The fabric %s has no VLAN %d, it has %s. Correct `vid`, or make it with maas_vlan first."
            % (fabric["name"], vid, listed)
        )
    return vlan
