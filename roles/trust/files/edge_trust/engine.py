# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the device's Docker Engine holds and runs, as `docker inspect` shows it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from .links import CannotCheckError

TIMEOUT_SECONDS = 60
REMEDY = "see that the engine runs (systemctl status docker), then check again"


@dataclass(frozen=True)
class Reference:
    """`registry:5000/edge/worker@sha256:...` by its parts; the registry may be a cache, so it says nothing."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        name, _sep, digest = text.partition("@")
        first, slash, rest = name.partition("/")
        # As Docker tells a registry from a folder (distribution/reference).
        if slash and ("." in first or ":" in first or first == "localhost"):
            name = rest
        name, _sep, tag = name.partition(":")
        return cls(name, tag, digest)


@dataclass(frozen=True)
class Engine:
    images: list[dict[str, Any]]
    containers: list[dict[str, Any]]

    @classmethod
    def ask(cls) -> Engine:
        """All images and the running containers."""
        images = _docker("image", "ls", "--quiet", "--no-trunc").split()
        containers = _docker("container", "ls", "--quiet", "--no-trunc").split()
        return cls(_inspect("image", sorted(set(images))), _inspect("container", containers))


def _inspect(kind: str, names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    try:
        return list(json.loads(_docker(kind, "inspect", *names)))
    except ValueError as error:
        raise CannotCheckError(f"docker {kind} inspect answered no JSON: {error}", REMEDY) from error


def _docker(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["docker", *arguments],  # noqa: S607 - root's PATH
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotCheckError(f"docker {' '.join(arguments[:2])}: {error}", REMEDY) from error
    if done.returncode != 0:
        raise CannotCheckError(f"docker {' '.join(arguments[:2])}: {done.stderr.strip()}", REMEDY)
    return done.stdout
