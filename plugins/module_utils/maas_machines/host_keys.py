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
import typing as t

from ansible_collections.edge.rack.plugins.module_utils.maas import MaasClient, Machine, Status

PAGE = 1000
"""MAX_EVENT_LOG_COUNT of maasserver/api/events.py."""
MACHINES_AT_ONCE = 300
"""So many ids fit into one URL."""
DEPLOYMENT_STARTS = ("Deploying", "User starting deployment")
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")

_REPORT = re.compile(r"'cloudinit' edge-ssh-host-key(?: (.*))?", re.DOTALL)


def read_host_keys(client: MaasClient, rows: t.List[Machine]) -> t.Tuple[t.Dict[str, t.List[str]], t.List[str]]:
    """By system id the keys of each deployed machine, the first reported first; and warnings that name machines.

    Only what was reported since the machine's latest deployment began: what is older belongs to a system that is gone.
    Several machines are one request; more only where their events do not fit into a page.
    """
    names = {row["system_id"]: row["hostname"] for row in rows if row["status"] == Status.DEPLOYED}
    keys = {system_id: [] for system_id in names}  # type: t.Dict[str, t.List[str]]
    warnings = []
    ids = sorted(names)
    for first in range(0, len(ids), MACHINES_AT_ONCE):
        for system_id, reported in _reports(client, ids[first : first + MACHINES_AT_ONCE]).items():
            if reported is None:
                warnings.append(
                    "%s: MAAS no longer knows when its deployment began, so no host key it reported can be trusted."
                    " Deploy it anew, or take the key from its console." % names[system_id]
                )
                continue
            for text in reported:
                key = public_key(text)
                if key is None:
                    warnings.append("%s: what it reported as a host key is none: %.60r" % (names[system_id], text))
                elif key not in keys[system_id]:
                    keys[system_id].append(key)
    return keys, warnings


def _reports(client: MaasClient, ids: t.List[str]) -> t.Dict[str, t.Optional[t.List[str]]]:
    """What each machine reported since its latest deployment began, oldest first; None where that is not known."""
    found = {system_id: [] for system_id in ids}  # type: t.Dict[str, t.List[str]]
    open_ids = set(ids)
    page = {}  # type: t.Dict[str, t.Any]
    while open_ids:
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
        if len(events) < PAGE:
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
