# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link `model`: the bundle on the device, and the one that a container is told to serve, are the release's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .engine import Engine
from .links import BrokenLinkError
from .release import Release

CHUNK_BYTES = 1 << 20
MODELS = PurePosixPath("/models")
SERVING = PurePosixPath("/serving/model.json")
REMEDY = "serve the release's model again (edge.rack.serve)"


def check(engine: Engine, release: Release, folder: Path) -> str:
    """Say which models are here; BrokenLinkError where a bundle is not what its name, or the release, says."""
    wrong: list[str] = []
    bundles = {folder / f"{digest.removeprefix('sha256:')}.tar": digest for digest in release.models}
    present = {path: digest for path, digest in bundles.items() if path.exists() or path.is_symlink()}
    for container in engine.containers:
        name = container["Name"].lstrip("/")
        if not any(mount["Destination"] == SERVING.parent.as_posix() for mount in container["Mounts"]):
            continue
        file = _on_device(container, SERVING)
        digest = _told(file) if file else ""
        if not digest:
            wrong.append(f"{name} serves a model that {file or SERVING} does not name")
            continue
        if digest not in release.models:
            wrong.append(f"{name} serves the model {digest}, which the release does not name")
            continue
        path = _on_device(container, MODELS / f"{digest.removeprefix('sha256:')}.tar")
        if path is None:
            wrong.append(f"{name} serves the model {digest}, whose bundle is no file of this device")
        else:
            present[path] = digest
    wrong += _altered(present)
    if wrong:
        raise BrokenLinkError("; ".join(wrong), REMEDY)
    return ", ".join(sorted({digest[:19] for digest in present.values()})) or "no model of the release is here yet"


def _altered(bundles: dict[Path, str]) -> Iterator[str]:
    for path, digest in sorted(bundles.items()):
        if not path.is_file():
            yield f"{path} is not there, or no file"
            continue
        try:
            found = _digest(path)
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"
            continue
        if found != digest:
            yield f"{path} has the digest {found}, released is {digest}"


def _digest(path: Path) -> str:
    # Not hashlib.file_digest: Python 3.10 of Ubuntu 22.04 has none.
    content = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK_BYTES):
            content.update(part)
    return f"sha256:{content.hexdigest()}"


def _told(file: Path) -> str:
    """The digest that a container begins with; empty where nothing says so. edge-commit writes the file."""
    try:
        return str(json.loads(file.read_text())["digest"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _on_device(container: dict[str, Any], path: PurePosixPath) -> Path | None:
    """Where a path of the container lies on the device."""
    mounts = [mount for mount in container["Mounts"] if path.is_relative_to(mount["Destination"])]
    if not mounts:
        return None
    # One mount may lie within another: the innermost is what the container sees.
    inner = max(mounts, key=lambda mount: len(PurePosixPath(mount["Destination"]).parts))
    return Path(inner["Source"]) / path.relative_to(inner["Destination"])
