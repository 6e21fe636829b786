# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link `release`: the commit's release file names every image by digest, and the model once there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from .links import BrokenLinkError, CannotCheckError
from .repository import Entry, Repository

SUFFIX = "group_vars/all/release.yml"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PIN = "write the digests (playbook edge.rack.pin_release), commit signed (git commit -S), and check that out"


@dataclass
class Release:
    """What may be on a device. Several files (a group's own release) allow what any of them names.

    Before the first training there is no model to name: then none may be served.
    """

    names: list[str] = field(default_factory=list)
    images: dict[str, set[str]] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, Any]:
        images = {name: sorted(digests) for name, digests in self.images.items()}
        return {"names": self.names, "images": images, "models": sorted(self.models)}

    def __str__(self) -> str:
        images = sum(map(len, self.images.values()))
        models = f"and {len(self.models)} model by digest" if self.models else "by digest, no model yet"
        return f"{', '.join(self.names)}: {images} images {models}"


def read(repository: Repository, paths: Sequence[str]) -> Release:
    """The release as the commit has it, whatever the work tree says."""
    entries = repository.entries
    release = Release()
    for path in paths or [_only(entries)]:
        if path not in entries:
            raise BrokenLinkError(
                f"the commit has no {path}", "name the site's release file (--site, trust_release_files)"
            )
        _add(release, path, repository.read("blob", entries[path].blob))
    return release


def _only(entries: dict[str, Entry]) -> str:
    # inventory/example is a template that every checkout of the collection has.
    found = [path for path in entries if f"/{path}".endswith(f"/{SUFFIX}")]
    if len(found) != 1:
        raise CannotCheckError(
            f"the commit has {len(found)} files {SUFFIX}" + "".join(f", {path}" for path in sorted(found)),
            "name the site's (--site, trust_release_files)",
        )
    return found[0]


def _add(release: Release, path: str, content: bytes) -> None:
    try:
        given = (yaml.safe_load(content) or {})["edge_release"]
        images = dict(given["images"])
        model = dict(given.get("model") or {})
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BrokenLinkError(f"{path} holds no edge_release with images ({reason})", PIN) from error
    release.names.append(str(given.get("name", path)))
    for name, image in images.items():
        fields = image if isinstance(image, dict) else {}
        release.images.setdefault(str(name), set()).add(_digest(path, f"images.{name}", fields))
        if "tag" in fields:
            release.tags.setdefault(str(name), set()).add(str(fields["tag"]))
    if model.get("digest") is not None:
        release.models.add(_digest(path, "model", model))


def _digest(path: str, where: str, fields: dict[str, Any]) -> str:
    digest = fields.get("digest")
    if digest is None:
        raise BrokenLinkError(f"{path}: edge_release.{where}.digest is not set", PIN)
    if not DIGEST.fullmatch(str(digest)):
        raise BrokenLinkError(
            f"{path}: edge_release.{where}.digest is {digest!r}, not sha256: and 64 hexadecimal digits", PIN
        )
    return str(digest)
