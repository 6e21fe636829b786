# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images are kept, and by which rule. Pure: data in, verdicts out."""

from __future__ import annotations

import fnmatch
import re
import typing as t
from dataclasses import dataclass, field

from .records import Records
from .storage import Key

# The index of what is attached to an image, from registries below OCI 1.1 ("Referrers Tag Schema"); and cosign's tags.
ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\.[a-z0-9]+)?\Z")
NOTHING = "no release in force, none of the last %d, no device and no kept image names it"


@dataclass(frozen=True)
class Image:
    """A manifest or index in a repository."""

    repository: str
    digest: str
    pushed: float
    """Seconds since 1970."""
    tags: t.Sequence[str] = ()
    is_index: bool = False
    children: t.Sequence[str] = ()
    blobs: t.Mapping[str, int] = field(default_factory=dict)
    """Digest -> bytes, of what the registry must have: config and layers."""
    bytes: int = 0
    """The manifest's own."""
    base: t.Optional[Key] = None
    subject: t.Optional[str] = None

    @property
    def key(self) -> Key:
        return (self.repository, self.digest)

    @property
    def attached_to(self) -> t.Set[str]:
        """Digests of the images it belongs to, by its subject or by its tags."""
        named = [ATTACHED.match(tag) for tag in self.tags]
        return {"sha256:" + one.group(1) for one in named if one} | ({self.subject} if self.subject else set())

    @property
    def size(self) -> int:
        return self.bytes + sum(self.blobs.values())


@dataclass(frozen=True)
class Verdict:
    image: Image
    rules: t.Sequence[str]
    """Every rule that keeps it; for one that goes, the reason."""
    kept: bool

    def as_result(self) -> t.Dict[str, t.Any]:
        return {
            "repository": self.image.repository,
            "digest": self.image.digest,
            "tags": list(self.image.tags),
            "size_bytes": self.image.size,
            "pushed": self.image.pushed,
            "rules": list(self.rules),
        }


@dataclass(frozen=True)
class Decision:
    verdicts: t.Sequence[Verdict]
    missing: t.Sequence[str]
    """What releases and kept indexes name and is not there, each with who names it."""
    lost: t.Sequence[str]
    """What only devices name and is not there."""

    @property
    def kept(self) -> t.List[Image]:
        return [verdict.image for verdict in self.verdicts if verdict.kept]

    @property
    def dropped(self) -> t.List[Image]:
        return [verdict.image for verdict in self.verdicts if not verdict.kept]


def decide(
    images: t.Sequence[Image],
    records: Records,
    *,
    patterns: t.Sequence[str],
    keep_releases: int,
    keep_pushed_seconds: float,
    now: float,
) -> Decision:
    """Every image with its verdict, in the order given."""
    by_key = {image.key: image for image in images}
    by_digest = {}  # type: t.Dict[str, t.List[Image]]
    attached = {}  # type: t.Dict[Key, t.List[Image]]
    for image in images:
        by_digest.setdefault(image.digest, []).append(image)
        for subject in image.attached_to:
            attached.setdefault((image.repository, subject), []).append(image)
    rules = {}  # type: t.Dict[Key, t.List[str]]
    missing = []  # type: t.List[str]
    lost = []  # type: t.List[str]
    waiting = []  # type: t.List[Image]

    def keep(image: Image, rule: str) -> None:
        if image.key not in rules:
            waiting.append(image)
        said = rules.setdefault(image.key, [])
        if rule not in said:
            said.append(rule)

    for named, absent in (
        (named_by_releases(records, keep_releases), missing),
        (named_by_devices(records), lost),
    ):
        for digest, rule in named:
            if digest not in by_digest:
                absent.append("%s (%s)" % (digest, rule))
            for image in by_digest.get(digest, []):
                keep(image, rule)
    for image in images:
        if not any(fnmatch.fnmatchcase(image.repository, pattern) for pattern in patterns):
            keep(image, "repository is not one of %s" % ", ".join(patterns))
        elif now - image.pushed < keep_pushed_seconds:
            keep(image, "pushed less than %s ago" % duration(keep_pushed_seconds))
    while waiting:
        image = waiting.pop()
        for digest in image.children:
            child = by_key.get((image.repository, digest))
            if child is None:
                missing.append("%s@%s (child of index %s)" % (image.repository, digest, short(image)))
            else:
                keep(child, "child of index %s" % short(image))
        # Its layers are the image's own: a base that is not here is missed by no device.
        if image.base in by_key:
            keep(by_key[t.cast(Key, image.base)], "base of %s" % short(image))
        for other in attached.get(image.key, []):
            keep(other, "attached to %s" % short(image))
    nothing = [NOTHING % keep_releases]
    verdicts = [Verdict(image, rules.get(image.key, nothing), image.key in rules) for image in images]
    return Decision(verdicts, missing, lost)


def named_by_releases(records: Records, keep_releases: int) -> t.Iterator[t.Tuple[str, str]]:
    """Digests, with the rule."""
    for nth, release in enumerate(records.releases):
        if release.name in records.in_force:
            which = "in force"
        elif nth < keep_releases:
            which = "one of the last %d" % keep_releases
        else:
            continue
        for image, digest in release.digests.items():
            yield digest, "release %s (%s): %s" % (release.name, which, image)


def named_by_devices(records: Records) -> t.Iterator[t.Tuple[str, str]]:
    """Digests, with the rule."""
    for device in records.devices:
        for digest in device.running:
            yield digest, "device %s runs it" % device.name
        for digest in device.rollback:
            yield digest, "device %s rolls back to it" % device.name


def short(image: Image) -> str:
    return "%s@%s" % (image.repository, image.digest[:19])


def duration(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            number = seconds // length
            return "%d %s%s" % (number, unit, "" if number == 1 else "s")
    return "%g seconds" % seconds
