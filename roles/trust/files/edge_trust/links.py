# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check of a link can come to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, BROKEN, UNCHECKED = "ok", "broken", "unchecked"


@dataclass(frozen=True)
class Link:
    """One link of the chain: what was found, and for one that is not ok what to do."""

    name: str
    state: str
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class BrokenLinkError(Exception):
    """The link was checked and does not hold."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found, self.remedy = found, remedy


class CannotCheckError(BrokenLinkError):
    """Nothing can be said about the link."""
