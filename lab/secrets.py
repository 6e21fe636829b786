"""The lab's secrets: made once per lab, kept in its state folder, readable by root alone."""

from __future__ import annotations

import secrets
from pathlib import Path

import bcrypt

from lab.command import run
from lab.settings import Settings


def ensure(settings: Settings) -> None:
    """Make what is not there yet: MAAS's API key, passwords, the lab's SSH key, and the key that signs releases."""
    settings.secrets.mkdir(parents=True, exist_ok=True)
    settings.secrets.chmod(0o700)
    # MAAS's API keys are three parts: consumer key, token key, token secret.
    _once(
        settings.secrets / "maas_api_key",
        ":".join(secrets.token_urlsafe(n).replace(":", "x") for n in (14, 14, 24)),
    )
    for name in (
        *("bmc_password", "esxi_password", "registry_push_password", "registry_pull_password"),
        *("control_node_controller_password", "control_node_reader_password", "backup_passphrase"),
        "dashboard_password",
    ):
        _once(settings.secrets / name, secrets.token_urlsafe(18))
    # A hash is another one each time, and with it the dashboard's users.
    password = read(settings, "dashboard_password").encode()
    _once(settings.secrets / "dashboard_password_hash", bcrypt.hashpw(password, bcrypt.gensalt()).decode())
    for name in ("id_ed25519", "release_key"):
        key = settings.secrets / name
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"edge-{settings.name}", "-f", key)


def read(settings: Settings, name: str) -> str:
    return (settings.secrets / name).read_text().strip()


def _once(path: Path, value: str) -> None:
    if path.exists():
        return
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(value + "\n")
    partial.rename(path)
