# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device with a pull agent: real commits, real signatures and the real ansible-playbook. The site is a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(CHECKOUT / "roles/pull_agent/files"), str(CHECKOUT / "roles/trust/files")]

from edge_converge import lock, run  # noqa: E402 - the device's program lies in its role
from edge_converge.settings import Settings  # noqa: E402

PLAYBOOK = """\
- hosts: devices
  gather_facts: false
  tasks:
    - name: Message is there
      ansible.builtin.copy:
        content: "{{ message }}\\n"
        dest: "{{ edge_target }}"
        mode: "0644"
    - name: Device is fit
      ansible.builtin.assert:
        that: message != 'bad'
        fail_msg: The message is bad.
"""


class Rack:
    """The site's repository on the control VM, and one device."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site, self.target = folder, folder / "control/site.git", folder / "etc-message"
        self.operator = folder / "operator"
        for name in ("alice", "mallory"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.site), at=folder)
        self.git("clone", "--quiet", str(self.site), str(self.operator), at=folder)
        for name, value in {
            "user.name": "Alice",
            "user.email": "alice@example.com",
            "gpg.format": "ssh",
            "commit.gpgsign": "true",
        }.items():
            self.git("config", name, value)
        self.git("checkout", "--quiet", "-b", "main")
        (self.operator / "inventory/rack/group_vars/all").mkdir(parents=True)
        (self.operator / "inventory/rack/hosts.yml").write_text("all: {hosts: {localhost: {}}}\n")
        (self.operator / "local.yml").write_text(PLAYBOOK)
        config = folder / "etc"
        config.mkdir()
        (folder / "state").mkdir()
        (config / "allowed_signers").write_text(f'alice@example.com namespaces="git" {self.public("alice")}\n')
        (config / "revoked_keys").write_text("# none\n")
        own = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "edge_target": str(self.target),
        }
        node = os.uname().nodename.split(".")[0]
        (config / "hosts.yml").write_text(json.dumps({"devices": {"hosts": {node: own}}}))
        (config / "ansible.cfg").write_text(
            f"[defaults]\ncollections_path = {CHECKOUT / '.collections'}\ncallbacks_enabled = edge.rack.pull_events\n"
            "[inventory]\nenable_plugins = ansible.builtin.yaml\n"
        )
        self.settings = Settings(
            device=node,
            url=str(self.site),
            branch="main",
            config_dir=config,
            state_dir=folder / "state",
            mirror=folder / "mirror.git",
            checkout=folder / "checkout",
            ansible_playbook=Path(sys.executable).parent / "ansible-playbook",
            site_inventory="inventory/rack/hosts.yml",
            playbook="local.yml",
            signers=config / "allowed_signers",
            revoked=config / "revoked_keys",
            fetch_seconds=30,
            lock_seconds=0,
            reports_url="",
            reports_ca=config / "ca.crt",
            reports_kept=5,
        )

    def _run(self, *argv: str, at: Path | None = None) -> str:
        return subprocess.run(
            argv,
            cwd=at or self.folder,
            env={**os.environ, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()

    def git(self, *argv: str, at: Path | None = None) -> str:
        return self._run("git", *argv, at=at or self.operator)

    def public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()

    def release(self, message: str, signer: str | None = "alice", *options: str) -> str:
        """The operator's commit with this message for devices, pushed; its name."""
        variables = {"message": message}
        (self.operator / "inventory/rack/group_vars/all/release.yml").write_text(json.dumps(variables))
        self.git("add", "--all")
        sign = ["-c", f"user.signingkey={self.folder / f'{signer}.pub'}"] if signer else ["-c", "commit.gpgsign=false"]
        self.git(*sign, "commit", "--quiet", "--allow-empty", f"--message=Say {message}", *options)
        self.git("push", "--quiet", "--force", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def converge(self, **changed: Any) -> dict[str, Any]:
        return run.run(replace(self.settings, **changed))

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.settings.spool.glob("*.json"))]

    @property
    def says(self) -> str:
        return self.target.read_text().strip() if self.target.exists() else ""


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    for name in ("LOCK", "HOLD", "NOW", "SENDING"):
        monkeypatch.setattr(lock, name, tmp_path / "run" / name.lower())
    return Rack(tmp_path)
