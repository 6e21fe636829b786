"""Programs of the machine, run with errors a person can read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.settings import LabError


def run(*argv: str | Path, env: dict[str, str] | None = None, log: Path | None = None, cwd: Path | None = None) -> None:
    """Run a program quietly; its output goes to `log`.

    Raises LabError with the last lines it printed when it fails.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(  # noqa: S603
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not on this machine: install it") from error
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-25:])
        raise LabError(f"`{' '.join(words)}` ended with {done.returncode}:\n{tail}")


def output(*argv: str | Path, check: bool = True) -> str:
    """What a program prints; raises subprocess.CalledProcessError when it fails, unless told not to check."""
    return subprocess.run(  # noqa: S603
        [str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=check
    ).stdout
