# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests and indexes as plain data, in both vocabularies: OCI image spec 1.1 and Docker's schema 2."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import dataclass

from .errors import RegistryCorrupt, RegistryError

IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = ", ".join(INDEX_TYPES + IMAGE_TYPES)
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
CHUNK = 1 << 20
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_of_file(file: t.BinaryIO) -> str:
    """The same of a whole file, wherever it is read at; in pieces, for a model has a gigabyte."""
    sha = hashlib.sha256()
    file.seek(0)
    for part in iter(lambda: file.read(CHUNK), b""):
        sha.update(part)
    return "sha256:" + sha.hexdigest()


def is_digest(reference: str) -> bool:
    return bool(DIGEST.match(reference))


def repository_of(name: str) -> str:
    """``registry.edge.lab:5000/edge/worker:1@sha256:...`` -> ``edge/worker``."""
    name = name.split("@", 1)[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    return name.split(":", 1)[0]


@dataclass(frozen=True)
class Blob:
    """What a manifest points at; size in bytes."""

    digest: str
    size: int
    media_type: str = ""
    elsewhere: bool = False
    """Whether the registry need not have it: a layer with addresses of its own."""


@dataclass(frozen=True)
class Manifest:
    """One manifest or index; ``content`` is what its digest is of."""

    digest: str
    media_type: str
    content: bytes
    data: t.Mapping[str, t.Any]

    @classmethod
    def parse(cls, asked: str, content: bytes, media_type: str) -> Manifest:
        """Raises RegistryError for what is neither an image nor an index."""
        try:
            data = json.loads(content.decode("utf-8"))
        except ValueError as error:
            raise RegistryCorrupt(asked, "the manifest is not JSON (%s)" % error) from error
        kind = media_type.split(";")[0].strip()
        if isinstance(data, dict) and data.get("mediaType"):
            kind = data["mediaType"]
        if not isinstance(data, dict) or kind not in IMAGE_TYPES + INDEX_TYPES:
            raise RegistryError(
                asked,
                "manifests of type %s are not known here" % (kind or "?"),
                remedy="Push the image again with a client of today (OCI or Docker schema 2).",
            )
        return cls(digest_of(content), kind, content, data)

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def children(self) -> t.List[t.Mapping[str, t.Any]]:
        """The descriptors of an index."""
        return list(self.data.get("manifests") or []) if self.is_index else []

    @property
    def config(self) -> t.Optional[Blob]:
        descriptor = self.data.get("config")
        return _blob(descriptor) if descriptor and not self.is_index else None

    @property
    def layers(self) -> t.List[Blob]:
        return [] if self.is_index else [_blob(layer) for layer in self.data.get("layers") or []]

    @property
    def blobs(self) -> t.List[Blob]:
        """Config and layers."""
        return ([self.config] if self.config else []) + self.layers

    @property
    def annotations(self) -> t.Dict[str, str]:
        return dict(self.data.get("annotations") or {})

    @property
    def base(self) -> t.Optional[t.Tuple[str, str]]:
        """Repository and digest of the image this one was built on, where it names both."""
        name, digest = self.annotations.get(BASE_NAME), self.annotations.get(BASE_DIGEST)
        return (repository_of(name), digest) if name and digest else None

    @property
    def subject(self) -> t.Optional[str]:
        """Digest of the manifest this one is attached to (OCI 1.1: signatures, bills of materials)."""
        return (self.data.get("subject") or {}).get("digest")


def platform_text(platform: t.Optional[t.Mapping[str, t.Any]]) -> str:
    """``linux/arm64/v8``, empty if nothing is told."""
    parts = [(platform or {}).get(key) for key in ("os", "architecture", "variant")]
    return "/".join(str(part) for part in parts if part)


def _blob(descriptor: t.Mapping[str, t.Any]) -> Blob:
    media_type = str(descriptor.get("mediaType") or "")
    return Blob(
        str(descriptor["digest"]),
        int(descriptor.get("size") or 0),
        media_type,
        bool(descriptor.get("urls")) or "nondistributable" in media_type or "foreign" in media_type,
    )
