# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import maas_ssh_key
from maas_region import Region

BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} admin@rack"


def test_a_key_is_added_and_removed(region: Region, cycle: Any) -> None:
    added = cycle(maas_ssh_key, key=KEY)
    assert added["diff"] == {"before": {}, "after": {"key": KEY}}
    assert added["ssh_key"]["fingerprint"].startswith("SHA256:")
    assert [row["key"] for row in region.call("GET", "account/prefs/sshkeys/").json()] == [KEY]
    removed = cycle(maas_ssh_key, key=KEY, state="absent")
    assert removed["diff"] == {"before": {"key": KEY}, "after": {}}
    assert region.call("GET", "account/prefs/sshkeys/").json() == []


def test_the_comment_makes_no_other_key(run_module: Any, writes: list[str]) -> None:
    run_module(maas_ssh_key, key=KEY)
    writes.clear()
    assert not run_module(maas_ssh_key, key=KEY.replace("admin@rack", "somebody@else") + "\n")["changed"]
    assert writes == []
    assert run_module(maas_ssh_key, key=KEY.rsplit(" ", 1)[0], state="absent")["changed"]


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("nonsense", "not one public key"),
        (KEY.replace("ssh-ed25519", "ssh-rsa"), "not one public key"),
        (f"{KEY}\n{KEY}", "not one public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==", "a private key"),
    ],
)
def test_what_is_no_public_key_is_refused_in_check_mode_too(
    run_module: Any, writes: list[str], key: str, complaint: str
) -> None:
    refused = run_module(maas_ssh_key, check=True, key=key)
    assert refused["failed"]
    assert complaint in refused["msg"]
    assert "b3BlbnNzaA" not in str(refused)
    assert writes == []
