#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_boot_resource
short_description: Upload images to MAAS and delete old ones
version_added: "0.1.0"
description:
  - Makes MAAS have a custom image with the content of a file. Nothing is sent when MAAS has it, whole, with
    the same SHA-256. An upload that was cut off is gone on with where it stopped, or begun anew.
  - Deletes custom images, but none that a machine runs or is being deployed with.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description:
      - V(present) is uploaded and whole.
      - V(absent) is not in MAAS. One that a machine runs or is being deployed with is refused.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The name, with or without C(custom/). It is deployed as C(custom/NAME).
    type: str
    required: true
  path:
    description: The file, on the machine where the module runs. Required for O(state=present).
    type: path
  title:
    description: The title people see.
    type: str
  architecture:
    description: The architecture, such as V(amd64/generic).
    type: str
    default: amd64/generic
  base_image:
    description:
      - What the image is made from, such as V(ubuntu/noble); MAAS chooses the kernel and the way to install by it.
        MAAS must have that image itself.
      - It is compared where MAAS tells it, since MAAS 3.6.
    type: str
  filetype:
    description: What the file is. V(tgz) is a root file system as a gzip compressed tar archive.
    type: str
    choices: [tgz, tbz, txz, ddtgz, ddtbz, ddtxz, ddtar, ddbz2, ddgz, ddxz, ddraw]
    default: tgz
  keep_latest:
    description:
      - With O(state=present), of the images that have the name of this one up to its version (such as
        C(edge-nuc-1.3.0) for O(name=edge-nuc-1.4.0)) and its architecture, so many are kept, this one among them;
        older ones are deleted. Which is older is told by the order in which MAAS got them.
      - One that a machine runs or is being deployed with is kept all the same.
    type: int
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

- name: MAAS has the image of the devices, and the two before it
  edge.rack.maas_boot_resource:
    name: custom/edge-nuc-1.4.0
    path: /var/lib/edge/images/edge-nuc-1.4.0.tgz
    base_image: ubuntu/noble
    keep_latest: 3

- name: An image that nobody needs is gone
  edge.rack.maas_boot_resource:
    name: custom/edge-nuc-0.9.0
    state: absent
"""

RETURN = r"""
boot_resource:
  description: The image as MAAS has it.
  type: dict
  returned: with O(state=present)
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
  returned: with O(state=present)
resumed_at_bytes:
  description: Where an earlier upload was gone on with. 0 if all was sent.
  type: int
  returned: with O(state=present)
deleted:
  description: The names of the images that were deleted, or would be in check mode.
  type: list
  elements: str
  returned: always
  sample: [custom/edge-nuc-1.1.0]
kept_in_use:
  description: The images that O(keep_latest) would delete if no machine had them, and those machines.
  type: dict
  returned: with O(keep_latest)
  sample: {custom/edge-nuc-1.0.0: [nuc-007]}
"""

import hashlib
import os
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasUnavailable,
    MaasUnreachable,
    connection_argument_spec,
    run_with_client,
)
from ansible_collections.edge.rack.plugins.module_utils.maas_images import (
    CHUNK_BYTES,
    Resource,
    Upload,
    bare_name,
    delete,
    family_of,
    images_in_use,
    newest_file,
    to_prune,
)

SETTINGS = ("title", "base_image")


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


def find(resources: t.List[Resource], name: str, architecture: str) -> t.Optional[Resource]:
    wanted = ("Uploaded", name, architecture)
    return next((r for r in resources if (r["type"], r["name"], r["architecture"]) == wanted), None)


def check_options(module: AnsibleModule, name: str, resources: t.List[Resource]) -> None:
    """Refuse before anything is sent what would fail later, on a machine."""
    params = module.params
    base = params["base_image"]
    synced = sorted(r["name"] for r in resources if r["type"] == "Synced")
    if base is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        module.fail_json(msg="`base_image` is %s: give it as OSYSTEM/SERIES, such as ubuntu/noble." % base)
    if base is not None and base not in synced:
        module.fail_json(
            msg="`base_image` is %s, and MAAS has no such image to boot an installation with; it has: %s. Choose one of"
            " them, or let MAAS import it." % (base, ", ".join(synced) or "none")
        )
    if params["keep_latest"] is not None and params["keep_latest"] < 1:
        module.fail_json(msg="`keep_latest` is %d: it must be 1 or more." % params["keep_latest"])
    if params["keep_latest"] is not None and family_of(name) is None:
        module.fail_json(
            msg="`keep_latest` needs a name that ends in a version, such as edge-nuc-1.4.0; `name` is %s." % name
        )


def work(module: AnsibleModule, client: MaasClient) -> t.Dict[str, t.Any]:
    name = bare_name(module.params["name"])
    resources = client.call("BootResources.read")
    if module.params["state"] == "absent":
        return make_absent(module, client, name, resources)
    check_options(module, name, resources)
    result = make_present(module, client, name, find(resources, name, module.params["architecture"]))
    if module.params["keep_latest"] is not None:
        prune(module, client, name, resources, result)
    return result


def make_absent(
    module: AnsibleModule, client: MaasClient, name: str, resources: t.List[Resource]
) -> t.Dict[str, t.Any]:
    resource = find(resources, name, module.params["architecture"])
    if resource is None:
        return {"changed": False, "deleted": []}
    machines = images_in_use(client).get(name)
    if machines:
        module.fail_json(
            msg="The image custom/%s is in use: %s. Deploy another image there first, or release them."
            % (name, ", ".join(sorted(machines)))
        )
    if not module.check_mode:
        delete(client, resource)
    diff = {"before": _settings(resource), "after": {}}
    return {"changed": True, "deleted": ["custom/" + name], "diff": diff}


def make_present(
    module: AnsibleModule, client: MaasClient, name: str, found: t.Optional[Resource]
) -> t.Dict[str, t.Any]:
    params = module.params
    sha256, size = read_content(module, params["path"])
    resource = client.call("BootResource.read", id=found["id"]) if found else None
    before = newest_file(resource)
    same = bool(before.get("sha256") == sha256 and before.get("complete"))
    settings = settings_to_change(resource, params)
    changed = not same or bool(settings)
    result = {
        "changed": changed,
        "uploaded_bytes": 0,
        "resumed_at_bytes": 0,
        "deleted": [],
        "diff": {
            "before": {**({} if same else _content(before)), **{key: old for key, (old, _new) in settings.items()}},
            "after": {
                **({} if same else {"sha256": sha256, "size": size, "complete": True}),
                **{key: new for key, (_old, new) in settings.items()},
            },
        },
    }  # type: t.Dict[str, t.Any]
    if changed:
        posted = {
            "name": "custom/" + name,
            "architecture": params["architecture"],
            "filetype": params["filetype"],
            "sha256": sha256,
            "size": size,
        }
        # What is not given stays as it is: MAAS takes all of them from each announcement.
        kept = {key: params[key] if params[key] is not None else (resource or {}).get(key) for key in SETTINGS}
        posted.update({key: value for key, value in kept.items() if value})
        if module.check_mode:
            resource = dict(resource or {"id": None}, **{k: v for k, v in posted.items() if k != "name"})
        else:
            resource = send(module, client, posted, resource, result)
    shown = {key: (resource or {}).get(key) for key in ("id", "architecture", "title", "base_image")}
    shown.update(name="custom/" + name, sha256=sha256, size=size, complete=same or not module.check_mode)
    return {**result, "boot_resource": shown}


def settings_to_change(
    resource: t.Optional[Resource], params: t.Dict[str, t.Any]
) -> t.Dict[str, t.Tuple[t.Any, t.Any]]:
    """(old, new) of title and base image where they are given and MAAS tells another; a new image has none to tell."""
    if resource is None:
        return {}
    told = {"title": resource.get("title") or ""}
    if "base_image" in resource:
        told["base_image"] = resource["base_image"]
    return {key: (old, params[key]) for key, old in told.items() if params[key] is not None and params[key] != old}


def send(
    module: AnsibleModule,
    client: MaasClient,
    posted: t.Dict[str, t.Any],
    resource: t.Optional[Resource],
    result: t.Dict[str, t.Any],
) -> Resource:
    upload = Upload(client, module.params["path"], posted)
    try:
        resource = upload.run(resource)
    except (MaasUnavailable, MaasUnreachable) as error:
        error.remedy = "Run again: the upload goes on where it stopped. " + error.remedy
        module.fail_json(msg=error.message(), error=error.as_result(), **dict(result, uploaded_bytes=upload.sent_bytes))
    result.update(uploaded_bytes=upload.sent_bytes, resumed_at_bytes=upload.resumed_at)
    after = newest_file(resource)
    if not after.get("complete") or after.get("sha256") != posted["sha256"]:
        module.fail_json(
            msg="All of %s was sent, but MAAS does not have it whole. Did it change meanwhile? Run again."
            % os.path.basename(module.params["path"]),
            **result,
        )
    return resource


def prune(
    module: AnsibleModule,
    client: MaasClient,
    name: str,
    resources: t.List[Resource],
    result: t.Dict[str, t.Any],
) -> None:
    """Delete what `keep_latest` leaves over, and note it in the result."""
    uploaded = [resource for resource in resources if resource["type"] == "Uploaded"]
    too_many = to_prune(uploaded, name, module.params["architecture"], module.params["keep_latest"])
    used = images_in_use(client) if too_many else {}
    result["kept_in_use"] = {"custom/" + r["name"]: sorted(used[r["name"]]) for r in too_many if r["name"] in used}
    for resource in too_many:
        if resource["name"] in used:
            continue
        if not module.check_mode:
            delete(client, resource)
        result["deleted"].append("custom/" + resource["name"])
        result["changed"] = True
    if result["deleted"]:
        result["diff"]["before"]["older images"] = sorted(result["deleted"])
        result["diff"]["after"]["older images"] = []


def _settings(resource: Resource) -> t.Dict[str, t.Any]:
    return {key: resource[key] for key in ("name", "architecture", *SETTINGS) if resource.get(key)}


def _content(file: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: file[key] for key in ("sha256", "size", "complete") if key in file}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "path": {"type": "path"},
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
            "keep_latest": {"type": "int"},
            **connection_argument_spec(),
        },
        required_if=[("state", "present", ["path"])],
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
