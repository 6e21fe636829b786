# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator's machine has of what this collection needs, as JSON:

    python - COLLECTION FOLDER LIBRARIES COLLECTIONS < controller.py

COLLECTION is this collection's folder; FOLDER is where the controller keeps what belongs to the rack. LIBRARIES and
COLLECTIONS are files in COLLECTION, as pip and ansible-galaxy read them, which are compared with what is installed;
COLLECTIONS may be empty.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

SECONDS = 60


def libraries(collection: Path, file: str) -> list[dict]:
    """Pinned versions are what this was tried with: a newer one fits, too."""
    lines = (line.partition("#")[0].strip() for line in (collection / file).read_text().splitlines())
    pinned = {one.name: str(one.specifier).replace("==", ">=") for one in map(Requirement, filter(None, lines))}
    # Of Ansible more versions will do, and what the package `ansible` brings are the collections.
    pinned.pop("ansible", None)
    runtime = yaml.safe_load((collection / "meta/runtime.yml").read_text())
    pinned["ansible-core"] = runtime["requires_ansible"]
    return [requirement(name, wanted, installed_library(name)) for name, wanted in pinned.items()]


def installed_library(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def collections(collection: Path, file: str) -> list[dict]:
    if not file:
        return []
    there = installed_collections()
    wanted = yaml.safe_load((collection / file).read_text())["collections"]
    return [requirement(one["name"], one["version"], there.get(one["name"], "")) for one in wanted]


def installed_collections() -> dict[str, str]:
    """Of each the first on the path, as Ansible takes it."""
    program = Path(sys.executable).with_name("ansible-galaxy")
    done = subprocess.run(  # noqa: S603 - no shell
        [program if program.exists() else "ansible-galaxy", "collection", "list", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    found: dict[str, str] = {}
    for those in json.loads(done.stdout).values():
        for name, about in those.items():
            found.setdefault(name, about["version"])
    return found


def requirement(name: str, wanted: str, installed: str) -> dict:
    try:
        fits = SpecifierSet(wanted).contains(Version(installed), prereleases=True)
    except InvalidVersion:
        fits = False
    return {"name": name, "wanted": wanted, "installed": installed, "fits": fits}


def main() -> None:
    collection, folder, libraries_file, collections_file = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    # The folder comes to be with the first run.
    usage = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists()))
    print(
        json.dumps(
            {
                "python": platform.python_version(),
                "python_fits": sys.version_info >= (3, 11),
                "libraries": libraries(collection, libraries_file),
                "collections": collections(collection, collections_file),
                "disk": {"folder": os.fspath(folder), "free_percent": 100 * usage.free / usage.total},
            }
        )
    )


if __name__ == "__main__":
    main()
