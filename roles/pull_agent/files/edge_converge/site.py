# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site, as it comes from the control VM: fetched into a mirror, where only a verified commit gets the branch.

What is applied is the branch `verified` of the mirror. A commit that nobody signed who may, or that rewrites the
history, never gets there: the device stays with the last good one, and says so. So it does when nobody answers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge_trust import commit as signature
from edge_trust.links import BrokenLinkError, CannotCheckError

from . import files
from .settings import Settings

CANDIDATE = "refs/edge/candidate"
VERIFIED = "refs/heads/verified"
GIT_SECONDS = 60


class NoSiteError(Exception):
    """There is no commit that may be applied; the text says why and what to do."""


class WaitingError(NoSiteError):
    """There never was one: nothing has been released yet, or the control VM never answered."""


@dataclass(frozen=True)
class Site:
    """The commit to apply."""

    commit: str
    subject: str
    offline: str = ""
    """Why the control VM could not be asked; empty when it was."""
    refused: str = ""
    """Why its newest commit is not this one; empty when it is."""


class Mirror:
    """A bare repository of the device's own; a commit in it is what edge_trust.commit checks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commit = ""
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(path),
            "LC_ALL": "C",
            "GIT_DIR": str(path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }
        # Whoever is here holds the run's lock: these are what a power cut or a kill left.
        for left in path.rglob("*.lock"):
            left.unlink()
        # And that may have left half of a repository, or an object that is empty.
        if self.git("fsck", "--connectivity-only", "--no-dangling", "--no-progress", check=False).returncode != 0:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.git("init", "--quiet", "--bare", "--template=")

    def git(
        self, *arguments: str, check: bool = True, seconds: float = GIT_SECONDS, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                ["git", *arguments],  # noqa: S607 - root's PATH
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CannotCheckError(f"git {arguments[0]} took longer than {seconds:g} s", "try again") from error
        if check and done.returncode != 0:
            raise CannotCheckError(f"git {arguments[0]} failed: {last_line(done.stderr)}", f"look at {self.path}")
        return done

    def read(self, kind: str, name: str) -> bytes:
        """The content of an object. Its name was made from its content when it was fetched (transfer.fsckObjects)."""
        return self.git("cat-file", kind, name).stdout

    def resolve(self, reference: str) -> str:
        """The commit that the reference stands at; empty where there is none."""
        return (
            self.git("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}", check=False).stdout.decode().strip()
        )

    def subject(self, commit: str) -> str:
        return self.git("log", "-1", "--format=%s", commit).stdout.decode(errors="replace").strip()


def newest(settings: Settings) -> Site:
    """The commit to apply: the control VM's newest one if it is good, the last good one if not.

    NoSiteError where there is none, or where the signer of the last good one may no longer release.
    """
    mirror = Mirror(settings.mirror)
    offline = fetch(mirror, settings)
    candidate = mirror.resolve(CANDIDATE)
    # Outside of the mirror, too: one that had to be made anew must not forget how far the history was.
    record = settings.state_dir / "verified.json"
    good = files.read(record).get("commit", "")
    refused = ""
    if candidate and candidate != good and not offline:
        refused = _refusal(mirror, candidate, good, settings)
        if not refused:
            files.write(record, {"commit": candidate})
            good = candidate
    if good and not mirror.resolve(good):
        raise NoSiteError(
            f"the device's own copy of the site broke, and commit {good[:12]} does not come anew: {refused or offline}"
        )
    if good:
        mirror.git("update-ref", VERIFIED, good)
    if not good and refused:
        raise NoSiteError(refused)
    if not good:
        raise WaitingError(offline or f"{settings.url} has no branch {settings.branch}: push the site there")
    # Again each time: whoever signed it may have been struck off the list meanwhile.
    if why := _unsigned(mirror, good, settings):
        raise NoSiteError(why)
    return Site(good, mirror.subject(good), offline, refused)


def fetch(mirror: Mirror, settings: Settings) -> str:
    """Bring the candidate; why that did not work, or an empty text."""
    ssh = [
        "ssh", "-F", "none", "-i", str(settings.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
        "-o", f"UserKnownHostsFile={settings.known_hosts}", "-o", "GlobalKnownHostsFile=none",
        "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15",
    ]  # fmt: skip
    refspec = f"+refs/heads/{settings.branch}:{CANDIDATE}"
    try:
        done = mirror.git(
            # One pack, which is on the disk before it counts: single objects are not by themselves.
            *(
                "-c",
                "transfer.fsckObjects=true",
                "-c",
                "fetch.unpackLimit=1",
                "-c",
                "core.fsync=all",
                "fetch",
                "--quiet",
                "--no-tags",
                "--prune",
                settings.url,
                refspec,
            ),
            check=False,
            seconds=settings.fetch_seconds,
            GIT_SSH_COMMAND=" ".join(ssh),
        )
    except CannotCheckError as error:
        return f"{settings.url}: {error.found}"
    if b"couldn't find remote ref" in done.stderr:  # it answers, and nobody has pushed yet
        return ""
    return "" if done.returncode == 0 else f"{settings.url}: {last_line(done.stderr)}"


def _refusal(mirror: Mirror, candidate: str, good: str, settings: Settings) -> str:
    if good and mirror.git("merge-base", "--is-ancestor", good, candidate, check=False).returncode != 0:
        return (
            f"commit {candidate[:12]} does not follow {good[:12]}, which this device has: the history was rewritten. "
            "To go back, commit what was before anew (edge.rack.rollback does)"
        )
    return _unsigned(mirror, candidate, settings)


def _unsigned(mirror: Mirror, commit: str, settings: Settings) -> str:
    mirror.commit = commit
    try:
        signature.check(mirror, settings.signers, settings.revoked)
    except BrokenLinkError as error:  # CannotCheckError is one
        return f"{error.found}: {error.remedy}"
    return ""


def last_line(text: bytes) -> str:
    """What git, or ssh for it, said last of why it failed."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    # Ssh says why, git then that it could not read: the first of the two tells more.
    told = [
        line for line in lines if not line.startswith(("Please make sure", "and the repository", "fatal: Could not"))
    ]
    return (told or lines or ["no reason given"])[-1]
