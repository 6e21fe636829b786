# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a registry is and how to be let in."""

from __future__ import annotations

import ipaddress
import ssl
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import RegistrySettingsError

ASKED = "Connecting to the registry"


@dataclass(frozen=True)
class RegistryConnection:
    """The options of a connection, checked by ``checked``; times are in seconds."""

    url: str
    username: t.Optional[str] = None
    password: t.Optional[str] = field(default=None, repr=False)
    validate_certs: bool = True
    ca_path: t.Optional[str] = None
    timeout_seconds: float = 60
    retry_seconds: float = 300

    def checked(self) -> RegistryConnection:
        """The same with a whole URL; raises RegistrySettingsError for what cannot be used."""
        url = self.url.strip().rstrip("/")
        if "://" not in url:
            url = "https://" + url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.username:
            raise RegistrySettingsError(
                ASKED,
                "`registry_url` %s is not the address of a registry" % self.url,
                remedy="Write HOST:PORT or https://HOST:PORT, with no path and no account in it.",
            )
        if (self.username is None) != (self.password is None):
            raise RegistrySettingsError(
                ASKED,
                "one of `registry_username` and `registry_password` is not set",
                remedy="Set both, or neither for a registry that lets everyone in.",
            )
        if self.username is not None and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise RegistrySettingsError(
                ASKED,
                "a password would go to %s unencrypted" % parts.hostname,
                remedy="Use https in `registry_url`.",
            )
        return RegistryConnection(
            url,
            self.username,
            self.password,
            self.validate_certs,
            self.ca_path,
            self.timeout_seconds,
            self.retry_seconds,
        )

    def tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_path)
        except (OSError, ssl.SSLError) as error:
            raise RegistrySettingsError(
                ASKED,
                "the authorities in `ca_path` %s cannot be read (%s)" % (self.ca_path, error),
                remedy="Name a readable file with certificates in PEM.",
            ) from error
        if not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
