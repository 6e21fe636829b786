# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: every kept manifest and blob, read back through the API and checked against its digest."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .client import RegistryClient
from .errors import RegistryError
from .keep import Image
from .plan import listed


@dataclass(frozen=True)
class Verified:
    manifests: int
    blobs: int
    bytes: int
    """Read in all."""


def verify(client: RegistryClient, kept: t.Sequence[Image]) -> Verified:
    """Raises RegistryError that lists what is missing or damaged."""
    problems = []  # type: t.List[str]
    sizes = {}  # type: t.Dict[str, int]
    manifest_bytes = 0
    for image in kept:
        try:
            manifest = client.manifest(image.repository, image.digest)
            if manifest is None:
                problems.append("%s@%s is missing" % image.key)
                continue
            manifest_bytes += len(manifest.content)
            for digest in image.blobs:
                if digest not in sizes:
                    # Once for its bytes; that each repository has it costs a look only.
                    sizes[digest] = client.read_blob(image.repository, digest)
                elif client.blob_size(image.repository, digest) is None:
                    problems.append("the blob %s of %s@%s is missing" % (digest, *image.key))
        except RegistryError as error:
            problems.append("%s@%s: %s: %s" % (*image.key, error.asked, error.answer))
    if problems:
        raise RegistryError(
            "Verifying what was kept",
            listed(problems),
            remedy="PUSH THESE IMAGES AGAIN or restore the registry from its backup, before a device needs them.",
        )
    return Verified(len(kept), len(sizes), manifest_bytes + sum(sizes.values()))
