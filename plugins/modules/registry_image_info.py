#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_image_info
short_description: List the images of a registry
version_added: "0.1.0"
description:
  - Reads tags, digests, sizes, layers and platforms of the images in one repository, or in all.
  - An image that several tags name is listed once.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.registry
  - edge.rack.attributes.info
  - edge.rack.attributes.actiongroup_registry
options:
  repository:
    description:
      - The repository, such as V(edge/worker). If not set, all that the registry lists.
    type: str
  references:
    description:
      - Tags or digests (V(sha256:HEX)) to look for. If not set, all tags.
      - Images without a tag are found by digest only.
      - One that is not there is listed in RV(missing).
    type: list
    elements: str
seealso:
  - module: edge.rack.registry_tag
  - module: edge.rack.registry_prune
"""

EXAMPLES = r"""
- name: Images of the worker are known
  edge.rack.registry_image_info:
    registry_url: registry.example.com:5000
    registry_username: pull
    registry_password: "{{ vault_pull_password }}"
    ca_path: /etc/docker/registry/ca.crt
    repository: edge/worker
  register: worker

- name: The digest of a version is known
  edge.rack.registry_image_info:
    repository: edge/worker
    references: ["0.1.0"]
  register: version
  failed_when: version.missing | length > 0
"""

RETURN = r"""
images:
  description: The images, sorted by repository and digest.
  type: list
  elements: dict
  returned: always
  contains:
    repository:
      description: Repository.
      type: str
      sample: edge/worker
    digest:
      description: Digest of the manifest or index.
      type: str
    tags:
      description: Those of the looked-for tags that name it.
      type: list
      elements: str
    media_type:
      description: Type of the manifest or index.
      type: str
      sample: application/vnd.oci.image.index.v1+json
    size_bytes:
      description: Bytes of configuration and layers, as they are sent; for an index those of all its platforms, each
        layer once.
      type: int
    created:
      description: When it was built, as the image tells it; for an index the latest of its platforms. Empty if none
        tells.
      type: str
      sample: "2026-11-28T10:00:00Z"
    platforms:
      description: For each platform its image; one entry for an image that is no index.
      type: list
      elements: dict
      contains:
        platform:
          description: System, architecture and variant.
          type: str
          sample: linux/arm64/v8
        digest:
          description: Digest of its manifest.
          type: str
        size_bytes:
          description: Bytes of configuration and layers.
          type: int
        created:
          description: When it was built.
          type: str
        layers:
          description: Its layers, the lowest first.
          type: list
          elements: dict
          contains:
            digest:
              description: Digest.
              type: str
            size_bytes:
              description: Bytes as they are sent.
              type: int
            media_type:
              description: Type.
              type: str
    annotations:
      description: Annotations of the manifest or index.
      type: dict
missing:
  description: Those of O(references) that are not there, as C(REPOSITORY:TAG) or C(REPOSITORY@DIGEST).
  type: list
  elements: str
  returned: always
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.edge.rack.plugins.module_utils.registry.client import RegistryClient, full_name
from ansible_collections.edge.rack.plugins.module_utils.registry.errors import RegistryCorrupt
from ansible_collections.edge.rack.plugins.module_utils.registry.manifests import (
    Blob,
    Manifest,
    is_digest,
    platform_text,
)
from ansible_collections.edge.rack.plugins.module_utils.registry.module import connection_argument_spec, run_with_client

Row = t.Dict[str, t.Any]


def configuration(client: RegistryClient, repository: str, manifest: Manifest) -> Row:
    """What the image tells of itself; nothing for an artifact, whose configuration is of another kind."""
    if manifest.config is None or not manifest.config.media_type.endswith(
        (".image.config.v1+json", ".container.image.v1+json")
    ):
        return {}
    try:
        data = json.loads(client.blob(repository, manifest.config.digest).decode("utf-8"))
    except ValueError as error:
        asked = "Reading the configuration of %s" % full_name(repository, manifest.digest)
        raise RegistryCorrupt(asked, "it is not JSON (%s)" % error) from error
    return data if isinstance(data, dict) else {}


def platform_row(client: RegistryClient, repository: str, manifest: Manifest, platform: t.Any) -> Row:
    config = configuration(client, repository, manifest)
    return {
        "platform": platform_text(platform or config),
        "digest": manifest.digest,
        "size_bytes": total(manifest.blobs),
        "created": str(config.get("created") or ""),
        "layers": [
            {"digest": layer.digest, "size_bytes": layer.size, "media_type": layer.media_type}
            for layer in manifest.layers
        ],
    }


def image_row(client: RegistryClient, repository: str, manifest: Manifest, tags: t.Sequence[str]) -> Row:
    platforms, blobs = [], []  # type: t.List[Row], t.List[Blob]
    parts = [(manifest, None)] if not manifest.is_index else []  # type: t.List[t.Tuple[t.Optional[Manifest], t.Any]]
    parts += [(client.manifest(repository, child["digest"]), child.get("platform")) for child in manifest.children]
    for part, platform in parts:
        # A registry may hold an index of which some platforms were never copied to it.
        if part is not None:
            platforms.append(platform_row(client, repository, part, platform))
            blobs += part.blobs
    return {
        "repository": repository,
        "digest": manifest.digest,
        "tags": sorted(tags),
        "media_type": manifest.media_type,
        "size_bytes": total(blobs),
        "created": max([row["created"] for row in platforms], default=""),
        "platforms": platforms,
        "annotations": manifest.annotations,
    }


def total(blobs: t.Sequence[Blob]) -> int:
    return sum({blob.digest: blob.size for blob in blobs}.values())


def work(module: AnsibleModule, client: RegistryClient) -> Row:
    repository, references = module.params["repository"], module.params["references"]
    images, missing = [], []  # type: t.List[Row], t.List[str]
    for name in [repository] if repository else client.repositories():
        found = {}  # type: t.Dict[str, t.List[str]]
        for reference in client.tags(name) if references is None else references:
            digest = client.digest(name, reference)
            if digest is None:
                missing.append(full_name(name, reference))
            else:
                found.setdefault(digest, []).extend([] if is_digest(reference) else [reference])
        for digest in sorted(found):
            manifest = client.manifest(name, digest)
            if manifest is not None:
                images.append(image_row(client, name, manifest, found[digest]))
    return {"changed": False, "images": images, "missing": missing if references is not None else []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str"},
            "references": {"type": "list", "elements": "str"},
            **connection_argument_spec(),
        },
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
