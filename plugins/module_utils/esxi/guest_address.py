# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a guest's addresses one can reach it by."""

from __future__ import annotations

import ipaddress
import typing as t


def usable_address(addresses: t.Iterable[str]) -> str:
    """The first IPv4 address, else the first IPv6 address; none that counts on its own link only."""
    found = []
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if not (address.is_link_local or address.is_loopback or address.is_unspecified):
            found.append(address)
    return str(min(found, key=lambda address: address.version)) if found else ""
