# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSH host keys that installed machines have reported to MAAS, read from its events.

A device reports each of its public keys over the reporting webhook that MAAS gave it, signed with its own token, as the
start of a step: ``{"event_type": "start", "origin": "cloudinit", "name": "edge-ssh-host-key", "description":
"edge-ssh-host-key ssh-ed25519 AAAA..."}``. MAAS writes that down at level DEBUG as "Node installation" while the
machine is Deploying and as "Node status event" afterwards, with the text ``'cloudinit' edge-ssh-host-key ...``
(add_event_to_node_event_log of metadataserver/api.py).
"""

from __future__ import annotations

import base64
import binascii
import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.edge.rack.plugins.module_utils.maas import MaasClient, Machine, Rounds, Status

PAGE = 1000
"""MAX_EVENT_LOG_COUNT of maasserver/api/events.py."""
PAGES = 10
"""Besides one for each machine, so many pages are read at most: of who has filled them since its deployment began MAAS
counts as not knowing that."""
LAST_LOOK_SECONDS = 10
"""So long the last look may take, which begins at the deadline."""
MACHINES_AT_ONCE = 300
"""So many ids fit into one URL."""
DEPLOYMENT_STARTS = ("Deploying", "User starting deployment")
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")

_REPORT = re.compile(r"'cloudinit' edge-ssh-host-key(?: (.*))?", re.DOTALL)


@dataclass
class Reported:
    """What MAAS knows of one machine's host keys."""

    keys: t.List[str] = field(default_factory=list)
    """The first reported first."""
    known: bool = True
    """Whether MAAS still knows when the machine's deployment began: only what came after it is the machine's own."""
    warnings: t.List[str] = field(default_factory=list)


def read_host_keys(client: MaasClient, rows: t.List[Machine], until: t.Optional[float] = None) -> t.Dict[str, Reported]:
    """By system id the keys of each deployed machine; who was not read ``until`` then (as time.monotonic) is left out.

    Only what was reported since the machine's latest deployment began: what is older belongs to a system that is gone.
    Several machines are one request; more only where their events do not fit into a page.
    """
    names = {row["system_id"]: row["hostname"] for row in rows if row["status"] == Status.DEPLOYED}
    found = {}  # type: t.Dict[str, Reported]
    ids = sorted(names)
    for first in range(0, len(ids), MACHINES_AT_ONCE):
        for system_id, texts in _reports(client, ids[first : first + MACHINES_AT_ONCE], until).items():
            found[system_id] = _judged(names[system_id], texts)
    return found


def await_host_keys(client: MaasClient, rows: t.List[Machine], rounds: Rounds) -> t.Dict[str, Reported]:
    """The same, once each machine has reported; when the rounds are over what is there.

    A machine reports its keys one after the other: who has one is asked once more. Who is known is asked no more.
    """
    found = read_host_keys(client, rows)
    settled = {system_id for system_id, reported in found.items() if not reported.known}
    for left in rounds:
        waiting = [row for row in rows if row["system_id"] in found and row["system_id"] not in settled]
        if not waiting:
            break
        until = time.monotonic() + left + LAST_LOOK_SECONDS
        for system_id, reported in read_host_keys(client, waiting, until).items():
            if not reported.known or (reported.keys and reported.keys == found[system_id].keys):
                settled.add(system_id)
            found[system_id] = reported
    return found


def _judged(name: str, texts: t.Optional[t.List[str]]) -> Reported:
    reported = Reported(known=texts is not None)
    if texts is None:
        reported.warnings.append(
            "%s: MAAS no longer knows when its deployment began, so no host key it reported can be trusted."
            " Deploy it anew, or take the key from its console." % name
        )
    for text in texts or []:
        key = public_key(text)
        if key is None:
            reported.warnings.append("%s: what it reported as a host key is none: %.60r" % (name, text))
        elif key not in reported.keys:
            reported.keys.append(key)
    return reported


def _reports(client: MaasClient, ids: t.List[str], until: t.Optional[float]) -> t.Dict[str, t.Optional[t.List[str]]]:
    """What each machine reported since its latest deployment began, oldest first; None where that is not known.

    Who is still open at ``until`` is left out.
    """
    found = {system_id: [] for system_id in ids}  # type: t.Dict[str, t.List[str]]
    open_ids = set(ids)
    page = {}  # type: t.Dict[str, t.Any]
    for _number in range(PAGES + len(ids)):
        if until is not None and time.monotonic() >= until:
            return {system_id: reported for system_id, reported in found.items() if system_id not in open_ids}
        events = client.call("Events.query", id=sorted(open_ids), level="DEBUG", limit=PAGE, **page)["events"]
        for event in events:
            system_id = event["node"]
            if system_id not in open_ids:
                continue
            if event["type"] in DEPLOYMENT_STARTS:
                open_ids.discard(system_id)
                continue
            match = _REPORT.fullmatch(event.get("description") or "")
            if match:
                found[system_id].insert(0, match.group(1) or "")
        if len(events) < PAGE or not open_ids:
            break
        page = {"before": events[-1]["id"]}
    return {system_id: None if system_id in open_ids else reported for system_id, reported in found.items()}


def public_key(text: str) -> t.Optional[str]:
    """``TYPE BASE64`` of an OpenSSH public key, without its comment; None if it is not one."""
    parts = text.split(" ")
    if len(parts) < 2 or parts[0] not in KEY_TYPES:
        return None
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    # RFC 4253, 6.6: the type comes first, after its length. Something has to follow.
    name = parts[0].encode()
    head = len(name).to_bytes(4, "big") + name
    return "%s %s" % (parts[0], parts[1]) if blob.startswith(head) and len(blob) >= len(head) + 32 else None
