# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site's release was before: the checkout's commits, each of which the signed one names by its hash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from .links import BrokenLinkError, CannotCheckError
from .repository import Repository
from .waves import names_digests


def releases(repository: Repository, path: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The release of each commit that has a whole one, and the commit's time in seconds; the newest first.

    By first parents: those are what devices were given, and what was merged counts from its merge.
    """
    known: dict[str, dict[str, Any]] = {}
    name = repository.commit
    while name:
        header = repository.read("commit", name).split(b"\n\n", 1)[0].decode(errors="replace")
        blob = repository.find(name, path)
        if blob and blob not in known:
            known[blob] = _release(repository.read("blob", blob))
        if blob and names_digests(known[blob]):
            yield known[blob], _time(repository, name, header)
        parent = re.search(r"^parent ([0-9a-f]+)$", header, re.MULTILINE)
        if parent and name in repository.shallow:
            raise CannotCheckError(
                f"the history of {repository.checkout} ends at {name[:12]}, so the release before is not known",
                "fetch the whole of it (git fetch --unshallow)",
            )
        name = parent[1] if parent else ""


def _release(content: bytes) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(content)["edge_release"])
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, ValueError):
        return {}


def _time(repository: Repository, name: str, header: str) -> int:
    found = re.search(r"^committer .*> (\d+) [+-]\d{4}$", header, re.MULTILINE)
    if not found:
        raise BrokenLinkError(f"commit {name[:12]} of {repository.checkout} has no time", "commit anew, with git")
    return int(found[1])
