# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site's repository takes: git's pre-receive hook (githooks(5)). It takes all of a push, or nothing.

a commit     that one of trust_signers signed
a branch     that goes forward: none is rewritten, none is deleted
a file       that holds no secret: neither Vault's nor a private key
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, "/usr/local/lib/edge-trust")
from edge_trust import commit as link
from edge_trust.links import BrokenLinkError, CannotCheckError

TRUST = Path("/etc/edge/trust")
TIMEOUT_SECONDS = 120
SECRETS = {
    "a secret of Ansible Vault": re.compile(rb"\$ANSIBLE_VAULT;[0-9]"),
    "a private key": re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
}
NO_COMMIT = re.compile("0+")


class RefusedError(Exception):
    """What of the push is wrong, and what to do."""


class Pushed:
    """A commit that is pushed, with its objects in the quarantine that git names in the environment."""

    def __init__(self, commit: str) -> None:
        self.commit = commit

    def read(self, kind: str, name: str) -> bytes:
        return git("cat-file", kind, name).stdout

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return git(*arguments, check=check)


def main(trust: Path = TRUST) -> int:
    try:
        for line in sys.stdin:
            old, new, ref = line.split()
            check_ref(old, new, ref)
            for commit in lines("rev-list", "--reverse", new, "--not", "--all"):
                check_commit(commit, trust)
            check_files(new)
    except RefusedError as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    return 0


def check_ref(old: str, new: str, ref: str) -> None:
    if not ref.startswith(("refs/heads/", "refs/tags/")):
        raise RefusedError(f"{ref}: push a branch or a tag")
    if NO_COMMIT.fullmatch(new):
        raise RefusedError(f"{ref} would be deleted; what was released stays")
    if NO_COMMIT.fullmatch(old):
        return
    if ref.startswith("refs/tags/"):
        raise RefusedError(f"{ref} is there already; a tag stays where it is: take another name")
    if git("merge-base", "--is-ancestor", old, new, check=False).returncode != 0:
        raise RefusedError(
            f"{ref} would lose {old[:12]}, which devices may have; put your commits on top of it:"
            f" git pull --rebase, or git revert for what is to be undone"
        )


def check_commit(commit: str, trust: Path) -> None:
    try:
        link.check(Pushed(commit), trust / "allowed_signers", trust / "revoked_keys")
    except CannotCheckError as unknown:
        raise RefusedError(f"{unknown.found}; {unknown.remedy}") from unknown
    except BrokenLinkError as broken:
        raise RefusedError(
            f"{broken.found}. Sign it with the key of one of trust_signers: git commit --amend --no-edit -S, and for"
            " several commits git rebase --exec 'git commit --amend --no-edit -S' origin/main"
        ) from broken


def check_files(new: str) -> None:
    """Every file that the push adds, in whichever of its commits: what is deleted later stays in git's memory."""
    for blob, path in added(new):
        content = git("cat-file", "blob", blob).stdout
        for what, pattern in SECRETS.items():
            if not pattern.search(content):
                continue
            having = lines("log", "--reverse", "--format=%H", f"--find-object={blob}", new, "--not", "--all")
            raise RefusedError(
                f"{path} of commit {[*having, new][0][:12]} holds {what}, which every device would read. Put it into"
                " the folder of secrets beside the site's, and take it out of that commit (git rebase --interactive)"
            )


def added(new: str) -> Iterator[tuple[str, str]]:
    listed = [line.partition(" ") for line in lines("rev-list", "--objects", new, "--not", "--all")]
    kinds = lines("cat-file", "--batch-check=%(objecttype)", given="".join(f"{name}\n" for name, *_path in listed))
    for (name, _sep, path), kind in zip(listed, kinds, strict=True):
        if kind == "blob":
            yield name, path


def lines(*arguments: str, given: str = "") -> list[str]:
    return git(*arguments, given=given).stdout.decode(errors="replace").splitlines()


def git(*arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(  # noqa: S603 - no shell
        ["git", "--no-replace-objects", *arguments],  # noqa: S607 - the user's PATH
        input=given.encode(),
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if check and done.returncode != 0:
        raise RefusedError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done


if __name__ == "__main__":
    sys.exit(main())
