# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's standard switches, their port groups, and the host's own adapters on them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, Properties, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import (
    number_of_cell,
    rows_of_csv,
    words_of_cell,
)

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import Session

SWITCHES = ("esxcli", "--formatter=csv", "network", "vswitch", "standard", "list")
PORT_GROUPS = ("esxcli", "--formatter=csv", "network", "vswitch", "standard", "portgroup", "list")
INTERFACES = ("esxcli", "--formatter=csv", "network", "ip", "interface", "list")
NICS = ("esxcli", "--formatter=csv", "network", "nic", "list")
TABLES = (SWITCHES, PORT_GROUPS, INTERFACES, NICS)
PROPERTIES = (
    "config.network.vswitch",
    "config.network.portgroup",
    "config.network.vnic",
    "config.network.pnic",
    "configManager.networkSystem",
)


@dataclass(frozen=True)
class Switch:
    name: str
    mtu: int
    ports: int
    uplinks: t.Tuple[str, ...] = ()


@dataclass(frozen=True)
class PortGroup:
    name: str
    vswitch: str
    vlan_id: int


@dataclass(frozen=True)
class Network:
    switches: t.Dict[str, Switch] = field(default_factory=dict)
    port_groups: t.Dict[str, PortGroup] = field(default_factory=dict)
    """By name: a host has each name once, on whichever switch."""
    adapters: t.Dict[str, str] = field(default_factory=dict)
    """VMkernel adapter, such as vmk0, -> its port group: by these the host itself is reached."""
    nics: t.Tuple[str, ...] = ()
    specs: t.Dict[str, t.Any] = field(default_factory=dict, compare=False, repr=False)
    """The API's specification of each switch, for a change has to give all of it again."""
    group_specs: t.Dict[str, t.Any] = field(default_factory=dict, compare=False, repr=False)
    """And of each port group."""
    manager: t.Any = field(default=None, compare=False, repr=False)
    """The API's object which changes networks."""

    def groups_of(self, switch: str) -> t.List[PortGroup]:
        return [group for group in self.port_groups.values() if group.vswitch == switch]

    def adapters_of(self, switch: str) -> t.List[str]:
        """The host's own adapters on a switch, `vmk0 (Management Network)`."""
        names = {group.name for group in self.groups_of(switch)}
        return ["%s (%s)" % (vmk, group) for vmk, group in sorted(self.adapters.items()) if group in names]

    def adapters_on(self, port_group: str) -> t.List[str]:
        return sorted(vmk for vmk, group in self.adapters.items() if group == port_group)


def read_network(session: Session) -> Network:
    """One exchange with the host."""
    if isinstance(session, ApiSession):
        return network_of(session.read_all("the networks", Objects(vim.HostSystem, PROPERTIES)))
    return network_from_csv(*(output.checked() for output in session.run_all(*TABLES)))


def network_of(rows: t.Mapping[t.Any, Properties]) -> Network:
    """From the properties PROPERTIES of the host, which is among the rows."""
    host = next((row for obj, row in rows.items() if isinstance(obj, vim.HostSystem)), {})
    switches = {}
    for row in host.get("config.network.vswitch") or []:
        uplinks = getattr(row.spec.bridge, "nicDevice", None) or []
        mtu = row.mtu or row.spec.mtu or 1500
        switches[row.name] = Switch(row.name, mtu, row.spec.numPorts or row.numPorts or 0, tuple(sorted(uplinks)))
    groups = {}
    for row in host.get("config.network.portgroup") or []:
        groups[row.spec.name] = PortGroup(row.spec.name, row.spec.vswitchName, row.spec.vlanId)
    return Network(
        switches,
        groups,
        {row.device: row.portgroup or "" for row in host.get("config.network.vnic") or []},
        tuple(sorted(row.device for row in host.get("config.network.pnic") or [])),
        {row.name: row.spec for row in host.get("config.network.vswitch") or []},
        {row.spec.name: row.spec for row in host.get("config.network.portgroup") or []},
        host.get("configManager.networkSystem"),
    )


def network_from_csv(switches: str, port_groups: str, interfaces: str, nics: str) -> Network:
    """From what TABLES print."""
    return Network(
        {
            row["Name"]: Switch(
                row["Name"],
                number_of_cell(row.get("MTU")),
                number_of_cell(row.get("ConfiguredPorts")),
                tuple(sorted(words_of_cell(row.get("Uplinks", "")))),
            )
            for row in rows_of_csv(switches)
        },
        {
            row["Name"]: PortGroup(row["Name"], row.get("VirtualSwitch", ""), number_of_cell(row.get("VLANID")))
            for row in rows_of_csv(port_groups)
        },
        {row["Name"]: row.get("Portgroup", "") for row in rows_of_csv(interfaces)},
        tuple(sorted(row["Name"] for row in rows_of_csv(nics))),
    )
