# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clean-up's settings, ``/etc/edge-registry/clean.json``, written by role ``registry``."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, fields
from pathlib import Path

from .errors import RegistrySettingsError

PATH = "/etc/edge-registry/clean.json"


@dataclass(frozen=True)
class Settings:
    """Times are in seconds, paths absolute."""

    registry: str = "http://127.0.0.1:5001"
    """The registry itself, past the front that refuses deletions."""
    repositories: t.Sequence[str] = ("edge/*",)
    """What may be cleaned (shell patterns); what lies outside is kept."""
    records: str = "/var/lib/edge-registry/records"
    keep_releases: int = 5
    keep_pushed_seconds: float = 86400
    storage: str = "/var/lib/docker-registry"
    config: str = "/etc/docker/registry/config.yml"
    service: str = "docker-registry"
    program: str = "/usr/bin/docker-registry"
    lock: str = "/var/lib/edge-registry/clean.lock"
    state: str = "/var/lib/edge-registry"
    switch: str = "/run/edge-registry/cleaning"
    """While this file exists the front refuses pushes."""
    units: str = "/run/systemd/system"
    """Where the read-only setting lies; a restart of the machine forgets it."""
    quiet_seconds: float = 10
    """A push that sent something this recently is in progress, and is let end first."""
    quiet_limit_seconds: float = 300
    restart_seconds: float = 60
    collect_seconds: float = 3600

    @classmethod
    def load(cls, path: str = PATH, **changes: t.Any) -> Settings:
        """Read the file; ``changes`` that are not None go before it."""
        asked = "Reading the clean-up's settings"
        remedy = "Correct %s, or run role edge.rack.registry again: it writes the file." % path
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RegistrySettingsError(asked, str(error), remedy=remedy) from error
        types = {f.name: type(getattr(cls(), f.name)) for f in fields(cls)}
        unknown = sorted(set(data) - set(types)) if isinstance(data, dict) else ["its whole content"]
        if unknown:
            raise RegistrySettingsError(asked, "%s is not known" % ", ".join(unknown), remedy=remedy)
        data.update({name: value for name, value in changes.items() if value is not None})
        for name, value in data.items():
            if types[name] in (int, float):
                right = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
            elif types[name] is tuple:
                right = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
            else:
                right = isinstance(value, str) and bool(value)
            if not right:
                raise RegistrySettingsError(asked, "`%s` cannot be %r" % (name, value), remedy=remedy)
        if data.get("keep_releases", 1) < 1:
            raise RegistrySettingsError(asked, "`keep_releases` is less than 1", remedy=remedy)
        return cls(**data)
