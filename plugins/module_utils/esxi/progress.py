# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long module is: lines in a file, which its action plugin reads meanwhile and shows."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

EVERY_SECONDS = 3.0


class Progress:
    """Bytes of something, `done` of `total`. Without a file nobody is told."""

    def __init__(self, path: t.Optional[str], what: str, total: int, done: int = 0) -> None:
        self.path = path
        self.what = what
        self.total = total
        self.done = done
        self._begun = self._told = time.monotonic()
        self._first = done

    def counted(self, chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
        """The same chunks; each counts when the next is asked for, for then it was taken."""
        for chunk in chunks:
            yield chunk
            self.reach(self.done + len(chunk))

    def reach(self, done: int) -> None:
        self.done = done
        now = time.monotonic()
        if self.path is None or now - self._told < EVERY_SECONDS:
            return
        rate = (done - self._first) / max(now - self._begun, 0.001)
        self._told = now
        line = json.dumps({"what": self.what, "done": done, "total": self.total, "bytes_per_second": int(rate)})
        with contextlib.suppress(OSError), open(self.path, "a", encoding="utf-8") as handle:
            handle.write(line + "\n")
