# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image from one repository to another of the same registry, by its digest, without sending its layers."""

from __future__ import annotations

from .client import RegistryClient, full_name
from .errors import RegistryNotFound
from .manifests import Manifest


def read(client: RegistryClient, repository: str, reference: str) -> Manifest:
    """The manifest, or RegistryNotFound."""
    manifest = client.manifest(repository, reference)
    if manifest is None:
        raise RegistryNotFound("Reading %s" % full_name(repository, reference), "the registry does not have it")
    return manifest


def copy(client: RegistryClient, source: str, manifest: Manifest, repository: str, reference: str) -> None:
    """Children first, then blobs, then the manifest: it is never there without what it names."""
    if source != repository:
        for child in manifest.children:
            if client.digest(repository, child["digest"]) is None:
                copy(client, source, read(client, source, child["digest"]), repository, child["digest"])
        for blob in manifest.blobs:
            if not blob.elsewhere and client.blob_size(repository, blob.digest) is None:
                client.mount_blob(source, repository, blob.digest)
    client.put_manifest(repository, reference, manifest.content, manifest.media_type)
