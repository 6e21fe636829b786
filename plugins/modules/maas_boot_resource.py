#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_boot_resource
short_description: Upload an image to MAAS
version_added: "0.1.0"
description:
  - Makes MAAS have a custom image with the content of a file. Nothing is sent when MAAS has it, whole, with
    the same SHA-256.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(present) is uploaded and whole.
    type: str
    choices: [present]
    default: present
  name:
    description: The name, with or without C(custom/). It is deployed as C(custom/NAME).
    type: str
    required: true
  path:
    description: The file, on the machine where the module runs.
    type: path
    required: true
  title:
    description: The title people see. It is set when content is uploaded.
    type: str
  architecture:
    description: The architecture, such as V(amd64/generic).
    type: str
    default: amd64/generic
  base_image:
    description:
      - What the image is made from, such as V(ubuntu/noble); MAAS chooses the kernel and the way to install by it.
      - It is set when content is uploaded.
    type: str
  filetype:
    description: What the file is. V(tgz) is a root file system as a gzip compressed tar archive.
    type: str
    choices: [tgz, tbz, txz, ddtgz, ddtbz, ddtxz, ddtar, ddbz2, ddgz, ddxz, ddraw]
    default: tgz
notes:
  - A file is sent in pieces of 4 MiB. A region refuses larger pieces.
seealso:
  - module: edge.rack.maas_machine
"""

EXAMPLES = r"""
- name: MAAS has the image of the devices
  edge.rack.maas_boot_resource:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    name: custom/edge-nuc
    title: Edge device 1.4.0
    path: /var/lib/edge/images/edge-nuc-1.4.0.tgz
    base_image: ubuntu/noble
"""

RETURN = r"""
boot_resource:
  description: The image as MAAS has it.
  type: dict
  returned: always
  contains:
    id:
      description: The id in MAAS, null in check mode if the image is new.
      type: int
    name:
      description: What to give as O(edge.rack.maas_machine#module:image).
      type: str
      sample: custom/edge-nuc
    architecture:
      description: The architecture.
      type: str
    title:
      description: The title.
      type: str
    base_image:
      description: What it is made from.
      type: str
    sha256:
      description: The SHA-256 of the content.
      type: str
    size:
      description: The size of the content in bytes.
      type: int
    complete:
      description: Whether MAAS has all of the content.
      type: bool
uploaded_bytes:
  description: How much was sent. 0 if MAAS had the same content under another name.
  type: int
  returned: always
"""

import hashlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasRefused,
    connection_argument_spec,
    run_with_client,
)

CHUNK_BYTES = 4 * 1024 * 1024

Resource = t.Dict[str, t.Any]


def read_content(module: AnsibleModule, path: str) -> t.Tuple[str, int]:
    """SHA-256 and size."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            for chunk in iter(lambda: handle.read(CHUNK_BYTES), b""):
                digest.update(chunk)
            size = handle.tell()
    except OSError as error:
        module.fail_json(msg="Reading the image %s: %s. Check `path`." % (path, error.strerror or error))
    if size == 0:
        module.fail_json(msg="The image %s is empty. Check what made it." % path)
    return digest.hexdigest(), size


def find(client: MaasClient, name: str, architecture: str) -> t.Optional[Resource]:
    """MAAS gives the name back without ``custom/``."""
    for resource in client.call("BootResources.read", type="uploaded"):
        if (resource["name"], resource["architecture"]) == (name, architecture):
            return client.call("BootResource.read", id=resource["id"])
    return None


def newest_file(resource: t.Optional[Resource]) -> t.Dict[str, t.Any]:
    """The file that is deployed: of the newest set. A later set of one day is named ``20261123.1``."""
    sets = (resource or {}).get("sets") or {}

    def age(version: str) -> t.Tuple[int, ...]:
        return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))

    for version in sorted(sets, key=age, reverse=True)[:1]:
        for file in sets[version]["files"].values():
            return file
    return {}


def upload(client: MaasClient, path: str, posted: t.Dict[str, t.Any]) -> t.Tuple[Resource, int]:
    """Announce the content, then send it unless MAAS has it under another name."""
    resource = client.call("BootResources.create", **posted)
    file = newest_file(resource)
    sent = 0
    if not file.get("complete"):
        with open(path, "rb") as handle:
            for chunk in iter(lambda: handle.read(CHUNK_BYTES), b""):
                client.put_bytes(file["upload_uri"], chunk)
                sent += len(chunk)
        resource = client.call("BootResource.read", id=resource["id"])
    return resource, sent


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    params = module.params
    name = params["name"][len("custom/") :] if params["name"].startswith("custom/") else params["name"]
    sha256, size = read_content(module, params["path"])
    resource = find(client, name, params["architecture"])
    before = newest_file(resource)
    changed = not (before.get("sha256") == sha256 and before.get("complete"))
    result = {
        "changed": changed,
        "uploaded_bytes": 0,
        "diff": {"before": _content(before) if changed else {}, "after": {}},
    }  # type: t.Dict[str, t.Any]
    if changed:
        posted = {
            "name": "custom/" + name,
            "architecture": params["architecture"],
            "filetype": params["filetype"],
            "sha256": sha256,
            "size": size,
        }
        posted.update({k: params[k] for k in ("title", "base_image") if params[k] is not None})
        result["diff"]["after"] = {"sha256": sha256, "size": size, "complete": True}
        if module.check_mode:
            resource = dict(resource or {"id": None}, **{k: v for k, v in posted.items() if k != "name"})
        else:
            resource, result["uploaded_bytes"] = _upload_again(client, params["path"], posted, before)
            after = newest_file(resource)
            if not after.get("complete") or after.get("sha256") != sha256:
                module.fail_json(
                    msg="All of %s was sent, but MAAS does not have it whole. Did it change meanwhile? Run again."
                    % os.path.basename(params["path"]),
                    **result,
                )
    shown = {key: (resource or {}).get(key) for key in ("id", "architecture", "title", "base_image")}
    shown.update(name="custom/" + name, sha256=sha256, size=size, complete=not (changed and module.check_mode))
    return {**result, "boot_resource": shown}


def _upload_again(
    client: MaasClient, path: str, posted: t.Dict[str, t.Any], before: t.Dict[str, t.Any]
) -> t.Tuple[Resource, int]:
    """Upload; where a broken upload of the same content lay there, MAAS drops it and the second try is whole."""
    try:
        return upload(client, path, posted)
    except MaasRefused:
        if before.get("sha256") != posted["sha256"]:
            raise
        return upload(client, path, posted)


def _content(file: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: file[key] for key in ("sha256", "size", "complete") if key in file}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present"], "default": "present"},
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "title": {"type": "str"},
            "architecture": {"type": "str", "default": "amd64/generic"},
            "base_image": {"type": "str"},
            "filetype": {
                "type": "str",
                "choices": [
                    "tgz",
                    "tbz",
                    "txz",
                    "ddtgz",
                    "ddtbz",
                    "ddtxz",
                    "ddtar",
                    "ddbz2",
                    "ddgz",
                    "ddxz",
                    "ddraw",
                ],
                "default": "tgz",
            },
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
