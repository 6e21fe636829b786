"""A task that its user wrote: one file, or a package's folder; what it is, and which line of it is at fault."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


class SourceError(Exception):
    """A task's source cannot be used; the message names the file, the line and the fix."""


@dataclass(frozen=True)
class Source:
    """`path` is `my_task.py`, or a folder with an `__init__.py`."""

    path: Path

    def files(self) -> list[Path]:
        """All that belongs to it, in order of name; what Python compiled and what is hidden does not."""
        if self.path.is_file():
            return [self.path]
        inside = ((file, file.relative_to(self.path).parts) for file in self.path.rglob("*") if file.is_file())
        return sorted(
            file
            for file, parts in inside
            if not any(part.startswith(".") or part == "__pycache__" for part in parts) and file.suffix != ".pyc"
        )

    def digest(self) -> str:
        """`sha256:<hex>` over the lines that sha256sum prints of the files, named from the folder they lie in."""
        lines = sorted(
            f"{file.relative_to(self.path.parent).as_posix()}\0{hashlib.sha256(file.read_bytes()).hexdigest()}"
            for file in self.files()
        )
        listed = "".join("{1}  {0}\n".format(*line.split("\0")) for line in lines)
        return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"

    def load(self) -> ModuleType:
        """The module, run; a package is then importable by its name, from within too.

        Raises:
            SourceError: it is not there, is no Python, or fails while it is imported.
        """
        start, folders = (self.path, None) if self.path.suffix == ".py" else (self.path / "__init__.py", [self.path])
        if not start.is_file():
            raise SourceError(f"task: {start} is not a file on this device; put it there on every worker")
        name = re.sub(r"\W", "_", self.path.stem)
        known = importlib.util.find_spec(name)
        if known is not None and known.origin != str(start):
            raise SourceError(f"task: {self.path}: there is a module {name!r} already; give yours another name")
        spec = importlib.util.spec_from_file_location(
            name, start, submodule_search_locations=[str(folder) for folder in folders] if folders else None
        )
        if spec is None or spec.loader is None:
            raise SourceError(f"task: {self.path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        # Bytecode is told from its source by time and size alone: an edit within the same second would not be seen.
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise SourceError(f"{line_of(error, self.path) or start}: does not load: {said(error)}") from error
        finally:
            sys.dont_write_bytecode = writes
        return module


def line_of(error: BaseException, path: Path) -> str | None:
    """`file:line` of the innermost line below `path` that the error went through; None if it went through none."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(path):
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(path)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def said(error: BaseException) -> str:
    """The error in one line, with what to do where that is known."""
    text = " ".join(f"{type(error).__name__}: {getattr(error, 'msg', None) or error}".split())
    if isinstance(error, ModuleNotFoundError):
        text += "; put it beside the task in its folder, or build an image on the worker's that has it"
    return text
