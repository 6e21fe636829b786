# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Link `files`: the work tree is the commit, to the byte, and holds nothing else.

Git's index is not asked: its flags (assume-unchanged, skip-worktree) and the filters of attributes hide changes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .links import BrokenLinkError
from .repository import SUBMODULE, Entry, Repository

SHOWN = 5


def check(repository: Repository) -> str:
    """Say how many files were compared; BrokenLinkError names those that differ."""
    entries = repository.entries
    present = dict(_walk(repository.checkout, ""))
    wrong = [f"{path} is not in the commit" for path in sorted(present.keys() - entries.keys())]
    for path, entry in sorted(entries.items()):
        if difference := _difference(repository, path, entry, present.get(path)):
            wrong.append(f"{path} {difference}")
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BrokenLinkError(
            "; ".join(wrong[:SHOWN]) + more,
            f"look at them; git clean -ffdx and git reset --hard in {repository.checkout} put the commit back",
        )
    return f"{len(entries)} files are those of the commit"


def _walk(root: Path, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for item in os.scandir(root / folder):
        path = folder + item.name
        if path == ".git":
            continue
        if item.is_dir(follow_symlinks=False):
            yield from _walk(root, f"{path}/")
        else:
            yield path, item.stat(follow_symlinks=False)


def _difference(repository: Repository, path: str, entry: Entry, found: os.stat_result | None) -> str:
    if entry.mode == SUBMODULE:
        return "is a submodule, whose files this commit's signature does not cover"
    if found is None:
        return "is missing"
    file = repository.checkout / path
    if stat.S_ISLNK(found.st_mode):
        mode, content = "120000", os.fsencode(file.readlink())
    elif stat.S_ISREG(found.st_mode):
        mode, content = ("100755" if found.st_mode & stat.S_IXUSR else "100644"), file.read_bytes()
    else:
        return "is neither a file nor a link"
    if mode != entry.mode:
        return f"has the mode {mode}, in the commit {entry.mode}"
    if repository.name_of("blob", content) != entry.blob:
        return "differs from the commit"
    if mode == "120000" and not _covered(repository, file):
        return f"is a link to {file.readlink()}, which this commit's signature does not cover"
    return ""


def _covered(repository: Repository, link: Path) -> bool:
    target, root = link.resolve(), repository.checkout.resolve()
    return target.is_relative_to(root) and not target.is_relative_to(root / ".git")
