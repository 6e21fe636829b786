# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which model a container serves: a file beside it says so, and a program in it changes it without a stop.

`{"digest": "sha256:..."}` is what the container begins with. While another is tried `trying` names it as well: after a
cut nobody knows which of the two answers, so the next run tries again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from . import files
from .errors import CommitError


@dataclass(frozen=True)
class Selection:
    digest: str | None = None
    trying: str | None = None

    @classmethod
    def read(cls, file: Path) -> Selection:
        """Empty where nothing was ever served, or what is there says nothing: the wanted one is tried then."""
        try:
            given = json.loads(file.read_text())
            return cls(given["digest"], given.get("trying"))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        except OSError as error:
            raise CommitError(f"{file} cannot be read: {error}") from error

    def is_surely(self, digest: str) -> bool:
        return self == Selection(digest)

    def write(self, file: Path) -> None:
        """Raises CommitError, as where the disk is full; the file is as it was then."""
        try:
            if self.digest is None and self.trying is None:
                file.unlink(missing_ok=True)
                return
            # The container's user, who is not root, reads it, whatever umask this program was given.
            file.parent.mkdir(parents=True, exist_ok=True)
            file.parent.chmod(0o755)
            files.write(file, json.dumps({key: value for key, value in asdict(self).items() if value}), mode=0o644)
        except OSError as error:
            raise CommitError(f"{file} cannot be written: {error.strerror or error}") from error


def keep(file: Path) -> None:
    """What it says now can be put back later, even if the disk is full then."""
    try:
        _kept(file).unlink(missing_ok=True)
        if file.exists():
            os.link(file, _kept(file))
    except OSError as error:
        raise CommitError(f"{_kept(file)} cannot be made: {error.strerror or error}") from error


def put_back(file: Path) -> None:
    """As it was when it was kept; without a file where there was none."""
    try:
        if _kept(file).exists():
            _kept(file).replace(file)
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CommitError(f"{file} cannot be put back: {error.strerror or error}") from error


def _kept(file: Path) -> Path:
    return file.with_name(f"{file.name}.before")
