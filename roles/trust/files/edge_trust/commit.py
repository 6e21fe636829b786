# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link `commit`: signed by somebody who may release (git-verify-commit(1), ALLOWED SIGNERS in ssh-keygen(1))."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Protocol

from .links import BrokenLinkError, CannotCheckError

REMEDY = "check out a commit that one of trust_signers signed (git commit -S), or add its signer there"
# Git takes the program from the signature's own kind: one of PGP or X.509 would run another, so none may.
SETTINGS = (
    "gpg.format=ssh",
    "gpg.ssh.program=ssh-keygen",
    *(f"gpg.{kind}program=false" for kind in ("", "openpgp.", "x509.")),
)


class Repository(Protocol):
    """Where the commit is read from: a checkout, or what is being pushed."""

    commit: str

    def read(self, kind: str, name: str) -> bytes: ...

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]: ...


def check(repository: Repository, signers: Path, revoked: Path) -> str:
    """Say who signed the commit; BrokenLinkError where nobody whom this device knows did."""
    for path, variable in ((signers, "trust_signers"), (revoked, "trust_revoked_keys")):
        if not path.is_file():
            # Git goes on without a list of revoked keys.
            raise CannotCheckError(
                f"{path} is not there", f"run the role edge.rack.trust, which writes {variable} to it"
            )
    commit = repository.commit
    header = repository.read("commit", commit).split(b"\n\n", 1)[0]
    signature = re.search(rb"^gpgsig(?:-sha256)? (.*)$", header, re.MULTILINE)
    if not signature:
        raise BrokenLinkError(f"commit {commit[:12]} is not signed", REMEDY)
    if signature[1] != b"-----BEGIN SSH SIGNATURE-----":
        raise BrokenLinkError(
            f"commit {commit[:12]} is not signed with an SSH key ({signature[1].decode(errors='replace')})", REMEDY
        )
    done = _verify(repository, signers, revoked)
    said = done.stderr.decode(errors="replace")
    good = re.search(r'^Good "git" signature for (\S+) with (.*)$', said, re.MULTILINE)
    if done.returncode == 0 and good:
        return f"{commit[:12]} signed by {good[1]} ({good[2]})"
    raise BrokenLinkError(f"commit {commit[:12]}: {_reason(repository, signers, said)}", REMEDY)


def _verify(repository: Repository, signers: Path, revoked: Path | None) -> subprocess.CompletedProcess[bytes]:
    settings = (*SETTINGS, f"gpg.ssh.allowedSignersFile={signers}")
    if revoked:
        settings += (f"gpg.ssh.revocationFile={revoked}",)
    options = [part for setting in settings for part in ("-c", setting)]
    return repository.git(*options, "verify-commit", repository.commit, check=False)


def _reason(repository: Repository, signers: Path, said: str) -> str:
    key = re.search(r"SHA256:\S+", said)
    if dated := re.search(r"key (has expired|is not yet valid): .*", said):
        return f"signed with {key[0] if key else 'a key'}, but this {dated[0]}"
    if "not permitted for use in signature namespace" in said:
        return f"signed with a key that {signers} does not allow for git"
    if "No principal matched" in said:
        return f"signed with {key[0] if key else 'a key'}, which is no signer of {signers}"
    if _verify(repository, signers, None).returncode == 0:
        return "signed with a revoked key"
    return f"its signature was not made for its content: {' '.join(said.split())}"
