"""`edge-maas-backup make [NAME] | restore NAME`: what the role maas_server does with PostgreSQL, on the lab's SQLite.

A backup is a folder of the same form: it has its name when all of it is there, and SHA256SUMS that sha256sum checks.
As on a real region of 3.5 and newer, uploaded images are not in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

BACKUPS = Path("/var/backups/maas")
STORE = Path("/var/lib/maas-simulator/region.sqlite3")
KEEP = 14


def make(name: str) -> None:
    partial = BACKUPS / f".partial-{name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with (
        closing(sqlite3.connect(f"file:{STORE}?mode=rw", uri=True)) as store,
        closing(sqlite3.connect(partial / "database.dump")) as copy,
    ):
        store.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    (partial / "version").write_text(os.environ["MAAS_VERSION"] + "\n")
    sums = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in sorted(partial.iterdir())]
    (partial / "SHA256SUMS").write_text("".join(sums))
    os.sync()
    partial.rename(BACKUPS / name)
    for old in sorted(BACKUPS.glob("????????T??????Z"))[:-KEEP]:
        shutil.rmtree(old)
    print(f"edge-maas-backup: {BACKUPS / name}")


def restore(name: str) -> None:
    draft = STORE.with_suffix(".restoring")
    shutil.copyfile(BACKUPS / name / "database.dump", draft)
    subprocess.run(["systemctl", "stop", "maas-simulator"], check=True)  # noqa: S607
    try:
        for log in ("-wal", "-shm"):
            STORE.with_name(STORE.name + log).unlink(missing_ok=True)
        draft.rename(STORE)
    finally:
        subprocess.run(["systemctl", "start", "maas-simulator"], check=True)  # noqa: S607


def main() -> None:
    verb, *names = sys.argv[1:]
    os.umask(0o077)
    BACKUPS.mkdir(parents=True, exist_ok=True)
    with (BACKUPS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if verb == "make":
            make(names[0] if names else datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"))
        else:
            restore(names[0])


if __name__ == "__main__":
    main()
