# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's service: restarted to take writes or to refuse them.

Read-only is an environment variable of distribution's (``REGISTRY_STORAGE_MAINTENANCE_READONLY``) in a drop-in under
``/run``: the configuration stays as it is, and after a restart of the machine the registry takes writes.
"""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

from .client import RegistryClient
from .connection import RegistryConnection
from .errors import RegistryError
from .settings import Settings

READ_ONLY = """# The clean-up collects garbage; it removes this file when it ends.
[Service]
Environment='REGISTRY_STORAGE_MAINTENANCE_READONLY={"enabled":true}'
"""
PROBE = "edge-registry/probe"


class Service:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._drop_in = Path(settings.units) / ("%s.service.d" % settings.service) / "edge-read-only.conf"

    @property
    def read_only(self) -> bool:
        return self._drop_in.exists()

    def restart(self, *, read_only: bool) -> None:
        """Restart, wait until it answers, and see that a registry that is to be read-only is."""
        if read_only:
            self._drop_in.parent.mkdir(parents=True, exist_ok=True)
            self._drop_in.write_text(READ_ONLY, encoding="utf-8")
        elif self._drop_in.exists():
            self._drop_in.unlink()
        name = self._settings.service
        self._systemctl("daemon-reload")
        # Some restarts in a row are meant; systemd would take them for a service that fails.
        self._systemctl("reset-failed", name, check=False)
        self._systemctl("restart", name)
        with client_of(self._settings) as client:
            client.check()
            if read_only and client.accepts_pushes(PROBE):
                raise RegistryError(
                    "Making the registry read-only",
                    "%s was restarted and still takes pushes" % name,
                    remedy="Nothing was collected. See `systemctl cat %s`: something sets it otherwise." % name,
                )

    def _systemctl(self, *arguments: str, check: bool = True) -> None:
        command = ["systemctl", *arguments]
        done = run(command, self._settings.restart_seconds)
        if check and done.returncode != 0:
            raise RegistryError(
                "`%s`" % " ".join(command),
                "it ended with %d: %s" % (done.returncode, done.stdout.strip()[-500:]),
                remedy="See `journalctl -u %s`." % self._settings.service,
            )


def client_of(settings: Settings) -> RegistryClient:
    """A client of the registry itself, which waits for one that restarts."""
    return RegistryClient(RegistryConnection(settings.registry, retry_seconds=settings.restart_seconds))


def run(command: t.Sequence[str], seconds: float, keep: t.Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program; its output is in ``stdout``, ``keep`` are file descriptors that it inherits."""
    try:
        return subprocess.run(  # noqa: S603
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            pass_fds=tuple(keep),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError("`%s`" % " ".join(command), str(error)) from error
