# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rack says it needs: the records of releases and of devices, read before anything is deleted.

``releases/<name>.json`` is written by the site, ``devices/device-<name>.json`` by the device itself. ``in-force.json``
lists the releases that release files name now, such as that of the canaries beside that of the rest; without it the
newest is in force. A record that cannot be read stops the run: what it keeps is not known. A device's does not
where a clean-up could read an earlier one (``accepted/device-<name>.json``): that one counts.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .errors import RegistryError
from .manifests import is_digest

ASKED = "Reading what is to be kept"
REPORT_FIX = (
    "Nothing was deleted. Let each device report again (systemctl start edge-report-images on it); one that is gone for"
    " good, retire (edge.rack.retire): that removes its file."
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


class RecordError(RegistryError):
    """A record that cannot be read; nothing is deleted."""

    remedy = "Nothing was deleted."


@dataclass(frozen=True)
class Release:
    name: str
    released: float
    """Seconds since 1970."""
    digests: t.Mapping[str, str]
    """Image of the release -> digest."""


@dataclass(frozen=True)
class Device:
    name: str
    running: t.Sequence[str]
    rollback: t.Sequence[str]
    """Both as digests."""


@dataclass(frozen=True)
class Records:
    releases: t.Sequence[Release]
    devices: t.Sequence[Device]
    in_force: t.Collection[str] = ()
    """Names of releases."""
    unread: t.Sequence[str] = ()
    """Reports that cannot be read, each with the reason; an earlier one counts."""


def read(folder: str) -> Records:
    """All records, the newest release first; raises RecordError, also where there is no release at all."""
    root = Path(folder)
    releases = [_release(path) for path in _files(root / "releases")]
    devices, unread, unknown = [], [], []  # type: t.Tuple[t.List[Device], t.List[str], t.List[str]]
    for path in _files(root / "devices"):
        try:
            devices.append(_device(path))
        except RecordError as error:
            earlier = accepted(folder, path.name)
            if earlier.exists():
                devices.append(_device(earlier))
                unread.append(error.answer)
            else:
                unknown.append(error.answer)
    if unknown:
        # Whoever mends one shall not meet the next only then.
        raise RecordError(ASKED, "; ".join([*unknown, *unread]), remedy=REPORT_FIX)
    if not releases:
        raise RecordError(
            ASKED,
            "there is no record of a release in %s" % (root / "releases"),
            remedy="Nothing was deleted. Make a release first: role edge.rack.registry (tasks records) records it.",
        )
    releases.sort(key=lambda one: (-one.released, one.name))
    return Records(releases, devices, _in_force(root / "in-force.json", releases), unread)


def accepted(folder: str, name: str = "") -> Path:
    """Where the last report of a device lies that could be read; the devices cannot write there."""
    return Path(folder) / "accepted" / name


def readable(folder: str) -> t.Iterator[t.Tuple[str, t.Optional[t.Dict[str, t.Any]]]]:
    """The name of each device's file, and what of its report counts; None if it cannot be read."""
    for path in _files(Path(folder) / "devices"):
        try:
            device = _device(path)
        except RecordError:
            yield path.name, None
        else:
            yield path.name, {"device": device.name, "running": device.running, "rollback": device.rollback}


def _in_force(path: Path, releases: t.Sequence[Release]) -> t.Collection[str]:
    if not path.exists():
        return {releases[0].name}
    fix = "Nothing was deleted. Release again (role edge.rack.registry, tasks records), or remove the file."
    names = _load(path, fix).get("releases")
    if not isinstance(names, list) or not names:
        raise RecordError(ASKED, "%s: releases is not a list of names" % path, remedy=fix)
    for name in names:
        if name not in [release.name for release in releases]:
            raise RecordError(ASKED, "%s names the release %s, which has no record" % (path, name), remedy=fix)
    return set(names)


def _files(folder: Path) -> t.List[Path]:
    """The records of a folder. Names that begin with a dot, or end otherwise, are files that are being written."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(ASKED, "%s cannot be listed (%s)" % (folder, error)) from error


def _release(path: Path) -> Release:
    fix = "Nothing was deleted. Release again (role edge.rack.registry, tasks records), or remove the file."
    data = _load(path, fix)
    try:
        released = _seconds(data["released"])
        digests = {str(name): image["digest"] for name, image in data["images"].items()}
        name = str(data["name"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(ASKED, "%s is not the record of a release (%r)" % (path, error), remedy=fix) from error
    wrong = [image for image, digest in digests.items() if not (isinstance(digest, str) and is_digest(digest))]
    if wrong:
        text = "%s: images.%s.digest is not a digest sha256:HEX" % (path, wrong[0])
        raise RecordError(ASKED, text, remedy=fix)
    return Release(name, released, digests)


def _device(path: Path) -> Device:
    data = _load(path, REPORT_FIX)
    kept = {}  # type: t.Dict[str, t.List[str]]
    for field in ("running", "rollback"):
        references = data.get(field)
        if not isinstance(references, list):
            raise RecordError(ASKED, "%s: %s is not a list of images" % (path, field), remedy=REPORT_FIX)
        kept[field] = [str(reference).rpartition("@")[2] for reference in references]
        for digest in kept[field]:
            if not is_digest(digest):
                raise RecordError(
                    ASKED, "%s: %s names %r, which is no digest" % (path, field, digest), remedy=REPORT_FIX
                )
    name = data.get("device")
    if not isinstance(name, str) or not NAME.match(name):
        raise RecordError(ASKED, "%s: device is not a device's name" % path, remedy=REPORT_FIX)
    return Device(name, kept["running"], kept["rollback"])


def _load(path: Path, fix: str) -> t.Dict[str, t.Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(ASKED, "%s cannot be read (%s)" % (path, error), remedy=fix) from error
    if not isinstance(data, dict):
        raise RecordError(ASKED, "%s is not a JSON object" % path, remedy=fix)
    return data


def _seconds(text: str) -> float:
    """ISO 8601 -> seconds since 1970; without a zone it is UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
