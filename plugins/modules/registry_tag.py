#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_tag
short_description: Tag, copy and untag images in a registry
version_added: "0.1.0"
description:
  - Makes a tag name the image that another tag or a digest names, in the same repository or copied from another one of
    the same registry. Layers are mounted, not sent. An index is copied with all its platforms.
  - Takes a tag away. The image stays until the clean-up finds that nothing needs it.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.registry
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_registry
options:
  repository:
    description: The repository of the tag, such as V(edge/worker).
    type: str
    required: true
  tag:
    description: The tag.
    type: str
    required: true
  state:
    description: V(absent) takes the tag away.
    type: str
    choices: [present, absent]
    default: present
  source:
    description:
      - A tag or a digest (V(sha256:HEX)) that names the image.
      - Required with O(state=present).
    type: str
  source_repository:
    description: The repository to copy from, if it is another one.
    type: str
notes:
  - O(state=absent) needs a registry that takes deletions. The front of role P(edge.rack.registry#role) does not; run
    the task on the registry's own machine with O(registry_url=http://127.0.0.1:5001).
  - distribution before 3.0 cannot delete a tag. There the tag is first moved to a placeholder, which is then deleted by
    its digest, and the tag with it.
seealso:
  - module: edge.rack.registry_image_info
  - module: edge.rack.registry_prune
"""

EXAMPLES = r"""
- name: What was tested is what is stable
  edge.rack.registry_tag:
    registry_url: registry.example.com:5000
    registry_username: push
    registry_password: "{{ vault_push_password }}"
    ca_path: /etc/docker/registry/ca.crt
    repository: edge/worker
    tag: stable
    source: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

- name: It is also there under the site's own name
  edge.rack.registry_tag:
    repository: site/worker
    tag: "0.1.0"
    source: "0.1.0"
    source_repository: edge/worker
"""

RETURN = r"""
image:
  description: What the tag names, in check mode what it would name.
  type: dict
  returned: always
  contains:
    repository:
      description: Repository.
      type: str
    tag:
      description: Tag.
      type: str
    digest:
      description: Digest of the image, null if there is no such tag.
      type: str
"""

import json
import typing as t
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.registry import copying
from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient, full_name
from ansible_collections.edge.rack.plugins.module_utils.registry.errors import RegistryError
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import EMPTY_TYPE, IMAGE_TYPES, digest_of
from ansible_collections.edge.rack.plugins.module_utils.registry.module import connection_argument_spec, run_with_client

NO_SUCH_DIGEST = "sha256:" + 64 * "0"


def untag(client: RegistryClient, repository: str, tag: str) -> None:
    """Delete the tag (distribution spec, "Deleting tags"), or by way of a placeholder where tags cannot be deleted."""
    try:
        client.delete_manifest(repository, tag)
    except RegistryError as error:
        if "DIGEST_INVALID" not in error.codes and "UNSUPPORTED" not in error.codes:
            raise
        # Raises where deletion is off, before the tag is touched.
        client.delete_manifest(repository, NO_SUCH_DIGEST)
        client.delete_manifest(repository, put_placeholder(client, repository, tag))


def put_placeholder(client: RegistryClient, repository: str, tag: str) -> str:
    """Move the tag to an artifact that nothing else names; returns its digest."""
    empty = b"{}"
    client.put_blob(repository, empty)
    descriptor = {"mediaType": EMPTY_TYPE, "digest": digest_of(empty), "size": len(empty)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPES[0],
        "config": descriptor,
        "layers": [descriptor],
        "annotations": {"edge.rack.placeholder": str(uuid.uuid4())},
    }
    return client.put_manifest(repository, tag, json.dumps(manifest).encode("utf-8"), IMAGE_TYPES[0])


def work(module: AnsibleModule, client: RegistryClient) -> t.Dict[str, t.Any]:
    params = module.params
    repository, tag = params["repository"], params["tag"]
    before = {"repository": repository, "tag": tag, "digest": client.digest(repository, tag)}
    after = dict(before, digest=None)
    source = params["source_repository"] or repository
    manifest = None
    if params["state"] == "present":
        manifest = copying.read(client, source, params["source"])
        after["digest"] = manifest.digest
    changed = after != before
    if changed and not module.check_mode:
        if manifest is not None:
            copying.copy(client, source, manifest, repository, tag)
        else:
            untag(client, repository, tag)
        done = client.digest(repository, tag)
        if done != after["digest"]:
            asked = "Changing %s" % full_name(repository, tag)
            raise RegistryError(asked, "it names %s afterwards" % done, remedy="Somebody else pushes this tag too.")
    return {
        "changed": changed,
        "image": after,
        "diff": {"before": before if changed else {}, "after": after if changed else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "source": {"type": "str"},
            "source_repository": {"type": "str"},
            **connection_argument_spec(),
        },
        required_if=[("state", "present", ["source"])],
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
