# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file as an artifact: OCI image spec 1.1, "Guidelines for Artifact Usage"."""

from __future__ import annotations

import json
import typing as t

from .client import RegistryClient
from .errors import RegistryError
from .manifests import EMPTY_TYPE, IMAGE_TYPES, digest_of

EMPTY = b"{}"
"""The content of OCI's empty descriptor, which stands where an image has its configuration."""


def manifest_of(
    file_digest: str, size: int, artifact_type: str, media_type: str, annotations: t.Mapping[str, str]
) -> bytes:
    """The manifest's bytes. No time is in it: the same file has the same manifest, whoever publishes it and when."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPES[0],
        "artifactType": artifact_type,
        "config": {"mediaType": EMPTY_TYPE, "digest": digest_of(EMPTY), "size": len(EMPTY)},
        "layers": [{"mediaType": media_type, "digest": file_digest, "size": size}],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode("utf-8")


def publish(client: RegistryClient, repository: str, tag: str, file: t.BinaryIO, manifest: bytes) -> str:
    """Blobs first, then the manifest that names them; returns its digest."""
    try:
        return _publish(client, repository, tag, file, manifest)
    except RegistryError as error:
        if "MANIFEST_BLOB_UNKNOWN" not in error.codes:
            raise
        # The manifest waited for a clean-up, to which its blobs were nobody's.
        return _publish(client, repository, tag, file, manifest)


def _publish(client: RegistryClient, repository: str, tag: str, file: t.BinaryIO, manifest: bytes) -> str:
    client.put_blob(repository, EMPTY)
    client.put_blob(repository, file)
    return client.put_manifest(repository, tag, manifest, IMAGE_TYPES[0])
