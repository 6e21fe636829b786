#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_subnet
short_description: Manage subnets and their IP ranges in MAAS
version_added: "0.1.0"
description:
  - Makes, changes and deletes a subnet with its gateway, its DNS servers and its dynamic and reserved ranges.
  - What is not given stays as it is.
  - Ranges that overlap, lie outside of the subnet or end before they start are refused by name before anything is sent.
    A range that is replaced is moved in place, so that DHCP always has a dynamic range.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) deletes the subnet with its ranges.
    type: str
    choices: [present, absent]
    default: present
  cidr:
    description: The subnet, such as V(10.77.0.0/24).
    type: str
    required: true
  name:
    description: The name. A new subnet without one is named by its O(cidr).
    type: str
  fabric:
    description:
      - The fabric of its VLAN, by name or number.
      - If not set, a subnet stays where it is; a new one comes to the only fabric that there is, or else V(fabric-0).
    type: str
  vid:
    description:
      - The tag of its VLAN, V(0) for the untagged one.
      - If not set, a subnet stays where it is, and a new one is untagged.
    type: int
  gateway:
    description: The default gateway of the machines. An empty text takes it away.
    type: str
  dns_servers:
    description: DNS servers for the machines, in this order. An empty list leaves them to MAAS's own.
    type: list
    elements: str
  managed:
    description: Whether MAAS gives out addresses of this subnet.
    type: bool
  allow_dns:
    description: Whether MAAS resolves names for the machines of this subnet.
    type: bool
  description:
    description: What the subnet is for.
    type: str
  ranges:
    description: IP ranges that the subnet should have.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - MAAS's DHCP gives out the addresses of a V(dynamic) range, to machines that enlist and commission.
          - MAAS gives nobody an address of a V(reserved) range.
        type: str
        choices: [dynamic, reserved]
        required: true
      start:
        description: The first address.
        type: str
        required: true
      end:
        description: The last address.
        type: str
        required: true
      comment:
        description: What the range is for.
        type: str
  ranges_purge:
    description: Whether ranges that are not in O(ranges) are removed.
    type: bool
    default: false
seealso:
  - module: edge.rack.maas_vlan
"""

EXAMPLES = r"""
- name: MAAS knows the rack's network
  edge.rack.maas_subnet:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    cidr: 10.77.0.0/24
    gateway: 10.77.0.1
    dns_servers: [10.77.0.10]
    ranges:
      - type: reserved
        start: 10.77.0.2
        end: 10.77.0.19
        comment: the rack's own services
      - type: dynamic
        start: 10.77.0.200
        end: 10.77.0.250
    ranges_purge: true
"""

RETURN = r"""
subnet:
  description: The subnet as MAAS has it, in check mode as it would have it, empty if it is not there.
  type: dict
  returned: always
  contains:
    id:
      description: The number that MAAS gave it, null if check mode made it up.
      type: int
    cidr:
      description: The subnet.
      type: str
    name:
      description: The name.
      type: str
    fabric:
      description: The name of the fabric.
      type: str
    vid:
      description: The tag of its VLAN.
      type: int
    gateway:
      description: The default gateway, empty if there is none.
      type: str
    dns_servers:
      description: DNS servers for the machines.
      type: list
      elements: str
    managed:
      description: Whether MAAS gives out its addresses.
      type: bool
    allow_dns:
      description: Whether MAAS resolves names for its machines.
      type: bool
    description:
      description: What it is for.
      type: str
    ranges:
      description: Its ranges, by their first address.
      type: list
      elements: dict
      sample: [{type: dynamic, start: 10.77.0.200, end: 10.77.0.250, comment: ""}]
"""

import ipaddress
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_fabrics import FabricError, find_fabric, require_vlan
from ansible_collections.edge.rack.plugins.module_utils.maas_ip_ranges import IpRange, RangeError, Step, check, plan

Row = t.Dict[str, t.Any]
# Our option -> MAAS's field.
FIELDS = {
    "name": "name",
    "description": "description",
    "gateway": "gateway_ip",
    "dns_servers": "dns_servers",
    "managed": "managed",
    "allow_dns": "allow_dns",
}


def normalized(module: AnsibleModule, cidr: str) -> str:
    try:
        return str(ipaddress.ip_network(cidr))
    except ValueError as error:
        module.fail_json(msg="%s is not a subnet: %s. Correct `cidr`, such as 10.77.0.0/24." % (cidr, error))


def plain(text: str) -> str:
    """An address as MAAS writes it: ``FD00:0:0:0::1`` -> ``fd00::1``. What is none comes back as it is."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


def shown(row: t.Optional[Row], ranges: t.Sequence[IpRange]) -> Row:
    """A subnet in the module's own words."""
    if row is None:
        return {}
    return {
        "cidr": row["cidr"],
        "fabric": row["vlan"]["fabric"],
        "vid": row["vlan"]["vid"],
        **{option: row[field] or ("" if row[field] is None else row[field]) for option, field in FIELDS.items()},
        "ranges": [one.as_result() for one in sorted(ranges, key=lambda one: one.first)],
    }


def wanted_vlan(module: AnsibleModule, client: MaasClient, row: t.Optional[Row]) -> t.Optional[Row]:
    """The VLAN that is asked for; None: where the subnet is now."""
    fabric, vid = module.params["fabric"], module.params["vid"]
    if row is not None and fabric is None and vid is None:
        return None
    if fabric is None and row is not None:
        fabric = str(row["vlan"]["fabric_id"])
    try:
        return require_vlan(find_fabric(client.call("Fabrics.read"), fabric), vid or 0)
    except FabricError as error:
        module.fail_json(msg=str(error))


def wanted_ranges(module: AnsibleModule) -> t.List[IpRange]:
    rows = module.params["ranges"] or []
    return [IpRange(row["type"], row["start"], row["end"], row["comment"]) for row in rows]


def check_addresses(module: AnsibleModule, cidr: str, after: Row, ranges: t.Sequence[IpRange]) -> None:
    """What MAAS would refuse of the gateway, the DNS servers and the ranges that hold them."""
    network = ipaddress.ip_network(cidr)
    for option, addresses in (("gateway", [after["gateway"]]), ("dns_servers", after["dns_servers"])):
        for text in filter(None, addresses):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                module.fail_json(msg="%s is not an IP address. Correct `%s` of %s." % (text, option, cidr))
            if option == "gateway" and address not in network:
                module.fail_json(msg="The gateway %s is outside of %s. Correct `gateway`." % (text, cidr))
            for one in ranges:
                if one.kind == "dynamic" and one.first <= int(address) <= one.last and address in network:
                    module.fail_json(
                        msg="Correct `ranges` of %s: %s holds %s of `%s`, which DHCP would give away."
                        % (cidr, one, text, option)
                    )


def planned(module: AnsibleModule, cidr: str, there: t.Sequence[IpRange]) -> t.List[Step]:
    """The steps to the wanted ranges, or the error that names the wrong one."""
    wanted = wanted_ranges(module)
    try:
        check(wanted, cidr)
        return plan(there, wanted, module.params["ranges_purge"])
    except RangeError as error:
        module.fail_json(msg="Correct `ranges` of %s: %s. Nothing was changed." % (cidr, error))


def applied(there: t.Sequence[IpRange], steps: t.Sequence[Step]) -> t.List[IpRange]:
    """The ranges after these steps."""
    ranges = list(there)
    for step in steps:
        ranges = [one for one in ranges if one != step.old]
        if step.new is not None:
            ranges.append(step.new)
    return ranges


def require_dhcp_range(module: AnsibleModule, rows: t.List[Row], row: Row, after: t.Sequence[IpRange]) -> None:
    """A VLAN on which DHCP is on keeps a dynamic range. MAAS itself would let it go without."""
    vlan = row["vlan"]
    on_vlan = [other for other in rows if other["type"] == "dynamic" and other["subnet"]["vlan"]["id"] == vlan["id"]]
    elsewhere = [other for other in on_vlan if other["subnet"]["id"] != row["id"]]
    if vlan["dhcp_on"] and on_vlan and not elsewhere and not any(one.kind == "dynamic" for one in after):
        module.fail_json(
            msg="MAAS's DHCP on VLAN %d of %s would be left without a dynamic range. Keep one of %s in `ranges`, "
            "or switch DHCP off with maas_vlan first." % (vlan["vid"], vlan["fabric"], row["cidr"])
        )


def do(client: MaasClient, step: Step, subnet_id: int) -> None:
    """One step."""
    if step.verb == "delete" and step.old is not None:
        client.call("IPRange.delete", id=step.old.id)
    elif step.new is not None:
        fields = {"start_ip": step.new.start, "end_ip": step.new.end}
        if step.new.comment is not None:
            fields["comment"] = step.new.comment
        if step.old is not None:
            client.call("IPRange.update", id=step.old.id, **fields)
        else:
            client.call("IPRanges.create", subnet=subnet_id, type=step.new.kind, **fields)


def write(client: MaasClient, row: t.Optional[Row], vlan: t.Optional[Row], after: Row) -> Row:
    """The subnet itself. All switches are sent: MAAS's form turns on what is not given."""
    fields = {FIELDS[option]: after[option] for option in FIELDS}
    fields["dns_servers"] = " ".join(after["dns_servers"])
    if vlan is not None:
        fields["vlan"] = vlan["id"]
    if row is None:
        return client.call("Subnets.create", cidr=after["cidr"], **fields)
    for name in ("allow_proxy", "active_discovery", "rdns_mode"):
        fields[name] = row[name]
    return client.call("Subnet.update", id=row["id"], **fields)


def work(module: AnsibleModule, client: MaasClient) -> Row:
    params = module.params
    cidr = normalized(module, params["cidr"])
    row = next((row for row in client.call("Subnets.read") if row["cidr"] == cidr), None)
    rows = client.call("IPRanges.read") if row else []
    there = [IpRange.from_maas(one) for one in rows if one["subnet"]["id"] == row["id"]]
    before = shown(row, there)
    if params["state"] == "absent":
        if row is not None:
            require_dhcp_range(module, rows, row, [])
            if not module.check_mode:
                client.call("Subnet.delete", id=row["id"])
        return result(before, {}, None)

    vlan = wanted_vlan(module, client, row)
    steps = planned(module, cidr, there)
    ranges = applied(there, steps)
    new = {"name": cidr, "description": "", "gateway": "", "dns_servers": [], "managed": True, "allow_dns": True}
    after = {"cidr": cidr, **new, **before}
    after.update({option: params[option] for option in FIELDS if params[option] is not None})
    after.update(gateway=plain(after["gateway"]), dns_servers=[plain(server) for server in after["dns_servers"]])
    if vlan is not None:
        after.update(fabric=vlan["fabric"], vid=vlan["vid"])
    after["ranges"] = [one.as_result() for one in sorted(ranges, key=lambda one: one.first)]
    check_addresses(module, cidr, after, wanted_ranges(module))
    if row is not None:
        require_dhcp_range(module, rows, row, ranges)
    if after != before and not module.check_mode:
        if row is None or any(after[name] != before[name] for name in after if name != "ranges"):
            row = write(client, row, vlan, after)
        for step in steps:
            do(client, step, row["id"])
        kept = [one for one in client.call("IPRanges.read") if one["subnet"]["id"] == row["id"]]
        after = shown(row, [IpRange.from_maas(one) for one in kept])
    return result(before, after, row)


def result(before: Row, after: Row, row: t.Optional[Row]) -> Row:
    changed = before != after
    return {
        "changed": changed,
        "subnet": {**after, "id": row["id"] if row else None} if after else {},
        "diff": {"before": before if changed else {}, "after": after if changed else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "cidr": {"type": "str", "required": True},
            "name": {"type": "str"},
            "fabric": {"type": "str"},
            "vid": {"type": "int"},
            "gateway": {"type": "str"},
            "dns_servers": {"type": "list", "elements": "str"},
            "managed": {"type": "bool"},
            "allow_dns": {"type": "bool"},
            "description": {"type": "str"},
            "ranges": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "type": {"type": "str", "choices": ["dynamic", "reserved"], "required": True},
                    "start": {"type": "str", "required": True},
                    "end": {"type": "str", "required": True},
                    "comment": {"type": "str"},
                },
            },
            "ranges_purge": {"type": "bool", "default": False},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
