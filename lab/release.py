"""The lab's operator: signs what the lab built as a release, pushes it to the control VM, and lets devices take it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from lab import secrets
from lab.command import run
from lab.settings import CHECKOUT, LabError, Settings
from lab.site import environment

INVENTORY = Path("inventory/lab")
GIT_SECONDS = 120


def publish(settings: Settings) -> str:
    """Commit and push the site as it is now, signed; the commit, or nothing where it is released already."""
    site = settings.state / "site"
    if not (site / ".git").exists():
        _git(settings, "init", "--quiet", "--initial-branch=main", str(site), at=settings.state)
    _configure(settings, site)
    shutil.rmtree(site / INVENTORY, ignore_errors=True)
    shutil.copytree(CHECKOUT / INVENTORY, site / INVENTORY)
    signer = {"name": "operator@edge.lab", "key": secrets.read(settings, "release_key.pub")}
    # What a device is to believe is spelled out: it cannot look into the lab's folders.
    (site / INVENTORY / "group_vars/all/trust.yml").write_text(json.dumps({"trust_signers": [signer]}, indent=1) + "\n")
    _playbook(settings, "pin_release", site / INVENTORY)
    _git(settings, "add", "--all", at=site)
    if _git(settings, "status", "--porcelain", at=site):
        _git(settings, "commit", "--quiet", f"--message=What the lab {settings.name} built", at=site)
    # One that was cut before its push is pushed now.
    elif _git(settings, "rev-parse", "HEAD", at=site) == _git(settings, "ls-remote", "origin", "main", at=site)[:40]:
        return ""
    _git(settings, "push", "--quiet", "origin", "main", at=site)
    return _git(settings, "rev-parse", "HEAD", at=site)


def converge(settings: Settings) -> None:
    """Let all devices take the release now, not when their timers say so."""
    _playbook(settings, "converge_now")


def status(settings: Settings) -> list[dict[str, Any]]:
    """How each device stands."""
    _playbook(settings, "status")
    found: list[dict[str, Any]] = json.loads((settings.state / "report" / "status.json").read_text())
    return found


def _playbook(settings: Settings, name: str, inventory: Path = INVENTORY) -> None:
    log = settings.state / "logs" / f"{name}.log"
    argv = ("ansible-playbook", "-i", inventory, f"playbooks/{name}.yml")
    run(*argv, cwd=CHECKOUT, env=environment(settings), log=log)


def git_command(settings: Settings, *argv: str) -> tuple[list[str], dict[str, str]]:
    """Git and its environment: in the site's work tree the operator's identity and key count, whosever shell it is."""
    return ["git", *argv], {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


def _configure(settings: Settings, site: Path) -> None:
    """The operator's identity and key, in the work tree's own configuration, where playbooks find them, too."""
    key = settings.secrets / "release_key"
    ssh = f"ssh -F none -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
    options = {
        "user.name": "operator",
        "user.email": "operator@edge.lab",
        "gpg.format": "ssh",
        "user.signingkey": f"{key}.pub",
        "commit.gpgsign": "true",
        "core.sshCommand": f"{ssh} -o UserKnownHostsFile={settings.state / 'known_hosts'}",
        "remote.origin.url": f"edge-git@{settings.address(12)}:/srv/edge/site.git",
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
    }
    for name, value in options.items():
        _git(settings, "config", name, value, at=site)


def _git(settings: Settings, *argv: str, at: Path) -> str:
    command, environment = git_command(settings, *argv)
    done = subprocess.run(  # noqa: S603 - no shell
        command,
        cwd=at,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"git {argv[0]} in {at} failed: {done.stderr.strip()}")
    return done.stdout.strip()
