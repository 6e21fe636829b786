# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: edge-commit apply|recover|status."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from .errors import CommitError, InterruptedCommitError
from .journal import Folder
from .wanted import Wanted

ENGINE_SECONDS = 60


def apply(folder: Folder) -> int:
    from . import swap

    signal.signal(signal.SIGTERM, _interrupt)
    print(json.dumps(asdict(swap.apply(Wanted.read(sys.stdin.read()), folder))))
    return 0


def recover(folder: Folder) -> int:
    """One container's trouble is not another's."""
    failed = 0
    for name in folder.names():
        try:
            _recover(folder, name)
        except CommitError as error:
            print(f"edge-commit: {name}: {error}", file=sys.stderr)
            failed = 1
    return failed


def _recover(folder: Folder, name: str) -> None:
    with folder.lock(name, wait_seconds=0) as mine:
        # Who has the lock is alive, and ends it itself.
        journal = folder.read(name) if mine else None
        if journal is None or not journal.under_way:
            return
        # Late, for on most days there is nothing to ask the engine.
        from . import recovery
        from .engine import Engine

        ended = recovery.end(Engine(ENGINE_SECONDS), folder, journal, "it was cut in the middle")
        print(f"edge-commit: {name}: begun at {ended.began}, {ended.state}", file=sys.stderr)


def status(folder: Folder, as_json: bool) -> int:
    found: dict[str, dict[str, Any]] = {}
    for name in folder.names():
        deferral = folder.deferral(name)
        try:
            journal = folder.read(name)
        except CommitError as error:
            found[name] = {"state": "unreadable", "reason": str(error)}
            continue
        if journal:
            found[name] = {
                "state": journal.state,
                "digest": journal.digest,
                "previous_digest": journal.old.digest if journal.old else None,
                "began": journal.began,
                "ended": journal.ended,
                "reason": journal.reason,
                "deferred_since": deferral.since if deferral else None,
            }
    if as_json:
        print(json.dumps(found))
    for name, one in found.items() if not as_json else ():
        print(f"{name}  {one['state']}  {one.get('digest', '')}  {one.get('ended') or one.get('began', '')}")
        if one["reason"]:
            print(f"  {one['reason']}")
    return 0


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise InterruptedCommitError(f"it was told to stop (signal {number})")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="edge-commit",
        description="Replaces a container of this device, and keeps the new one only if it is healthy.",
    )
    parser.add_argument("--state", type=Path, default=Path("/var/lib/edge/commits"), help="folder of journals")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("apply", help="read what is wanted as JSON from the standard input, print the result as JSON")
    verbs.add_parser("recover", help="end what was cut: the old container is back, or the clean-up done")
    verbs.add_parser("status", help="the last replacement of each container").add_argument(
        "--json", action="store_true"
    )
    options = parser.parse_args(arguments)
    folder = Folder(options.state)
    try:
        if options.verb == "apply":
            return apply(folder)
        return recover(folder) if options.verb == "recover" else status(folder, options.json)
    except CommitError as error:
        print(f"edge-commit: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
