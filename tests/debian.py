# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of Debian's packages, for tests that start real servers: unpacked, not installed, so no service starts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab import cache, host

UNPACKED = Path(__file__).resolve().parent / "output/debian"


def program(package: str, path: str) -> Path:
    """The package's file, from the machine where it is installed, else from the archive.

    Raises subprocess.CalledProcessError where apt-get finds no such package.
    """
    installed = shutil.which(Path(path).name, path=f"/{Path(path).parent}")
    if installed:
        return Path(installed)

    def unpack(folder: Path) -> None:
        folder.mkdir()
        download = ["apt-get", "download", "-q", package]
        done = subprocess.run(download, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:  # its lists are old
            with host.alone_with_apt():
                subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, check=True)
            subprocess.run(download, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        for archive in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
            archive.unlink()

    cache.made(UNPACKED / package, unpack)
    return UNPACKED / package / path
