#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_discovery_info
short_description: List what MAAS has seen on its networks
version_added: "0.1.0"
description:
  - Reads what MAAS's rack controllers have observed on the networks (ARP, mDNS), in one request.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes.info
  - edge.rack.attributes.actiongroup_maas
options:
  unknown:
    description: Whether only those are listed whose MAC address belongs to nothing that MAAS knows.
    type: bool
    default: false
seealso:
  - module: edge.rack.maas_machine_info
"""

EXAMPLES = r"""
- name: What is plugged in and was never enrolled is known
  edge.rack.maas_discovery_info:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    unknown: true
  register: seen
"""

RETURN = r"""
discoveries:
  description: What was seen, one entry for each MAC address and IP address, sorted by these.
  type: list
  elements: dict
  returned: always
  contains:
    mac_address:
      description: MAC address.
      type: str
      sample: "52:54:00:10:00:99"
    ip:
      description: IP address, empty if none was seen.
      type: str
      sample: 10.77.0.99
    hostname:
      description: Name it gives itself (mDNS), empty if it gives none.
      type: str
    vendor:
      description: Who the first half of the MAC address belongs to, empty if nobody is known.
      type: str
      sample: Intel Corporate
    fabric:
      description: Fabric where it was seen.
      type: str
      sample: fabric-0
    last_seen:
      description: When it was last seen, as MAAS writes it.
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    connection_argument_spec,
    run_with_client,
)


def discovery(row: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    return {
        "mac_address": row.get("mac_address") or "",
        "ip": row.get("ip") or "",
        "hostname": row.get("hostname") or "",
        "vendor": row.get("mac_organization") or "",
        "fabric": row.get("fabric_name") or "",
        "last_seen": str(row.get("last_seen") or ""),
    }


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    rows = client.call("Discoveries.by_unknown_mac" if module.params["unknown"] else "Discoveries.read")
    found = [discovery(row) for row in rows]
    return {"changed": False, "discoveries": sorted(found, key=lambda one: (one["mac_address"], one["ip"]))}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"unknown": {"type": "bool", "default": False}, **connection_argument_spec()},
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
