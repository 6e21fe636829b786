"""The one user of the region, the admin, and the SSH keys that go onto deployed machines."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from lab.maas_simulator.answer import DELETED, Answer
from lab.maas_simulator.errors import form_errors, missing
from lab.maas_simulator.region import API, Call

_KEY_TYPES = [
    "ssh-rsa",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
]


def user_dict(name: str) -> dict[str, Any]:
    """A user."""
    return {
        "is_superuser": True,
        "username": name,
        "email": f"{name}@example.com",
        "is_local": True,
        "resource_uri": f"{API}users/{name}/",
    }


def whoami(call: Call) -> Answer:
    """Users.whoami"""
    return Answer.json(user_dict(call.caller))


def list_users(call: Call) -> Answer:
    """Users.read"""
    return Answer.json([user_dict(call.region.settings.username)])


def read_user(call: Call) -> Answer:
    """User.read"""
    if call.params["username"] != call.region.settings.username:
        raise missing("User")
    return Answer.json(user_dict(call.region.settings.username))


def _show(row: Any) -> dict[str, Any]:
    uri = f"{API}account/prefs/sshkeys/{row['id']}/"
    return {"id": row["id"], "key": row["key"], "keysource": None, "resource_uri": uri}


def list_keys(call: Call) -> Answer:
    """SSHKeys.read"""
    return Answer.json([_show(row) for row in call.store.rows("SELECT * FROM sshkey ORDER BY id")])


def create_key(call: Call) -> Answer:
    """SSHKeys.create"""
    key = call.data.get("key").strip()
    if not key:
        raise form_errors({"key": ["This field is required."]})
    problem = _problem(key)
    if problem:
        raise form_errors({"key": [f"Invalid SSH public key: {problem}"]})
    if call.store.row("SELECT 1 FROM sshkey WHERE key = ?", key):
        # Not recorded; the text is MAAS's (maasserver/forms, SSHKeyForm).
        raise form_errors({"__all__": ["This key has already been added for this user."]})
    call.store.db.execute("INSERT INTO sshkey (key) VALUES (?)", (key,))
    row = call.store.row("SELECT * FROM sshkey WHERE key = ?", key)
    return Answer.json(_show(row), status=201)


def _problem(key: str) -> str | None:
    parts = key.split()
    if len(parts) < 2:
        return (
            "Key should contain 2 or more space separated parts (key type, base64-encoded key, optional"
            f" comments), not {len(parts)}: {' '.join(parts)}"
        )
    if parts[0] not in _KEY_TYPES:
        return f"Key type {parts[0]} not recognised; it should be one of: {' '.join(sorted(_KEY_TYPES))}"
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return "could not decode the key"
    # The blob begins with its own type (RFC 4253, 6.6).
    return None if parts[0].encode() in blob[:64] else "the key is not of the type it claims"


def _key(call: Call) -> Any:
    row = call.store.row("SELECT * FROM sshkey WHERE CAST(id AS TEXT) = ?", call.params["id"])
    if row is None:
        raise missing("SSHKey")
    return row


def read_key(call: Call) -> Answer:
    """SSHKey.read"""
    return Answer.json(_show(_key(call)))


def delete_key(call: Call) -> Answer:
    """SSHKey.delete"""
    call.store.db.execute("DELETE FROM sshkey WHERE id = ?", (_key(call)["id"],))
    return DELETED
