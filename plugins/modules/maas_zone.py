#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_zone
short_description: Manage physical zones in MAAS
version_added: "0.1.0"
description:
  - Makes, changes and deletes the zones themselves. Which machines are in them says M(edge.rack.maas_machine).
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
      - V(absent) deletes the zone, and MAAS puts its machines into the default zone. The default one is not deleted.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The name, made of letters, digits, spaces, C(-) and C(_).
    type: str
    required: true
  description:
    description: Where the zone is.
    type: str
seealso:
  - module: edge.rack.maas_machine
"""

EXAMPLES = r"""
- name: MAAS knows the first shelf
  edge.rack.maas_zone:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    name: shelf-1
    description: slots 1 to 8
"""

RETURN = r"""
zone:
  description: The zone as MAAS has it, or had it.
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
      description: Where it is.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas_named_object import Kind, run

ZONE = Kind(
    noun="zone",
    result="zone",
    several="Zones",
    one="Zone",
    address="name",
    fields=("description",),
    name_pattern=r"\w[ \w-]*",
    name_rule="letters, digits, spaces, `-` and `_`, and begins with a letter or digit",
    permanent="default",
)


def main() -> None:
    run(AnsibleModule, ZONE)


if __name__ == "__main__":
    main()
