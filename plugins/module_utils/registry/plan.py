# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clean-up would do: every image that the registry has, with its verdict. Reads only."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from . import keep, records
from .client import RegistryClient
from .errors import RegistryError
from .settings import Settings
from .storage import Storage

ASKED = "Planning the clean-up"


@dataclass(frozen=True)
class Plan:
    decision: keep.Decision
    problems: t.Sequence[str]
    """Why nothing may be deleted."""
    frees_bytes: int
    rubbish: t.Sequence[str]
    """Blobs that no manifest names, and that are no push in progress any more."""
    last_push: float
    """When a push last sent something that no manifest names yet, in seconds since 1970."""
    unread: t.Sequence[str] = ()
    """Devices' reports that cannot be read, each with the reason."""

    @property
    def has_work(self) -> bool:
        return bool(self.decision.dropped or self.rubbish)

    def require_complete(self) -> None:
        """Raise RegistryError unless everything that is kept is there."""
        if self.problems:
            raise RegistryError(
                ASKED,
                "what must be kept is not there: %s" % listed(self.problems),
                remedy="Nothing was deleted. Push or restore it, or release another.",
            )

    def require_devices(self) -> None:
        """Raise RegistryError if a device needs what is lost already, or reports what cannot be read.

        Neither is a reason to keep what nothing needs.
        """
        said = []
        if self.decision.lost:
            said.append("it is not there: %s" % listed(self.decision.lost))
        if self.unread:
            said.append("what they reported before counts, for the newest cannot be read: %s" % listed(self.unread))
        if said:
            raise RegistryError(
                "Looking for what devices need",
                "; ".join(said),
                remedy="The rest is in order. Push or restore what is not there; deploy the device anew, or let it"
                " report again; or retire it with edge.rack.retire.",
            )


def make(settings: Settings, client: RegistryClient) -> Plan:
    """Read records and registry; raises RegistryError where one cannot be read."""
    known = records.read(settings.records)
    storage = Storage(settings.storage)
    images = read_images(client, storage)
    blobs = storage.blobs()
    now = time.time()
    decision = keep.decide(
        images,
        known,
        patterns=settings.repositories,
        keep_releases=settings.keep_releases,
        keep_pushed_seconds=settings.keep_pushed_seconds,
        now=now,
    )
    kept = {digest for image in decision.kept for digest in [image.digest, *image.blobs]}
    named = {digest for image in images for digest in [image.digest, *image.blobs]}
    unnamed = {digest: written for digest, (_size, written) in blobs.items() if digest not in named}
    rubbish = sorted(digest for digest, written in unnamed.items() if now - written >= settings.keep_pushed_seconds)
    return Plan(
        decision,
        [*decision.missing, *_incomplete(decision.kept, blobs)],
        sum(size for digest, (size, _written) in blobs.items() if digest not in kept),
        rubbish,
        max([storage.last_upload(), *unnamed.values()]),
        known.unread,
    )


def read_images(client: RegistryClient, storage: Storage) -> t.List[keep.Image]:
    """Every manifest of every repository, tagged or not."""
    images = []
    for repository in storage.repositories():
        tags = {}  # type: t.Dict[str, t.List[str]]
        for tag, digest in storage.tags(repository).items():
            tags.setdefault(digest, []).append(tag)
        for digest, pushed in storage.revisions(repository).items():
            manifest = client.manifest(repository, digest)
            if manifest is None:
                folder = storage.revision(repository, digest)
                raise RegistryError(
                    ASKED,
                    "%s@%s is listed in the storage and its content is gone" % (repository, digest),
                    remedy="Nothing was deleted. Push or restore the image, or remove %s and restart the registry."
                    % folder,
                )
            images.append(
                keep.Image(
                    repository,
                    digest,
                    pushed,
                    tuple(tags.get(digest, ())),
                    manifest.is_index,
                    tuple(child["digest"] for child in manifest.children),
                    {blob.digest: blob.size for blob in manifest.blobs if not blob.elsewhere},
                    len(manifest.content),
                    manifest.base,
                    manifest.subject,
                )
            )
    return images


def _incomplete(kept: t.Sequence[keep.Image], blobs: t.Mapping[str, t.Tuple[int, float]]) -> t.Iterator[str]:
    for image in kept:
        for digest, size in image.blobs.items():
            there = blobs.get(digest)
            if there is None:
                yield "the blob %s of %s" % (digest, keep.short(image))
            elif there[0] != size:
                yield "the blob %s of %s (%d bytes of %d)" % (digest, keep.short(image), there[0], size)


def listed(problems: t.Sequence[str], most: int = 10) -> str:
    more = len(problems) - most
    return "; ".join(problems[:most]) + ("; and %d more" % more if more > 0 else "")
