# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts for a guest (cloud-init's user data and metadata, other keys) as ``guestinfo.*`` settings of its machine.

https://docs.cloud-init.io/en/latest/reference/datasources/vmware.html
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import typing as t

CLOUD_INIT = ("userdata", "metadata")
ENCODING = "base64"
PACKED_ENCODING = "gzip+base64"
LARGE_BYTES = 16 * 1024
"""From here on texts are packed: all settings of a machine go through the host's memory as one file."""

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")


def encoded(name: str, text: str) -> t.Dict[str, str]:
    """The settings for ``userdata`` or ``metadata``; an empty text takes them away."""
    key = "guestinfo.%s" % name
    if not text:
        return {key: "", key + ".encoding": ""}
    content = text.encode("utf-8")
    if len(content) < LARGE_BYTES:
        return {key: base64.b64encode(content).decode("ascii"), key + ".encoding": ENCODING}
    # Without the time, so that equal texts stay equal.
    packed = gzip.compress(content, mtime=0)
    return {key: base64.b64encode(packed).decode("ascii"), key + ".encoding": PACKED_ENCODING}


def decoded(name: str, settings: t.Mapping[str, str]) -> str:
    """The text which settings hold, whichever of cloud-init's encodings was used."""
    value = settings.get("guestinfo.%s" % name, "")
    encoding = settings.get("guestinfo.%s.encoding" % name, "").lower()
    try:
        if encoding in ("gzip+base64", "gz+b64"):
            return gzip.decompress(base64.b64decode(value)).decode("utf-8")
        if encoding in ("base64", "b64"):
            return base64.b64decode(value).decode("utf-8")
    except (ValueError, binascii.Error, OSError, EOFError):
        return value
    return value


def metadata_text(given: t.Mapping[str, t.Any], name: str) -> str:
    """JSON, which cloud-init reads as YAML. Without an instance id it would not take its data."""
    metadata = {"instance-id": name}  # type: t.Dict[str, t.Any]
    if _HOST_NAME.fullmatch(name):
        metadata["local-hostname"] = name
    metadata.update(given)
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False)


def shown(text: str) -> t.Optional[str]:
    """What may stand in a result instead of a text that may be secret."""
    return "sha256:%s" % hashlib.sha256(text.encode("utf-8")).hexdigest()[:16] if text else None
