# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's files, as distribution's filesystem driver lays them out (its ``paths.go``; the same in 2.8 and 3.0).

The API lists tags only; manifests without one are found here. Nothing but what a killed registry left behind is ever
removed here: images are deleted through the API.
"""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

from .errors import RegistryError

Key = t.Tuple[str, str]
"""Repository and digest."""


class Storage:
    def __init__(self, root: str) -> None:
        self.root = Path(root) / "docker" / "registry" / "v2"

    def repositories(self) -> t.List[str]:
        base = self.root / "repositories"
        return sorted(str(found.parent.relative_to(base)) for found in _below(base) if found.name == "_manifests")

    def revision(self, repository: str, digest: str) -> Path:
        """The folder that makes a manifest known in a repository."""
        return self._manifests(repository) / "revisions" / "sha256" / digest.partition(":")[2]

    def revisions(self, repository: str) -> t.Dict[str, float]:
        """Digest of each manifest -> when it was pushed last, in seconds since 1970."""
        found = {}
        for folder in _entries(self._manifests(repository) / "revisions" / "sha256"):
            pushed = self.pushed(repository, "sha256:" + folder.name)
            if pushed is not None:
                found["sha256:" + folder.name] = pushed
        return found

    def pushed(self, repository: str, digest: str) -> t.Optional[float]:
        """When a manifest was pushed last, None if it is not there: each push writes its link anew."""
        try:
            return (self.revision(repository, digest) / "link").stat().st_mtime
        except FileNotFoundError:
            return None

    def tags(self, repository: str) -> t.Dict[str, str]:
        """Tag -> digest."""
        found = {}
        for folder in _entries(self._manifests(repository) / "tags"):
            try:
                found[folder.name] = (folder / "current" / "link").read_text(encoding="ascii").strip()
            except FileNotFoundError:
                found[folder.name] = ""
        return found

    def remove_dangling_tags(self) -> t.List[str]:
        """Remove tags of manifests that are gone, which a registry leaves that was killed as it deleted one."""
        removed = []
        for repository in self.repositories():
            revisions = self.revisions(repository)
            for tag, digest in self.tags(repository).items():
                if digest not in revisions:
                    shutil.rmtree(str(self._manifests(repository) / "tags" / tag))
                    removed.append("%s:%s" % (repository, tag))
        return removed

    def blobs(self) -> t.Dict[str, t.Tuple[int, float]]:
        """Digest of each blob -> bytes, and when it was written."""
        found = {}
        for group in _entries(self.root / "blobs" / "sha256"):
            for folder in _entries(group):
                try:
                    data = (folder / "data").stat()
                except FileNotFoundError:
                    continue
                found["sha256:" + folder.name] = (data.st_size, data.st_mtime)
        return found

    def last_upload(self) -> float:
        """When an upload in progress last grew, in seconds since 1970; 0 if none is."""
        times = [0.0]
        base = self.root / "repositories"
        for folder in _below(base):
            if folder.name == "_uploads":
                for data in folder.glob("*/data"):
                    try:
                        times.append(data.stat().st_mtime)
                    except FileNotFoundError:
                        continue
        return max(times)

    def _manifests(self, repository: str) -> Path:
        return self.root / "repositories" / repository / "_manifests"


def _entries(folder: Path) -> t.List[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RegistryError(
            "Reading the registry's storage",
            "%s cannot be listed (%s)" % (folder, error),
            remedy="Run as root, and check `storage`.",
        ) from error


def _below(folder: Path) -> t.Iterator[Path]:
    """The registry's own folders (``_manifests``, ``_uploads``, ``_layers``) of all repositories."""
    for entry in _entries(folder):
        if entry.name.startswith("_"):
            yield entry
        elif entry.is_dir():
            yield from _below(entry)
