# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's programs print, as values: vim-cmd's objects, and the tables of `esxcli --formatter=csv`."""

from __future__ import annotations

import csv
import re
import typing as t

Object = t.Dict[str, t.Any]

_KEY = re.compile(r"(?P<key>\w+) = (?P<rest>.*)")
_TYPE = re.compile(r"^\((?P<type>[\w.\[\]:-]+)\)\s*")
_NUMBER = re.compile(r"-?\d+")


def parse_dump(text: str) -> t.Any:
    """The first object or list of a text such as ``(vim.vm.Summary) { name = "maas", ... }``; None without one.

    Objects become dicts, lists lists, ``<unset>`` and ``null`` None. Inner quotes are not escaped by vim-cmd: a
    string ends with the line that ends with its quote. Types are left out.
    """
    lines = iter(text.splitlines())
    for line in lines:
        opened = _TYPE.sub("", line.strip())
        if opened in ("{", "["):
            return _inside(lines, opened)
    return None


def _inside(lines: t.Iterator[str], opened: str) -> t.Any:
    found = {} if opened == "{" else []  # type: t.Any
    for line in lines:
        stripped = line.strip()
        if stripped.rstrip(",") in ("}", "]"):
            return found
        pair = _KEY.match(stripped) if opened == "{" else None
        value = _value(pair.group("rest") if pair else stripped, lines)
        if pair:
            found[pair.group("key")] = value
        elif opened == "[" and stripped:
            found.append(value)
    return found


def _value(text: str, lines: t.Iterator[str]) -> t.Any:
    text = _TYPE.sub("", text, count=1).rstrip()
    if text in ("{", "["):
        return _inside(lines, text)
    if text.startswith('"'):
        while not re.search(r'(?!^)",?$', text):
            following = next(lines, None)
            if following is None:
                break
            text += "\n" + following.rstrip()
        return re.sub(r'",?$', "", text[1:])
    text = text.rstrip(",").rstrip()
    if text.startswith("'"):
        return text.strip("'")
    if _NUMBER.fullmatch(text):
        return int(text)
    if text in ("{}", "[]"):
        return {} if text == "{}" else []
    return {"true": True, "false": False, "<unset>": None, "null": None, "": None}.get(text, text)


def rows_of_csv(text: str) -> t.List[t.Dict[str, str]]:
    """The rows of ``esxcli --formatter=csv``, by column without spaces (``MountPoint``, ``VLANID``).

    Each line, the header too, ends with a comma. What a command prints before the header is not expected.
    """
    table = csv.DictReader(line for line in text.splitlines() if line.strip())
    return [{name.replace(" ", ""): value or "" for name, value in row.items() if name} for row in table]


def words_of_cell(cell: str) -> t.List[str]:
    """A list in one cell: ``vmnic0,vmnic1,``; some releases put ``string=`` before each word."""
    return [re.sub(r"^string=", "", word.strip()) for word in cell.split(",") if word.strip()]


def number_of_cell(cell: t.Optional[str]) -> int:
    """The number at the start of a cell such as ``137322913792 Bytes``; 0 where there is none."""
    found = _NUMBER.match((cell or "").strip())
    return int(found.group()) if found else 0
