#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_tag
short_description: Manage tags in MAAS
version_added: "0.1.0"
description:
  - Makes, changes and deletes the tags themselves. Which machines carry them says M(edge.rack.maas_machine).
  - What is not given stays as it is.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) deletes the tag and takes it off all machines.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The name, made of letters, digits, C(-) and C(_).
    type: str
    required: true
  comment:
    description: What the tag is for.
    type: str
  definition:
    description:
      - An XPath expression over what C(lshw) says of a machine. MAAS tags the machines that match, and only those.
      - An empty text makes it a tag that is given by hand.
    type: str
  kernel_opts:
    description: Options for the kernel of the machines which carry the tag, an empty text for none.
    type: str
seealso:
  - module: edge.rack.maas_machine
"""

EXAMPLES = r"""
- name: Trainers can be told from the rest
  edge.rack.maas_tag:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    name: trainer
    comment: takes part in training
"""

RETURN = r"""
tag:
  description: The tag as MAAS has it, or had it.
  type: dict
  returned: always
  contains:
    name:
      description: The name.
      type: str
    comment:
      description: What it is for.
      type: str
    definition:
      description: The XPath expression, empty for a tag that is given by hand.
      type: str
    kernel_opts:
      description: Options for the kernel.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas_named_object import Kind, run

TAG = Kind(
    noun="tag",
    result="tag",
    several="Tags",
    one="Tag",
    address="name",
    fields=("comment", "definition", "kernel_opts"),
    name_pattern=r"[a-zA-Z0-9_-]+",
    name_rule="letters, digits, `-` and `_`",
)


def main() -> None:
    run(AnsibleModule, TAG)


if __name__ == "__main__":
    main()
