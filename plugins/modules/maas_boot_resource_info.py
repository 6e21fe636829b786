#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_boot_resource_info
short_description: List the images MAAS has, and wait for those it fetches
version_added: "0.1.0"
description:
  - Reads the images that MAAS has synced from its boot source, and those that were uploaded.
  - A new region fetches its images for some minutes, and commissions and deploys nothing before.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes.info
  - edge.rack.attributes.actiongroup_maas
options:
  names:
    description: Images to look for, such as V(ubuntu/noble) or V(custom/edge-nuc). Without it all are listed.
    type: list
    elements: str
  architecture:
    description: The architecture of those that are looked for.
    type: str
    default: amd64
  wait_seconds:
    description: How long to wait until all of O(names) are there whole. V(0) takes what is there.
    type: int
    default: 0
seealso:
  - module: edge.rack.maas_boot_resource
"""

EXAMPLES = r"""
- name: The region has the image that machines are commissioned with
  edge.rack.maas_boot_resource_info:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    names: [ubuntu/noble]
    wait_seconds: 1800
  register: images
  failed_when: images.missing | default(['all']) | length > 0
"""

RETURN = r"""
boot_resources:
  description: The images, by name; of O(names) those that are there.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: The id in MAAS.
      type: int
    name:
      description: What to give as O(edge.rack.maas_machine#module:image).
      type: str
      sample: ubuntu/noble
    architecture:
      description: The architecture.
      type: str
      sample: amd64/ga-24.04
    type:
      description: Whether MAAS fetched it (V(Synced)) or somebody uploaded it (V(Uploaded)).
      type: str
missing:
  description: Those of O(names) that are not there, or not whole.
  type: list
  elements: str
  returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasNotFound,
    Rounds,
    connection_argument_spec,
    run_with_client,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_images import Resource


def full_name(resource: Resource) -> str:
    """MAAS gives an uploaded image's name without ``custom/``."""
    return resource["name"] if "/" in resource["name"] else "custom/" + resource["name"]


def read(
    client: MaasClient, names: t.Optional[t.List[str]], architecture: str
) -> t.Tuple[t.List[Resource], t.List[str]]:
    """What is there of these, and what is not, or not whole."""
    rows = sorted(client.call("BootResources.read"), key=lambda row: (full_name(row), row["architecture"]))
    if names is None:
        return rows, []
    found = [row for row in rows if full_name(row) in names and row["architecture"].split("/")[0] == architecture]
    whole = {full_name(row) for row in found if is_whole(client, row)}
    return found, sorted(set(names) - whole)


def is_whole(client: MaasClient, row: Resource) -> bool:
    """MAAS lists an image as soon as it begins to fetch it; an earlier set of it is good until the new one is there."""
    try:
        sets = client.call("BootResource.read", id=row["id"]).get("sets") or {}
    except MaasNotFound:
        return False
    return not sets or any(one.get("complete") for one in sets.values())


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    params = module.params
    found, missing = read(client, params["names"], params["architecture"])
    for _left in Rounds(params["wait_seconds"]):
        if not missing:
            break
        found, missing = read(client, params["names"], params["architecture"])
    rows = [{"name": full_name(row), **{key: row[key] for key in ("id", "architecture", "type")}} for row in found]
    return {"changed": False, "boot_resources": rows, "missing": missing}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str"},
            "architecture": {"type": "str", "default": "amd64"},
            "wait_seconds": {"type": "int", "default": 0},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
