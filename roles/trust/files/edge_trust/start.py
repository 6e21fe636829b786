# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a container was started: a released image runs other programs if it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What the roles edge.rack.predictor and edge.rack.training_worker give to a container.
DESTINATIONS = {
    "/models",
    "/run/edge-job",
    "/var/lib/edge/data",
    "/var/lib/edge/models",
    "/var/lib/edge/checkpoints",
    "/var/lib/edge/state",
}
VARIABLES = {
    "EDGE_MODEL_FILE",
    "EDGE_MODEL_DIGEST",
    "EDGE_SSH_ADDRESS",
    "EDGE_SSH_PORT",
    "EDGE_IMAGE_DIGEST",
}
HEALTHCHECK = ["CMD", "ready"]


def differences(container: dict[str, Any], image: dict[str, Any]) -> list[str]:
    """Each way in which the container was started otherwise than its image, and the roles, say."""
    return [
        *_program(container["Config"], image.get("Config") or {}),
        *_rights(container["HostConfig"]),
        *_mounts(container),
    ]


def _program(given: dict[str, Any], own: dict[str, Any]) -> Iterator[str]:
    for field in ("Entrypoint", "Cmd", "User", "WorkingDir"):
        # The engine writes an empty field as null, "" or [].
        if (given.get(field) or None) != (own.get(field) or None):
            yield f"{field} is {given.get(field)}, the image's is {own.get(field)}"
    test = (given.get("Healthcheck") or {}).get("Test")
    if test and test not in (HEALTHCHECK, (own.get("Healthcheck") or {}).get("Test")):
        yield f"the health check runs {test}"
    # PATH or LD_PRELOAD would change what the program is.
    for text in sorted(set(given.get("Env") or []) - set(own.get("Env") or [])):
        name = text.partition("=")[0]
        if name not in VARIABLES:
            yield f"the variable {name} is not the image's"


def _rights(given: dict[str, Any]) -> Iterator[str]:
    if given.get("Privileged"):
        yield "it is privileged"
    if given.get("CapAdd"):
        yield f"it has the capabilities {', '.join(given['CapAdd'])}"
    if given.get("Devices"):
        yield f"it has the devices {', '.join(device['PathOnHost'] for device in given['Devices'])}"


def _mounts(container: dict[str, Any]) -> Iterator[str]:
    for mount in container["Mounts"]:
        if mount["Destination"] not in DESTINATIONS:
            yield f"{mount.get('Source') or mount['Type']} is mounted over its {mount['Destination']}"
