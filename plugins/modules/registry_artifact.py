#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_artifact
short_description: Publish a file in a registry
version_added: "0.1.0"
description:
  - Publishes one file as an artifact of the OCI image spec 1.1, a manifest whose only layer is the file as it is.
  - The same file with the same options has the same manifest. What the registry has is not sent again.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.registry
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_registry
options:
  path:
    description: The file, on the machine that the task runs on. It may be of any size.
    type: path
    required: true
  repository:
    description: The repository, such as V(edge/model).
    type: str
    required: true
  tag:
    description: The tag. If not set, it is the SHA-256 of the file (64 hex digits).
    type: str
  artifact_type:
    description: What the artifact is (C(artifactType) of the manifest), a media type.
    type: str
    default: application/vnd.edge.model.v1
  media_type:
    description: Media type of the file.
    type: str
    default: application/vnd.edge.model.v1.tar
  annotations:
    description: Annotations of the manifest. Others make another manifest, which the tag then names.
    type: dict
    default: {}
seealso:
  - module: edge.rack.registry_image_info
  - module: edge.rack.registry_tag
"""

EXAMPLES = r"""
- name: Trained model is in the registry
  edge.rack.registry_artifact:
    registry_url: registry.example.com:5000
    registry_username: push
    registry_password: "{{ vault_push_password }}"
    ca_path: /etc/docker/certs.d/registry.example.com:5000/ca.crt
    path: /srv/models/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.tar
    repository: edge/model
"""

RETURN = r"""
artifact:
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
      description: Digest of the manifest.
      type: str
file:
  description: The file in the registry, which anyone who may pull fetches by its digest.
  type: dict
  returned: always
  contains:
    digest:
      description: Digest of the file.
      type: str
    size_bytes:
      description: Size of the file.
      type: int
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.registry import artifact
from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient, full_name
from ansible_collections.edge.rack.plugins.module_utils.registry.errors import RegistryError, RegistrySettingsError
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import digest_of, digest_of_file
from ansible_collections.edge.rack.plugins.module_utils.registry.module import connection_argument_spec, run_with_client


def work(module: AnsibleModule, client: RegistryClient) -> t.Dict[str, t.Any]:
    path = module.params["path"]
    try:
        with open(path, "rb") as file:
            return publish(module, client, file)
    except OSError as error:
        raise RegistrySettingsError(
            "Publishing %s" % path,
            "`path` cannot be read (%s)" % error.strerror,
            remedy="Name a file on the machine that the task runs on.",
        ) from error


def publish(module: AnsibleModule, client: RegistryClient, file: t.BinaryIO) -> t.Dict[str, t.Any]:
    params = module.params
    file_digest, size = digest_of_file(file), os.fstat(file.fileno()).st_size
    repository, tag = params["repository"], params["tag"] or file_digest.partition(":")[2]
    annotations = {str(name): str(text) for name, text in params["annotations"].items()}
    manifest = artifact.manifest_of(file_digest, size, params["artifact_type"], params["media_type"], annotations)
    before = {"repository": repository, "tag": tag, "digest": client.digest(repository, tag)}
    after = dict(before, digest=digest_of(manifest))
    changed = after != before
    if changed and not module.check_mode:
        artifact.publish(client, repository, tag, file, manifest)
        done = client.digest(repository, tag)
        if done != after["digest"]:
            asked = "Publishing %s" % full_name(repository, tag)
            raise RegistryError(asked, "it names %s afterwards" % done, remedy="Somebody else pushes this tag too.")
    return {
        "changed": changed,
        "artifact": after,
        "file": {"digest": file_digest, "size_bytes": size},
        "diff": {"before": before if changed else {}, "after": after if changed else {}},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str"},
            "artifact_type": {"type": "str", "default": "application/vnd.edge.model.v1"},
            "media_type": {"type": "str", "default": "application/vnd.edge.model.v1.tar"},
            "annotations": {"type": "dict", "default": {}},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
