# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a container was started: a released image runs other programs if it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What the roles predictor, training_worker and device_manager give to a container of each image; so does the Device
# Manager.
DESTINATIONS = {
    "predictor": {"/models", "/serving"},
    "worker": {
        "/run/edge-job",
        "/var/lib/edge/data",
        "/var/lib/edge/models",
        "/var/lib/edge/checkpoints",
        "/var/lib/edge/state",
    },
    # No other container has the engine's socket.
    "manager": {
        "/var/run/docker.sock",
        "/etc/edge-manager",
        "/usr/local/lib/edge-commit",
        "/var/lib/edge",
        "/run/edge-jobs",
    },
}
# A task's data (train_data_dirs), which is only read. The Device Manager has the same list.
DATA = ("/usr/share/", "/srv/", "/mnt/", "/media/")
VARIABLES = {
    "predictor": {"EDGE_PREDICTOR_RIGHT_SHARE"},
    "worker": {"EDGE_SSH_ADDRESS", "EDGE_SSH_PORT", "EDGE_IMAGE_DIGEST"},
    "manager": {
        "EDGE_DEVICE_ADDRESS",
        "EDGE_HEALTH_INTERVAL_SECONDS",
        "EDGE_JOB_KEYS",
        "EDGE_MANAGER_INPUTS",
        "EDGE_PREDICTOR_CPUS",
        "EDGE_PREDICTOR_MEMORY",
        "EDGE_PREDICTOR_PORT",
        "EDGE_PREDICTOR_RIGHT_SHARE",
        "EDGE_READY_SECONDS",
        "EDGE_ROOT",
        "EDGE_WORKER_CPUS",
        "EDGE_WORKER_MEMORY",
        "EDGE_WORKER_PIDS",
        "EDGE_WORKER_SSH_PORT",
    },
}
HEALTHCHECK = ["CMD", "ready"]


def differences(kind: str, container: dict[str, Any], image: dict[str, Any]) -> list[str]:
    """Each way in which a container of the image edge/KIND was started otherwise than the image, and the roles, say."""
    return [
        *_program(container["Config"], image.get("Config") or {}, VARIABLES.get(kind, set())),
        *_rights(container["HostConfig"]),
        *_mounts(kind, container["Mounts"]),
    ]


def _program(given: dict[str, Any], own: dict[str, Any], variables: set[str]) -> Iterator[str]:
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
        if name not in variables:
            yield f"the variable {name} is not the image's"


def _rights(given: dict[str, Any]) -> Iterator[str]:
    if given.get("Privileged"):
        yield "it is privileged"
    if given.get("CapAdd"):
        yield f"it has the capabilities {', '.join(given['CapAdd'])}"
    if given.get("Devices"):
        yield f"it has the devices {', '.join(device['PathOnHost'] for device in given['Devices'])}"


def _mounts(kind: str, mounts: list[dict[str, Any]]) -> Iterator[str]:
    for mount in mounts:
        to = mount["Destination"]
        is_data = kind == "worker" and to.startswith(DATA) and not mount.get("RW", True)
        if to not in DESTINATIONS.get(kind, set()) and not is_data:
            yield f"{mount.get('Source') or mount['Type']} is mounted over its {mount['Destination']}"
