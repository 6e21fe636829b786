#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_resource_pool
short_description: Manage resource pools in MAAS
version_added: "0.1.0"
description:
  - Makes, changes and deletes the pools themselves. Which machines are in them says M(edge.rack.maas_machine).
  - What is not given stays as it is.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) deletes the pool. One with machines in it, or the default one, is not deleted.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The name, made of letters, digits, spaces, C(-) and C(_).
    type: str
    required: true
  description:
    description: What the pool is for.
    type: str
seealso:
  - module: edge.rack.maas_machine
"""

EXAMPLES = r"""
- name: The shelf's devices have a pool of their own
  edge.rack.maas_resource_pool:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    name: edge
    description: devices of the rack
"""

RETURN = r"""
resource_pool:
  description: The pool as MAAS has it, or had it.
  type: dict
  returned: always
  contains:
    id:
      description: The number that MAAS gave it, missing where check mode made it up.
      type: int
    name:
      description: The name.
      type: str
    description:
      description: What it is for.
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import MaasClient
from ansible_collections.edge.rack.plugins.module_utils.maas_named_object import Kind, Row, run


def uses(client: MaasClient, row: Row) -> t.Optional[str]:
    """MAAS deletes empty pools only."""
    names = sorted(machine["hostname"] for machine in client.read_machines(pool=[row["name"]]))
    if not names:
        return None
    shown = ", ".join(names[:5]) + (", and %d more" % (len(names) - 5) if len(names) > 5 else "")
    return "%d machines are in it (%s); give them another `pool` with maas_machine first" % (len(names), shown)


POOL = Kind(
    noun="resource pool",
    result="resource_pool",
    several="ResourcePools",
    one="ResourcePool",
    address="id",
    fields=("description",),
    name_pattern=r"\w[ \w-]*",
    name_rule="letters, digits, spaces, `-` and `_`, and begins with a letter or digit",
    permanent="default",
    uses=uses,
)


def main() -> None:
    run(AnsibleModule, POOL)


if __name__ == "__main__":
    main()
