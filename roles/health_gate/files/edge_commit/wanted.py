# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for: one container, how its health is seen, and what to do while the device trains."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .errors import CommitError

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}")
IMAGE = re.compile(r"[^/\s]+/[^@\s]+@(sha256:[0-9a-f]{64})")
MODEL = re.compile(r"sha256:[0-9a-f]{64}")
LABEL = "edge.commit.options"
"""A container carries the options it was made with."""


@dataclass(frozen=True)
class Wanted:
    """Durations in seconds. Options are those of the module edge.rack.container_release, which describes them.

    A container that serves models has `model`, the digest of one, and `model_file`, where that is written down.
    """

    name: str
    image: str
    options: dict[str, Any]
    health_url: str | None = None
    health_deadline_seconds: float = 60
    stop_seconds: int = 10
    retry_failed: bool = True
    defer: dict[str, Any] = field(default_factory=dict)
    check: bool = False
    model: str | None = None
    model_file: str | None = None

    @classmethod
    def read(cls, text: str) -> Wanted:
        """From JSON. Raises CommitError, which names the field."""
        try:
            given = json.loads(text)
            wanted = cls(**given)
        except (ValueError, TypeError) as error:
            known = ", ".join(one.name for one in fields(cls))
            raise CommitError(f"what is wanted cannot be read: {error}. It is a JSON object of {known}.") from error
        if not NAME.fullmatch(wanted.name):
            raise CommitError(f"name: {wanted.name!r} is no name of a container; letters, digits, - and _ are.")
        if not IMAGE.fullmatch(wanted.image):
            raise CommitError(f"image: {wanted.image!r} is not REGISTRY/NAME@sha256:DIGEST; a tag may move.")
        if (wanted.model is None) != (wanted.model_file is None):
            raise CommitError("model and model_file belong together: which model, and the file that says so.")
        if wanted.model is not None and not MODEL.fullmatch(wanted.model):
            raise CommitError(f"model: {wanted.model!r} is not sha256:DIGEST.")
        if wanted.health_url and not _is_of_this_device(wanted.health_url):
            raise CommitError(f"health_url: {wanted.health_url} is not http://127.0.0.1:PORT/PATH, the device's own.")
        return wanted

    @property
    def digest(self) -> str:
        """Of the image. Which registry it came from says nothing."""
        return self.image.partition("@")[2]

    @property
    def label(self) -> str:
        return json.dumps(self.options, sort_keys=True, separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """Of all that the container is made from; unlike the label it shows no values."""
        return hashlib.sha256(f"{self.digest} {self.label} {self.model or ''}".encode()).hexdigest()


def _is_of_this_device(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
