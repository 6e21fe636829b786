# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links `image` and `containers`: what the engine holds and runs is what the release names by digest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .engine import Engine, Reference
from .links import BrokenLinkError
from .release import Release
from .start import differences

DEPLOY = "deploy the release again (edge.rack.serve, edge.rack.train), which pulls by digest"


def check_images(engine: Engine, release: Release) -> str:
    """Say which released images are here; BrokenLinkError where a released name or tag means another image."""
    here: list[str] = []
    wrong: list[str] = []
    for image in engine.images:
        digests = [Reference.parse(text) for text in image["RepoDigests"] or []]
        released = [found for found in digests if _is_released(found, release)]
        here += [f"{found.repository}@{found.digest[:19]}" for found in released]
        for name in map(Reference.parse, image["RepoTags"] or []):
            tags = release.tags.get(_released_name(name), set())
            if name.tag in tags and not any(found.repository == name.repository for found in released):
                known = ", ".join(sorted({found.digest for found in digests})) or "none: it was not pulled"
                wrong.append(
                    f"{name.repository}:{name.tag} is {image['Id']} with the digest {known}, not the released one"
                )
    if wrong:
        raise BrokenLinkError("; ".join(wrong), f"docker image rm it, then {DEPLOY}")
    return ", ".join(sorted(set(here))) or "no image of the release is here yet"


def check_containers(engine: Engine, release: Release, others: Collection[str]) -> str:
    """Say what runs; BrokenLinkError names each container that runs anything but a released image as it is."""
    images = {image["Id"]: image for image in engine.images}
    names: list[str] = []
    wrong: list[str] = []
    for container in engine.containers:
        name = container["Name"].lstrip("/")
        if name in others:
            continue
        names.append(name)
        if why := _foreign(container, images.get(container["Image"], {}), release):
            wrong.append(f"{name} runs {container['Config']['Image']} ({container['Image'][:19]}), {why}")
    if wrong:
        raise BrokenLinkError(
            "; ".join(wrong), f"stop it (docker rm --force NAME), then {DEPLOY}; or name it in trust_other_containers"
        )
    return f"{', '.join(sorted(names))} by digest" if names else "nothing runs"


def _foreign(container: dict[str, Any], image: dict[str, Any], release: Release) -> str:
    known = map(Reference.parse, image.get("RepoDigests") or [])
    released = [found for found in known if _is_released(found, release)]
    if not released:
        return "which is no image of the release"
    asked = Reference.parse(container["Config"]["Image"])
    if not any(asked.repository == found.repository and asked.digest == found.digest for found in released):
        return "an image of the release that was not started by its digest"
    if changed := differences(_released_name(asked), container, image):
        return f"an image of the release that was not started as it is: {', '.join(changed)}"
    return ""


def _released_name(reference: Reference) -> str:
    return reference.repository.removeprefix("edge/") if reference.repository.startswith("edge/") else ""


def _is_released(reference: Reference, release: Release) -> bool:
    return reference.digest in release.images.get(_released_name(reference), set())
