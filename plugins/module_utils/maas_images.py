# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom images in MAAS: finding them, uploading them in pieces that can be gone on with, and deleting old ones."""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasError,
    MaasRefused,
    MaasUnavailable,
    MaasUnreachable,
)

CHUNK_BYTES = 4 * 1024 * 1024
"""A region refuses larger pieces."""
LOST_PIECE_PAUSES = (1.0, 2.0, 4.0)

Resource = t.Dict[str, t.Any]

# edge-nuc-1.4.0, edge-nuc-v2, edge-nuc-20261123-2, edge-nuc-5e9dba2: a name and a version.
_VERSIONED = re.compile(r"(?P<family>.+?)-(v?[0-9][\w.+~-]*|[0-9a-f]{7,64})")


def bare_name(name: str) -> str:
    """MAAS gives a name back without ``custom/``."""
    return name[len("custom/") :] if name.startswith("custom/") else name


def family_of(name: str) -> t.Optional[str]:
    """``edge-nuc-1.4.0`` -> ``edge-nuc``; None where the name ends in no version."""
    match = _VERSIONED.fullmatch(name)
    return match.group("family") if match else None


def files_by_age(resource: t.Optional[Resource]) -> t.List[t.Dict[str, t.Any]]:
    """The file of each set, the newest first. A later set of one day is named ``20261123.1``."""
    sets = (resource or {}).get("sets") or {}

    def age(version: str) -> t.Tuple[int, ...]:
        return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))

    newest_first = [sets[version]["files"] for version in sorted(sets, key=age, reverse=True)]
    return [next(iter(files.values())) for files in newest_first if files]


def newest_file(resource: t.Optional[Resource]) -> t.Dict[str, t.Any]:
    """The file that is deployed."""
    return next(iter(files_by_age(resource)), {})


def images_in_use(client: MaasClient) -> t.Dict[str, t.List[str]]:
    """By the bare name of a custom image the host names of the machines that run it or are about to, in any status."""
    used = {}  # type: t.Dict[str, t.List[str]]
    for row in client.read_machines():
        if row.get("osystem") == "custom" and row.get("distro_series"):
            used.setdefault(row["distro_series"], []).append(row["hostname"])
    return used


def to_prune(resources: t.List[Resource], name: str, architecture: str, keep: int) -> t.List[Resource]:
    """The images of this one's family that are too many: all but this one and the newest others.

    MAAS numbers images as they come, so a higher number is a newer image.
    """
    family = family_of(name)
    others = [
        resource
        for resource in resources
        if resource["architecture"] == architecture
        and resource["name"] != name
        and family_of(resource["name"]) == family
    ]
    return sorted(others, key=lambda resource: resource["id"], reverse=True)[keep - 1 :]


def delete(client: MaasClient, resource: Resource) -> None:
    """Delete an image; one that somebody else has deleted meanwhile is deleted too."""
    try:
        client.call("BootResource.delete", id=resource["id"])
    except MaasError:
        # MAAS answers 500 for one that is not there (recorded).
        if any(other["id"] == resource["id"] for other in client.call("BootResources.read", type="uploaded")):
            raise


class Upload:
    """The upload of one file: announced, sent in pieces, gone on with where an earlier one broke off."""

    def __init__(self, client: MaasClient, path: str, posted: t.Dict[str, t.Any]) -> None:
        self.client = client
        self.path = path
        self.posted = posted
        self.sent_bytes = 0
        self.resumed_at = 0

    def run(self, resource: t.Optional[Resource]) -> Resource:
        """Make MAAS have the content under this name; the resource as it is then."""
        before = newest_file(resource)
        same = before.get("sha256") == self.posted["sha256"]
        offset = received_bytes(before)
        if resource is not None and same and before.get("upload_uri") and offset is not None:
            try:
                self.resumed_at = offset
                return self._send(resource, before, offset)
            except MaasRefused:
                self.resumed_at = 0  # What lies there is not the beginning of this content.
        if resource is not None and same and not any(file.get("complete") for file in files_by_age(resource)):
            # Nothing but a broken upload is there: a clean start.
            delete(self.client, resource)
        try:
            return self._announce_and_send()
        except MaasRefused:
            if not same:
                raise
            # A region drops a broken upload when it finds that its content is wrong: the next try is whole.
            return self._announce_and_send()

    def _announce_and_send(self) -> Resource:
        resource = self.client.call("BootResources.create", **self.posted)
        file = newest_file(resource)
        if file.get("complete"):
            return resource
        return self._send(resource, file, received_bytes(file) or 0)

    def _send(self, resource: Resource, file: t.Dict[str, t.Any], offset: int) -> Resource:
        lost = 0
        with open(self.path, "rb") as handle:
            while offset < self.posted["size"]:
                handle.seek(offset)
                chunk = handle.read(CHUNK_BYTES)
                if not chunk:
                    break  # The file has become shorter: the region will not have it whole.
                try:
                    self.client.put_bytes(file["upload_uri"], chunk)
                except (MaasUnreachable, MaasUnavailable):
                    if lost >= len(LOST_PIECE_PAUSES):
                        raise
                    time.sleep(LOST_PIECE_PAUSES[lost])
                    lost += 1
                    # Whether this piece has arrived is for the region to say.
                    file = newest_file(self._read(resource))
                    known = self.posted["size"] if file.get("complete") else received_bytes(file)
                    if known is None:
                        raise
                    self.sent_bytes += max(0, known - offset)
                    offset = known
                else:
                    lost = 0
                    self.sent_bytes += len(chunk)
                    offset += len(chunk)
        return self._read(resource)

    def _read(self, resource: Resource) -> Resource:
        """The resource as it is now, also of a region that is about to answer again."""
        for pause in LOST_PIECE_PAUSES:
            try:
                return self.client.call("BootResource.read", id=resource["id"])
            except (MaasUnreachable, MaasUnavailable):
                time.sleep(pause)
        return self.client.call("BootResource.read", id=resource["id"])


def received_bytes(file: t.Dict[str, t.Any]) -> t.Optional[int]:
    """How much of a file has arrived; None where the region does not say it exactly.

    3.6 gives the percentage as it is, 3.4 a whole number.
    """
    progress = file.get("progress")
    return round(progress * file["size"] / 100) if isinstance(progress, float) else None
