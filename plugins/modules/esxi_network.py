#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_network
short_description: Virtual switches and port groups of an ESXi host
version_added: "0.1.0"
description:
  - Makes one standard switch and its port groups as they shall be, or takes them away.
  - Nothing is done that would cut the host off. Port groups with one of the host's own (VMkernel) adapters are
    never changed or removed, and a switch that carries one keeps at least one of the uplinks it has.
  - A port group that a virtual machine uses, running or not, is not removed.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.esxi
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_esxi
options:
  state:
    description:
      - V(present) has the switch with what is given; what is not given stays as it is.
      - V(absent) has none of O(port_groups); without O(port_groups) not the switch either, nor what is on it.
    type: str
    choices: [present, absent]
    default: present
  vswitch:
    description: The name of the switch.
    type: str
    required: true
  mtu:
    description: Largest frame, 1280 to 9000. A new switch has 1500 without it.
    type: int
  ports:
    description:
      - Number of ports a new switch is set to have. That of an existing one is not changed, for the hosts have
        added ports by themselves since ESXi 5.5.
    type: int
    default: 128
  uplinks:
    description:
      - The physical adapters the switch uses, these and no others. An empty list makes a switch without a way out.
    type: list
    elements: str
    aliases: [vmnics]
  port_groups:
    description: Port groups of the switch.
    type: list
    elements: dict
    suboptions:
      name:
        description: Its name, which a host has once, whatever the switch.
        type: str
        required: true
      vlan_id:
        description: Its VLAN, V(0) for none, V(4095) for all. A new port group has V(0) without it.
        type: int
  purge_port_groups:
    description:
      - Whether port groups of the switch which are not in O(port_groups) are removed. Those with one of the host's own
        adapters stay.
    type: bool
    default: false
seealso:
  - module: edge.rack.esxi_host_info
"""

EXAMPLES = r"""
- name: The rack's network is there
  edge.rack.esxi_network:
    hostname: esxi.example.com
    username: root
    password: "{{ esxi_password }}"
    vswitch: vSwitch1
    mtu: 9000
    uplinks: [vmnic1]
    port_groups:
      - name: rack
      - name: devices
        vlan_id: 77

- name: One port group goes
  edge.rack.esxi_network:
    vswitch: vSwitch1
    port_groups:
      - name: devices
    state: absent
"""

RETURN = r"""
vswitch:
  description: The switch as it is now, or would be in check mode; null if there is none.
  type: dict
  returned: always
  contains:
    name:
      description: Name.
      type: str
      sample: vSwitch1
    mtu:
      description: Largest frame.
      type: int
      sample: 9000
    ports:
      description: Number of ports it is set to have.
      type: int
    uplinks:
      description: The physical adapters it uses.
      type: list
      elements: str
      sample: [vmnic1]
    port_groups:
      description: VLAN by port group.
      type: dict
      sample: {rack: 0, devices: 77}
changes:
  description: What was changed, or would be in check mode, in this order.
  type: list
  elements: dict
  returned: always
  contains:
    what:
      description: The setting, with the name of the port group where it is one of a port group.
      type: str
      sample: vlan_id of port group devices
    old:
      description: What it was, null if it is new.
      type: raw
    new:
      description: What it is, null if it is gone.
      type: raw
transport:
  description: By which way the host was changed, V(api) or V(ssh).
  type: str
  returned: always
transport_reason:
  description: Why that way.
  type: str
  returned: always
"""

import copy
import dataclasses
import typing as t
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.esxi.api import ApiSession, Objects, vim
from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import (
    Session,
    connection_argument_spec,
    run_with_session,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.datastores import (
    FILESYSTEMS,
    datastores_from_csv,
    split_datastore_path,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.dump import rows_of_csv, words_of_cell
from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiExists,
    EsxiNotFound,
    EsxiSettingsError,
    EsxiWrongState,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.inventory import GET_ALL_VMS, vms_in
from ansible_collections.edge.rack.plugins.module_utils.esxi.network import (
    Network,
    PortGroup,
    Switch,
    read_network,
)
from ansible_collections.edge.rack.plugins.module_utils.esxi.shell import ShellSession
from ansible_collections.edge.rack.plugins.module_utils.esxi.vmx import Vmx

Params = t.Mapping[str, t.Any]
STANDARD = ("esxcli", "network", "vswitch", "standard")


# -- What shall be ----------------------------------------------------------------------------------


def wanted(now: Network, params: Params) -> Network:
    """The network as it shall be; raises where that would cut the host off, or cannot be."""
    _check_options(params)
    name, asked = params["vswitch"], params["port_groups"] or []
    if params["state"] == "absent":
        if params["port_groups"] is None:
            return _without_switch(now, name)
        there = {group.name for group in now.groups_of(name)}
        return _without_groups(now, [group["name"] for group in asked if group["name"] in there])
    switch = _wanted_switch(now, params)
    groups = dict(now.port_groups)
    for group in asked:
        groups[group["name"]] = _wanted_group(now, name, group)
    then = dataclasses.replace(now, switches={**now.switches, name: switch}, port_groups=groups)
    if params["purge_port_groups"]:
        names = {group["name"] for group in asked}
        then = _without_groups(
            then, [g.name for g in now.groups_of(name) if g.name not in names and not now.adapters_on(g.name)]
        )
    return then


def _check_options(params: Params) -> None:
    names = [group["name"] for group in params["port_groups"] or []]
    for name in names:
        if names.count(name) > 1:
            raise EsxiSettingsError("Reading `port_groups`", "%s is there twice" % name, remedy="Name it once.")
    for group in params["port_groups"] or []:
        if group["vlan_id"] is not None and not 0 <= group["vlan_id"] <= 4095:
            raise EsxiSettingsError(
                "Reading `vlan_id` of port group %s" % group["name"],
                "%d is no VLAN" % group["vlan_id"],
                remedy="It is 0 (none) to 4094, or 4095 (all).",
            )
    if params["mtu"] is not None and not 1280 <= params["mtu"] <= 9000:
        raise EsxiSettingsError("Reading `mtu`", "%d cannot be" % params["mtu"], remedy="It is 1280 to 9000.")


def _wanted_switch(now: Network, params: Params) -> Switch:
    name = params["vswitch"]
    switch = now.switches.get(name, Switch(name, 1500, params["ports"]))
    if params["mtu"] is not None:
        switch = dataclasses.replace(switch, mtu=params["mtu"])
    if params["uplinks"] is not None:
        switch = dataclasses.replace(switch, uplinks=tuple(sorted(set(params["uplinks"]))))
        _check_uplinks(now, switch)
    return switch


def _check_uplinks(now: Network, switch: Switch) -> None:
    for nic in switch.uplinks:
        if nic not in now.nics:
            raise EsxiNotFound(
                "Looking for the adapter %s" % nic,
                "the host has no such adapter, it has %s" % ", ".join(now.nics),
                remedy="Correct `uplinks`.",
            )
        for other in now.switches.values():
            if other.name != switch.name and nic in other.uplinks:
                raise EsxiWrongState(
                    "Giving %s to vSwitch %s" % (nic, switch.name),
                    "it is an uplink of vSwitch %s" % other.name,
                    remedy="Take it out of the `uplinks` of %s first, or name another adapter." % other.name,
                )
    had = now.switches[switch.name].uplinks if switch.name in now.switches else ()
    adapters = now.adapters_of(switch.name)
    if had and adapters and not set(had) & set(switch.uplinks):
        raise EsxiWrongState(
            "Taking the uplinks %s from vSwitch %s" % (", ".join(had), switch.name),
            "that would cut the host off: its %s is reached by them" % ", ".join(adapters),
            remedy="Keep at least one of them in `uplinks`; move the host's adapter to another vSwitch by its console.",
        )


def _wanted_group(now: Network, switch: str, asked: Params) -> PortGroup:
    name, vlan_id = asked["name"], asked["vlan_id"]
    there = now.port_groups.get(name)
    if there is None:
        return PortGroup(name, switch, vlan_id or 0)
    if there.vswitch != switch:
        raise EsxiExists(
            "Making port group %s on vSwitch %s" % (name, switch),
            "vSwitch %s has it already" % there.vswitch,
            remedy="Choose another name, or remove it there first.",
        )
    if vlan_id is None or vlan_id == there.vlan_id:
        return there
    adapters = now.adapters_on(name)
    if adapters:
        raise EsxiWrongState(
            "Changing `vlan_id` of port group %s from %d to %d" % (name, there.vlan_id, vlan_id),
            "that could cut the host off: its %s is on it" % ", ".join(adapters),
            remedy="Change the management network by the host's console.",
        )
    return PortGroup(name, switch, vlan_id)


def _without_groups(now: Network, names: t.Sequence[str]) -> Network:
    for name in names:
        adapters = now.adapters_on(name)
        if adapters:
            raise EsxiWrongState(
                "Removing port group %s" % name,
                "that would cut the host off: its %s is on it" % ", ".join(adapters),
                remedy="Leave it, or move the host's adapter by its console first.",
            )
    return dataclasses.replace(now, port_groups={n: g for n, g in now.port_groups.items() if n not in names})


def _without_switch(now: Network, name: str) -> Network:
    adapters = now.adapters_of(name)
    if adapters:
        raise EsxiWrongState(
            "Removing vSwitch %s" % name,
            "that would cut the host off: its %s is on it" % ", ".join(adapters),
            remedy="Leave it, or move the host's adapter by its console first.",
        )
    then = _without_groups(now, [group.name for group in now.groups_of(name)])
    return dataclasses.replace(then, switches={n: s for n, s in now.switches.items() if n != name})


# -- The change set ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One step; `subject` is the name of the port group, of the uplink, or empty for the switch itself."""

    setting: str
    subject: str
    old: t.Any
    new: t.Any

    @property
    def what(self) -> str:
        owner = {"port_group": "port group %s", "vlan_id": "vlan_id of port group %s", "uplink": "uplink %s"}
        return owner[self.setting] % self.subject if self.setting in owner else self.setting

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"what": self.what, "old": self.old, "new": self.new}


def change_set(now: Network, then: Network, name: str) -> t.List[Change]:
    """The steps, in the order in which they can be taken."""
    before, after = now.switches.get(name), then.switches.get(name)
    gone = [g for n, g in sorted(now.port_groups.items()) if n not in then.port_groups]
    changes = [Change("port_group", group.name, {"vlan_id": group.vlan_id}, None) for group in gone]
    if after is None:
        if before is not None:
            changes.append(Change("vswitch", "", _shown_switch(before), None))
        return changes
    base = before
    if base is None:
        base = Switch(name, 1500, after.ports)
        changes.append(Change("vswitch", "", None, _shown_switch(base)))
    if base.mtu != after.mtu:
        changes.append(Change("mtu", "", base.mtu, after.mtu))
    # New ones first, so that the switch is never without.
    changes += [Change("uplink", nic, None, nic) for nic in after.uplinks if nic not in base.uplinks]
    changes += [Change("uplink", nic, nic, None) for nic in base.uplinks if nic not in after.uplinks]
    for group_name, group in sorted(then.port_groups.items()):
        there = now.port_groups.get(group_name)
        if there is None:
            changes.append(Change("port_group", group_name, None, {"vlan_id": group.vlan_id}))
        elif there.vlan_id != group.vlan_id:
            changes.append(Change("vlan_id", group_name, there.vlan_id, group.vlan_id))
    return changes


def _shown_switch(switch: Switch) -> t.Dict[str, t.Any]:
    return dict(dataclasses.asdict(switch), uplinks=list(switch.uplinks))


def shown(network: Network, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The switch for the result and the diff."""
    if name not in network.switches:
        return None
    groups = {group.name: group.vlan_id for group in network.groups_of(name)}
    return dict(_shown_switch(network.switches[name]), port_groups=groups)


# -- Who uses a port group --------------------------------------------------------------------------


def refuse_used(session: Session, changes: t.Sequence[Change]) -> None:
    """Raises EsxiWrongState, which names the virtual machines on the port groups that shall go."""
    names = [change.subject for change in changes if change.setting == "port_group" and change.new is None]
    if not names:
        return
    users = users_by_api(session) if isinstance(session, ApiSession) else users_by_ssh(session)
    used = {name: users[name] for name in names if name in users}
    if used:
        raise EsxiWrongState(
            "Removing port group %s" % ", ".join(used),
            "; ".join("%s is used by %s" % (name, ", ".join(sorted(vms))) for name, vms in used.items()),
            remedy="Give these virtual machines another port group (`networks` of esxi_vm) first.",
        )


def users_by_api(session: ApiSession) -> t.Dict[str, t.Set[str]]:
    rows = session.read_all(
        "who uses the networks", Objects(vim.Network, ("name",)), Objects(vim.VirtualMachine, ("name", "network"))
    )
    users = {}  # type: t.Dict[str, t.Set[str]]
    for obj, row in rows.items():
        if isinstance(obj, vim.VirtualMachine):
            for network in row.get("network") or []:
                users.setdefault(rows.get(network, {}).get("name", ""), set()).add(row["name"])
    return users


def users_by_ssh(session: ShellSession) -> t.Dict[str, t.Set[str]]:
    """From the .vmx files: the host's own count leaves out virtual machines that are off."""
    listing, filesystems = session.run_all(GET_ALL_VMS, FILESYSTEMS)
    vms = vms_in(listing)
    datastores = datastores_from_csv(filesystems.checked())
    places = []
    for vm in vms:
        datastore, path = split_datastore_path(vm.path)
        if datastore in datastores:
            places.append((vm.name, datastores[datastore].host_path(path)))
    users = {}  # type: t.Dict[str, t.Set[str]]
    if places:
        outputs = session.run_all(*(("grep", "-i", "^ethernet", place) for _name, place in places))
        for index, (name, _place) in enumerate(places):
            for network in _networks_in(outputs[index].text):
                users.setdefault(network, set()).add(name)
    return users


def _networks_in(lines: str) -> t.List[str]:
    vmx = Vmx.parse(lines)
    return [network for network in (vmx.get("ethernet%d.networkName" % n) for n in range(10)) if network]


# -- Applying ---------------------------------------------------------------------------------------


def apply_by_api(session: ApiSession, now: Network, switch: str, changes: t.Sequence[Change]) -> None:
    """Settings of the switch itself go in one call."""
    manager = now.manager
    for change in changes:
        if change.setting == "port_group" and change.new is None:
            session.call("Removing %s" % change.what, manager.RemovePortGroup, change.subject)
    spec = now.specs.get(switch)
    if any(c.setting == "vswitch" and c.new is None for c in changes):
        session.call("Removing vSwitch %s" % switch, manager.RemoveVirtualSwitch, switch)
        return
    own = [change for change in changes if change.setting in ("vswitch", "mtu", "uplink")]
    if own and spec is None:
        session.call("Making vSwitch %s" % switch, manager.AddVirtualSwitch, switch, _new_spec(own))
    elif own:
        session.call("Changing vSwitch %s" % switch, manager.UpdateVirtualSwitch, switch, _changed_spec(spec, own))
    for change in changes:
        asked = "Setting %s" % change.what
        if change.setting == "port_group" and change.new is not None:
            spec = vim.host.PortGroup.Specification(
                name=change.subject,
                vlanId=change.new["vlan_id"],
                vswitchName=switch,
                policy=vim.host.NetworkPolicy(),
            )
            session.call(asked, manager.AddPortGroup, spec)
        elif change.setting == "vlan_id":
            spec = copy.deepcopy(now.group_specs[change.subject])
            spec.vlanId = change.new
            session.call(asked, manager.UpdatePortGroup, change.subject, spec)


def _new_spec(changes: t.Sequence[Change]) -> t.Any:
    spec = vim.host.VirtualSwitch.Specification()
    for change in changes:
        if change.setting == "vswitch":
            spec.numPorts, spec.mtu = change.new["ports"], change.new["mtu"]
    return _changed_spec(spec, changes)


def _changed_spec(spec: t.Any, changes: t.Sequence[Change]) -> t.Any:
    spec = copy.deepcopy(spec)
    uplinks = list(getattr(spec.bridge, "nicDevice", None) or [])
    added = [c.new for c in changes if c.setting == "uplink" and c.new]
    removed = [c.old for c in changes if c.setting == "uplink" and c.old]
    for change in changes:
        if change.setting == "mtu":
            spec.mtu = change.new
    if added or removed:
        uplinks = [nic for nic in uplinks if nic not in removed] + added
        if not uplinks:
            spec.bridge = None
        elif isinstance(spec.bridge, vim.host.VirtualSwitch.BondBridge):
            spec.bridge.nicDevice = uplinks
        else:
            spec.bridge = vim.host.VirtualSwitch.BondBridge(nicDevice=uplinks)
        order = getattr(getattr(spec.policy, "nicTeaming", None), "nicOrder", None)
        if order is not None:
            # An adapter that is in neither list is not used.
            order.activeNic = [nic for nic in order.activeNic or [] if nic not in removed] + added
            order.standbyNic = [nic for nic in order.standbyNic or [] if nic not in removed]
    return spec


def apply_by_ssh(session: ShellSession, switch: str, changes: t.Sequence[Change]) -> None:
    on = "--vswitch-name=%s" % switch
    added = [change.new for change in changes if change.setting == "uplink" and change.new]
    for change in changes:
        if change.setting == "uplink" and change.old and added:
            # The new ones work before an old one goes.
            _use_uplinks(session, on, added)
            added = []
        for command in _commands(on, change):
            error = session.run(*command, asked="Setting %s of vSwitch %s" % (change.what, switch)).error
            if error is not None:
                raise error
    if added:
        _use_uplinks(session, on, added)


def _commands(on: str, change: Change) -> t.List[t.Tuple[str, ...]]:
    """The host's commands for one change; words with `=`, for names may begin with a dash."""
    group = "--portgroup-name=%s" % change.subject
    if change.setting == "vswitch":
        if change.new is None:
            return [(*STANDARD, "remove", on)]
        return [(*STANDARD, "add", on, "--ports=%d" % change.new["ports"])]
    if change.setting == "mtu":
        return [(*STANDARD, "set", on, "--mtu=%d" % change.new)]
    if change.setting == "uplink":
        return [(*STANDARD, "uplink", "add" if change.new else "remove", on, "--uplink-name=%s" % change.subject)]
    if change.setting == "vlan_id":
        return [(*STANDARD, "portgroup", "set", group, "--vlan-id=%d" % change.new)]
    if change.new is None:
        return [(*STANDARD, "portgroup", "remove", on, group)]
    added = [(*STANDARD, "portgroup", "add", on, group)]  # type: t.List[t.Tuple[str, ...]]
    if change.new["vlan_id"]:
        added.append((*STANDARD, "portgroup", "set", group, "--vlan-id=%d" % change.new["vlan_id"]))
    return added


def _use_uplinks(session: ShellSession, on: str, added: t.Sequence[str]) -> None:
    """An uplink that was added may stand in neither list of the failover order, and then it is not used."""
    failover = (*STANDARD, "policy", "failover")
    text = session.run("esxcli", "--formatter=csv", *failover[1:], "get", on).checked()
    row = rows_of_csv(text)[0] if rows_of_csv(text) else {}
    active, standby = (words_of_cell(row.get(name, "")) for name in ("ActiveAdapters", "StandbyAdapters"))
    unused = [nic for nic in added if nic not in active + standby]
    if unused:
        session.run(*failover, "set", on, "--active-uplinks=%s" % ",".join([*active, *unused])).checked()


def work(module: AnsibleModule, session: Session) -> t.Dict[str, t.Any]:
    name = module.params["vswitch"]
    now = read_network(session)
    then = wanted(now, module.params)
    changes = change_set(now, then, name)
    refuse_used(session, changes)
    result = {
        "changed": bool(changes),
        "changes": [change.as_result() for change in changes],
        "vswitch": shown(then, name),
        "diff": {"before": shown(now, name) or {}, "after": shown(then, name) or {}},
    }
    if changes:
        session.require_writes()
    if not changes or module.check_mode:
        return result
    if isinstance(session, ApiSession):
        apply_by_api(session, now, name, changes)
    else:
        apply_by_ssh(session, name, changes)
    left = change_set(read_network(session), then, name)
    if left:
        raise EsxiError(
            "Changing vSwitch %s" % name,
            "the host took the change, but this is not as asked: %s" % ", ".join(change.what for change in left),
        )
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "vswitch": {"type": "str", "required": True},
            "mtu": {"type": "int"},
            "ports": {"type": "int", "default": 128},
            "uplinks": {"type": "list", "elements": "str", "aliases": ["vmnics"]},
            "port_groups": {
                "type": "list",
                "elements": "dict",
                "options": {"name": {"type": "str", "required": True}, "vlan_id": {"type": "int"}},
            },
            "purge_port_groups": {"type": "bool", "default": False},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_session(module, work)


if __name__ == "__main__":
    main()
