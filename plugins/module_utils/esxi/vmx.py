# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The .vmx file of a virtual machine: ``key = "value"`` lines."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import EsxiWrongState

_LINE = re.compile(r'^\s*(?P<key>[A-Za-z0-9_.:-]+)\s*=\s*"(?P<value>.*)"\s*$')
_ESCAPE = re.compile(rb"\|([0-9A-Fa-f]{2})")
# As ESXi writes them: the quote, the escape sign, and control characters but the tab.
_MUST_ESCAPE = re.compile(r'["|\x00-\x08\x0a-\x1f\x7f]')


def escape(value: str) -> str:
    return _MUST_ESCAPE.sub(lambda found: "|%02X" % ord(found.group()), value)


def unescape(value: str) -> str:
    # By bytes: any byte of UTF-8 may be written so.
    content = _ESCAPE.sub(lambda found: bytes([int(found.group(1), 16)]), value.encode("utf-8"))
    return content.decode("utf-8", "replace")


class Vmx:
    """Its settings in their order. Names of keys know no case, as on ESXi; what is no setting stays as it is."""

    def __init__(self) -> None:
        self._lines = {}  # type: t.Dict[str, t.Tuple[str, str]]
        self._others = []  # type: t.List[str]

    @classmethod
    def parse(cls, text: str) -> Vmx:
        vmx = cls()
        # Not `splitlines`, for which a value may have more ends of lines, U+2028 for example.
        for line in (line.rstrip("\r") for line in text.split("\n")):
            found = _LINE.match(line)
            if found:
                vmx.set(found.group("key"), unescape(found.group("value")))
            elif line.strip():
                vmx._others.append(line)
        return vmx

    def get(self, key: str, default: str = "") -> str:
        return self._lines.get(key.lower(), ("", default))[1]

    def flag(self, key: str) -> bool:
        return self.get(key).lower() == "true"

    def number(self, key: str, default: int) -> int:
        value = self.get(key)
        return int(value) if value.isdigit() else default

    def set(self, key: str, value: str) -> None:
        self._lines[key.lower()] = (self._lines.get(key.lower(), (key, ""))[0], value)

    def update(self, settings: t.Mapping[str, str]) -> None:
        for key, value in settings.items():
            self.set(key, value)

    def remove(self, key: str) -> None:
        self._lines.pop(key.lower(), None)

    def remove_device(self, device: str) -> None:
        """All settings of a device, such as ``ethernet1`` or ``scsi0:1``."""
        for key in [key for key in self._lines if key.startswith(device.lower() + ".")]:
            del self._lines[key]

    def below(self, prefix: str) -> t.Dict[str, str]:
        """The settings whose names begin so."""
        return {key: value for key, value in self._lines.values() if key.lower().startswith(prefix.lower())}

    def devices(self, pattern: str) -> t.List[str]:
        """The devices which are present and match, such as ``ethernet\\d+``, by their numbers."""
        wanted = re.compile(r"(?P<device>%s)\.present" % pattern, re.IGNORECASE)
        found = [wanted.fullmatch(key) for key in self._lines]
        names = [match.group("device").lower() for match in found if match and self.flag(match.group())]
        return sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])

    def text(self) -> str:
        lines = ['%s = "%s"' % (key, escape(value)) for key, value in self._lines.values()]
        return "\n".join([*self._others, *lines]) + "\n"


def require_utf8(vmx: Vmx, asked: str) -> None:
    """Raises EsxiWrongState for a .vmx that cannot be written anew: only UTF-8 is written here."""
    encoding = vmx.get(".encoding", "UTF-8")
    if encoding.upper() not in ("UTF-8", "UTF8"):
        raise EsxiWrongState(
            asked,
            "its .vmx is not UTF-8: it is written in %s" % encoding,
            remedy="Change the VM once in the host's own client.",
        )
