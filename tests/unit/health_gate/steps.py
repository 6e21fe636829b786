# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge-commit does step by step. As a program it is edge-commit, killed after a step: steps.py NUMBER ARGUMENT...

A step is what is there afterwards: a request that changed something in the engine, or a file of the journal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import requests

PACKAGE = Path(__file__).resolve().parents[3] / "roles/health_gate/files"
sys.path.insert(0, str(PACKAGE))

from edge_commit import cli  # noqa: E402


@contextlib.contextmanager
def told(done: Callable[[str], None]) -> Iterator[None]:
    """Each step is told when it is done."""
    send, replace = requests.Session.send, os.replace

    def sent(self: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = send(self, request, **options)
        # A check of health changes nothing; it is run from a thread of its own.
        if request.method != "GET" and threading.current_thread() is threading.main_thread():
            done(f"{request.method} {str(request.url).partition('?')[0].rpartition('/')[2]}")
        return answer

    def replaced(source: Any, target: Any, **options: Any) -> None:
        replace(source, target, **options)
        done(f"write {Path(target).name}")

    with mock.patch.object(requests.Session, "send", sent), mock.patch.object(os, "replace", replaced):
        yield


if __name__ == "__main__":
    steps: list[str] = []

    def kill(step: str) -> None:
        steps.append(step)
        if len(steps) == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

    with told(kill):
        sys.exit(cli.main(sys.argv[2:]))
