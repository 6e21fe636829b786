# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A checkout's objects, read without believing anything in its .git but their content.

Git runs with a folder of its own as GIT_DIR and only borrows the objects: the checkout's configuration, hooks, grafts,
replacements and promisor remotes (gitrepository-layout(5)) are never looked at. Whatever is read is hashed again, for
git itself takes a packed object's word for its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .links import BrokenLinkError, CannotCheckError

TIMEOUT_SECONDS = 120
SUBMODULE = "160000"
FOLDER = "40000"
FETCH = "fetch it again from where releases come from"


class Entry(NamedTuple):
    """A file of the commit: mode as git writes it (100644, 100755, 120000), name of its blob."""

    mode: str
    blob: str


class Repository:
    """The commit that a checkout stands at. A context manager: it needs a folder while it lives."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.git_dir = checkout / ".git"
        if self.git_dir.is_symlink() or not self.git_dir.is_dir():
            raise CannotCheckError(
                f"{checkout} is no checkout: {self.git_dir} is not a folder", f"clone the site to {checkout}"
            )
        self.commit = self._head()
        self._own = tempfile.TemporaryDirectory(prefix="edge-trust-")
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self._own.name,
            "LC_ALL": "C",
            "GIT_DIR": f"{self._own.name}/git",
            "GIT_OBJECT_DIRECTORY": str(self.git_dir / "objects"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        own = {name: value for name, value in self.environment.items() if name != "GIT_OBJECT_DIRECTORY"}
        kind = "sha1" if len(self.commit) == 40 else "sha256"
        self.git("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", environment=own)

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own.cleanup()

    def git(
        self, *arguments: str, environment: dict[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        try:
            done = subprocess.run(  # noqa: S603 - no shell
                ["git", *arguments],  # noqa: S607 - root's PATH
                env=environment or self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise CannotCheckError("git is not installed", "install it (role edge.rack.trust does)") from error
        except subprocess.TimeoutExpired as error:
            raise CannotCheckError(f"git {arguments[0]} took longer than {TIMEOUT_SECONDS} s", "try again") from error
        if check and done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise CannotCheckError(f"git {' '.join(arguments)} failed: {said}", FETCH)
        return done

    def read(self, kind: str, name: str) -> bytes:
        """The content of an object, which is what its name says."""
        done = self.git("cat-file", kind, name, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise BrokenLinkError(f"{kind} {name} of {self.checkout} cannot be read: {said}", FETCH)
        if (found := self.name_of(kind, done.stdout)) != name:
            raise BrokenLinkError(f"{kind} {name} of {self.checkout} was replaced: its content is {found}", FETCH)
        return done.stdout

    def name_of(self, kind: str, content: bytes) -> str:
        """The name that git gives to this content."""
        kind_of_hash = hashlib.sha1 if len(self.commit) == 40 else hashlib.sha256
        return kind_of_hash(f"{kind} {len(content)}\0".encode() + content).hexdigest()

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every file of the commit by its path."""
        found: dict[str, Entry] = {}
        self._read_tree(self._tree(self.commit), "", found)
        return found

    def find(self, commit: str, path: str) -> str:
        """The name of a file's blob in that commit; empty where it has no such file."""
        name = self._tree(commit)
        *folders, file = path.split("/")
        for folder in folders:
            name = next((tree for mode, tree, part in self._parts(name) if part == folder and mode == FOLDER), "")
            if not name:
                return ""
        return next((blob for mode, blob, part in self._parts(name) if part == file and mode.startswith("100")), "")

    @cached_property
    def shallow(self) -> list[str]:
        """Commits whose parents were not fetched."""
        return self._text("shallow").split()

    def _tree(self, commit: str) -> str:
        return self.read("commit", commit).split(b"\n", 1)[0].removeprefix(b"tree ").decode()

    def _read_tree(self, name: str, folder: str, found: dict[str, Entry]) -> None:
        for mode, blob, part in self._parts(name):
            if mode == FOLDER:
                self._read_tree(blob, f"{folder}{part}/", found)
            else:
                found[folder + part] = Entry(mode, blob)

    def _parts(self, tree: str) -> Iterator[tuple[str, str, str]]:
        """What a folder holds: mode, name of the object, name of the file."""
        content = self.read("tree", tree)
        size = len(self.commit) // 2
        while content:
            head, _sep, rest = content.partition(b"\0")
            mode, _sep, file = head.partition(b" ")
            yield mode.decode(), rest[:size].hex(), os.fsdecode(file)
            content = rest[size:]

    def _head(self) -> str:
        # Git would read the checkout's configuration to say the same.
        said = self._text("HEAD")
        if said.startswith("ref: "):
            ref = said.removeprefix("ref: ").strip()
            packed = re.search(rf"^([0-9a-f]+) {re.escape(ref)}$", self._text("packed-refs"), re.MULTILINE)
            said = self._text(ref) or (packed[1] if packed else "")
        if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", said.strip()):
            raise CannotCheckError(f"{self.checkout} stands at no commit", "check a release out there")
        return said.strip()

    def _text(self, name: str) -> str:
        path = self.git_dir / name
        return path.read_text(errors="replace") if path.is_file() else ""
