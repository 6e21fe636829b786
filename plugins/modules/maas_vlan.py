#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_vlan
short_description: Manage VLANs in MAAS, and DHCP on them
version_added: "0.1.0"
description:
  - Makes, changes and deletes a VLAN of a fabric, and switches MAAS's DHCP on it on and off.
  - What is not given stays as it is.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description:
      - V(absent) deletes the VLAN. MAAS moves its subnets to the untagged VLAN of the fabric, which itself cannot be
        deleted.
    type: str
    choices: [present, absent]
    default: present
  fabric:
    description:
      - The fabric, by name or number.
      - If not set, it is the only fabric that there is, or else V(fabric-0).
    type: str
  vid:
    description: The VLAN's tag, from 1 to 4094, or V(0) for the untagged VLAN that each fabric has.
    type: int
    default: 0
  name:
    description: The name. That of the untagged VLAN is always V(untagged).
    type: str
  mtu:
    description: The largest packet in bytes, from 552 to 65535.
    type: int
  description:
    description: What the VLAN is for. MAAS does not tell it afterwards, so it is set only when the VLAN is made.
    type: str
  dhcp:
    description:
      - Whether MAAS serves DHCP on the VLAN.
      - It can be switched on once a subnet of the VLAN has a dynamic range, see O(edge.rack.maas_subnet#module:ranges),
        and a rack controller is on the VLAN.
    type: bool
  primary_rack:
    description:
      - The rack controller that serves DHCP, by host name or system id.
      - If not set when DHCP is switched on, it is the only rack controller that there is.
    type: str
  secondary_rack:
    description: The rack controller that takes over when the first one fails. An empty text takes it away.
    type: str
seealso:
  - module: edge.rack.maas_subnet
"""

EXAMPLES = r"""
- name: MAAS serves DHCP to the devices
  edge.rack.maas_vlan:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    dhcp: true

- name: The storage network has its VLAN
  edge.rack.maas_vlan:
    fabric: fabric-0
    vid: 77
    name: storage
    mtu: 9000
"""

RETURN = r"""
vlan:
  description: The VLAN as MAAS has it, in check mode as it would have it, empty if it is not there.
  type: dict
  returned: always
  contains:
    id:
      description: The number that MAAS gave it, null if check mode made it up.
      type: int
    fabric:
      description: The name of its fabric.
      type: str
    vid:
      description: Its tag, 0 for the untagged one.
      type: int
    name:
      description: The name.
      type: str
    mtu:
      description: The largest packet in bytes.
      type: int
    dhcp:
      description: Whether MAAS serves DHCP on it.
      type: bool
    primary_rack:
      description: The system id of the rack controller that serves DHCP, null if none does.
      type: str
    secondary_rack:
      description: The system id of the one that takes over, null if none does.
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_fabrics import FabricError, find_fabric, find_vlan

Row = t.Dict[str, t.Any]


def shown(row: t.Optional[Row]) -> Row:
    """A VLAN in the module's own words."""
    if row is None:
        return {}
    return {
        "fabric": row["fabric"],
        "vid": row["vid"],
        "name": row["name"],
        "mtu": row["mtu"],
        "dhcp": row["dhcp_on"],
        "primary_rack": row["primary_rack"],
        "secondary_rack": row["secondary_rack"],
    }


def choose_racks(module: AnsibleModule, client: MaasClient, before: Row) -> Row:
    """The racks that are wanted, by system id."""
    params, chosen = module.params, {}
    needs_one = params["dhcp"] and not params["primary_rack"] and not before.get("primary_rack")
    if not needs_one and not params["primary_rack"] and params["secondary_rack"] is None:
        return {}
    racks = client.call("RackControllers.read")
    listed = ", ".join(sorted(rack["hostname"] for rack in racks)) or "none"
    if needs_one:
        if len(racks) != 1:
            module.fail_json(
                msg="DHCP needs a rack controller: name one in `primary_rack`. MAAS has %d: %s." % (len(racks), listed)
            )
        chosen["primary_rack"] = racks[0]["system_id"]
    for option in ("primary_rack", "secondary_rack"):
        wanted = params[option]
        if not wanted:
            continue
        found = [rack["system_id"] for rack in racks if wanted in (rack["hostname"], rack["system_id"])]
        if not found:
            module.fail_json(
                msg="MAAS has no rack controller %s. Correct `%s`: there is %s." % (wanted, option, listed)
            )
        chosen[option] = found[0]
    if params["secondary_rack"] == "":
        chosen["secondary_rack"] = None
    return chosen


def require_dynamic_range(module: AnsibleModule, client: MaasClient, fabric: Row, vid: int) -> None:
    """DHCP has something to give. In check mode it may come with an earlier task."""
    for row in client.call("IPRanges.read"):
        vlan = row["subnet"]["vlan"]
        if row["type"] == "dynamic" and (vlan["fabric_id"], vlan["vid"]) == (fabric["id"], vid):
            return
    text = (
        "DHCP cannot be switched on: no subnet of VLAN %d of %s has a dynamic range. "
        "Define one in `ranges` of maas_subnet first." % (vid, fabric["name"])
    )
    if not module.check_mode:
        module.fail_json(msg=text)
    module.warn(text)


def refuse(module: AnsibleModule, fabric: Row, is_default: bool, after: Row) -> None:
    """What MAAS would refuse, or take and not do."""
    params = module.params
    where = "VLAN %d of %s" % (params["vid"], fabric["name"])
    if params["state"] == "absent" and is_default:
        module.fail_json(msg="%s is the fabric's default, MAAS does not delete it. Name another `vid`." % where)
    if params["name"] not in (None, "untagged") and is_default:
        module.fail_json(msg="%s is always called `untagged`. Leave `name` out." % where)
    if params["mtu"] is not None and not 552 <= params["mtu"] <= 65535:
        module.fail_json(msg="An MTU of %d is not possible. Correct `mtu`: 552 to 65535." % params["mtu"])
    if after.get("secondary_rack") and after["secondary_rack"] == after.get("primary_rack"):
        module.fail_json(msg="`primary_rack` and `secondary_rack` of %s are the same. Give two." % where)


def work(module: AnsibleModule, client: MaasClient) -> Row:
    params = module.params
    if not 0 <= params["vid"] <= 4094:
        module.fail_json(msg="There is no VLAN tag %d. Correct `vid`: 0 to 4094." % params["vid"])
    try:
        fabric = find_fabric(client.call("Fabrics.read"), params["fabric"])
    except FabricError as error:
        module.fail_json(msg=str(error))
    row = find_vlan(fabric, params["vid"])
    is_default = row is not None and row["id"] == min(vlan["id"] for vlan in fabric["vlans"])
    before = shown(row)
    if params["state"] == "absent":
        refuse(module, fabric, is_default, {})
        if row is not None and not module.check_mode:
            client.call("Vlan.delete", fabric_id=fabric["id"], vid=params["vid"])
        return result(before, {}, None)

    wanted = {name: params[name] for name in ("name", "mtu", "dhcp") if params[name] is not None}
    wanted.update(choose_racks(module, client, before))
    new = {"fabric": fabric["name"], "vid": params["vid"], "name": str(params["vid"]), "mtu": 1500, "dhcp": False}
    after = {**new, "primary_rack": None, "secondary_rack": None, **before, **wanted}
    refuse(module, fabric, is_default, after)
    if after["dhcp"] and not before.get("dhcp"):
        require_dynamic_range(module, client, fabric, params["vid"])
    if after != before and not module.check_mode:
        if row is None:
            made = {
                "vid": params["vid"],
                **{k: params[k] for k in ("name", "mtu", "description") if params[k] is not None},
            }
            row = client.call("Vlans.create", fabric_id=fabric["id"], **made)
        if after != shown(row):
            # All of it: to MAAS's form a rack that is not given may be one that is taken away.
            fields = {"mtu": after["mtu"], "dhcp_on": after["dhcp"]}
            fields.update({name: after[name] for name in ("primary_rack", "secondary_rack")})
            if after["name"] != row["name"]:
                fields["name"] = after["name"]
            row = client.call("Vlan.update", fabric_id=fabric["id"], vid=params["vid"], **fields)
        after = shown(row)
    return result(before, after, row)


def result(before: Row, after: Row, row: t.Optional[Row]) -> Row:
    changed = before != after
    return {
        "changed": changed,
        "vlan": {**after, "id": row["id"] if row else None} if after else {},
        "diff": {"before": before if changed else {}, "after": after if changed else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "fabric": {"type": "str"},
            "vid": {"type": "int", "default": 0},
            "name": {"type": "str"},
            "mtu": {"type": "int"},
            "description": {"type": "str"},
            "dhcp": {"type": "bool"},
            "primary_rack": {"type": "str"},
            "secondary_rack": {"type": "str"},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
