# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link `release`: the commit's release file names every image by digest, and the model once there is one."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from . import history, waves
from .links import BrokenLinkError, CannotCheckError
from .repository import Entry, Repository

SUFFIX = "group_vars/all/release.yml"
POLICY = "release_waves.yml"
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
        to = _part(path, repository.read("blob", entries[path].blob), "edge_release")
        _add(release, path, to)
        place, before = _before(repository, path, to)
        if before:
            _add(release, place, before)
    return release


def rollout(repository: Repository, paths: Sequence[str]) -> tuple[waves.Policy, waves.Rollout | None] | None:
    """The site's policy, and the newest release while waves of it are closed by that; None where it has no policy."""
    path = next((path for path in paths if f"/{path}".endswith(f"/{SUFFIX}")), "") or _only(repository.entries)
    policy = _policy(repository, path)
    if not policy:
        return None
    _beside, planned = _planned(repository, path)
    return policy, waves.rollout(history.releases(repository, path), policy, time.time(), planned)


def _only(entries: dict[str, Entry]) -> str:
    # inventory/example is a template that every checkout of the collection has.
    found = [path for path in entries if f"/{path}".endswith(f"/{SUFFIX}")]
    if len(found) != 1:
        raise CannotCheckError(
            f"the commit has {len(found)} files {SUFFIX}" + "".join(f", {path}" for path in sorted(found)),
            "name the site's (--site, trust_release_files)",
        )
    return found[0]


def _part(path: str, content: bytes, key: str) -> dict[str, Any]:
    try:
        return dict((yaml.safe_load(content) or {})[key])
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError) as error:
        what = "edge_release with images" if key == "edge_release" else key
        raise BrokenLinkError(f"{path} holds no {what} ({_reason(error)})", PIN) from error


def _before(repository: Repository, path: str, to: dict[str, Any]) -> tuple[str, waves.Given]:
    """What devices run whose wave has not come, and the file that says so; nothing once all waves are open."""
    beside, planned = _planned(repository, path)
    if planned and planned["to"] == to:
        taken_back = not planned["open"]
        return beside, {} if taken_back or waves.is_out(planned, time.time()) else planned["before"]
    policy = _policy(repository, path)
    found = waves.rollout(history.releases(repository, path), policy, time.time(), planned) if policy else None
    return path, found.before if found else {}


def _planned(repository: Repository, path: str) -> tuple[str, dict[str, Any]]:
    """What edge.rack.release wrote beside the release file."""
    beside = str(PurePosixPath(path).with_name("rollout.yml"))
    if beside not in repository.entries:
        return beside, {}
    planned = _part(beside, repository.read("blob", repository.entries[beside].blob), "edge_rollout")
    try:
        waves.is_out(planned, time.time())
        return beside, {"before": planned["before"], "to": planned["to"], **planned}
    except (LookupError, TypeError, ValueError) as error:
        raise BrokenLinkError(f"{beside} holds no edge_rollout ({_reason(error)})", PIN) from error


def _policy(repository: Repository, path: str) -> waves.Policy | None:
    beside = str(PurePosixPath(path).with_name(POLICY))
    if beside not in repository.entries:
        return None
    given = _part(beside, repository.read("blob", repository.entries[beside].blob), "edge_release_waves")
    try:
        return waves.Policy.parse(given)
    except waves.PolicyError as error:
        raise BrokenLinkError(f"{beside}: edge_release_waves: {error}", "mend it, and commit signed") from error


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _add(release: Release, path: str, given: waves.Given) -> None:
    try:
        images = dict(given["images"])
        model = dict(given.get("model") or {})
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BrokenLinkError(f"{path} holds no edge_release with images ({_reason(error)})", PIN) from error
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
