# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role writes for the program: /etc/edge/pull/settings.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/edge/pull/settings.json")
# By the names of the fields' types, which are not evaluated.
KINDS: dict[Any, Callable[[Any], Any]] = {"str": str, "int": int, "Path": Path}


class SettingsError(Exception):
    """The settings cannot be read; the text says which and what to do."""


@dataclass(frozen=True)
class Settings:
    device: str
    """Name in the inventory."""
    url: str
    """Where the site comes from, as git takes it."""
    branch: str
    config_dir: Path
    """The device's own key, the control VM's host key, its inventory, ansible.cfg."""
    state_dir: Path
    mirror: Path
    checkout: Path
    ansible_playbook: Path
    site_inventory: str
    """A static inventory file in the checkout, beside the site's group_vars and host_vars."""
    playbook: str
    """Absolute, or within the checkout."""
    signers: Path
    revoked: Path
    fetch_seconds: int
    lock_seconds: int
    """How long a run waits for another one."""
    reports_url: str
    """API of ARA; empty for none."""
    reports_ca: Path
    reports_kept: int
    """Runs that wait for the control VM; of more, the oldest without a change go first."""

    @property
    def key(self) -> Path:
        return self.config_dir / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.config_dir / "known_hosts"

    @property
    def inventory(self) -> Path:
        return self.config_dir / "hosts.yml"

    @property
    def password_file(self) -> Path:
        return self.config_dir / "ara_password"

    @property
    def spool(self) -> Path:
        return self.state_dir / "reports"

    @classmethod
    def read(cls, path: Path = SETTINGS) -> Settings:
        """The settings; SettingsError where one is missing or the file is none."""
        fix = "configure the device again (edge.rack.configure)"
        try:
            given = json.loads(path.read_text())
            return cls(**{field.name: KINDS[field.type](given[field.name]) for field in fields(cls)})
        except OSError as error:
            raise SettingsError(f"{path} cannot be read ({error.strerror}): {fix}") from error
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{path} is no JSON object: {fix}") from error
        except KeyError as error:
            raise SettingsError(f"{path} has no {error}: {fix}") from error
